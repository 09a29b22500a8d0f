"""The data door: a shop export comes in, or nothing does."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction

from recommender.models import Shop
from recommender.progress import Progress
from recommender.services.ingest.merging import Merger, lock_tables
from recommender.services.ingest.reading import find_files, ignored_files
from recommender.services.ingest.report import LoadRefused, LoadReport, RejectedRow
from recommender.services.ingest.staging import stage_file
from recommender.services.ingest.tables import TABLES

EXAMPLES = 20


def load_export(
    *, folder: Path, dry_run: bool = False, max_bad_share: float = 0.01, progress: Progress = Progress()
) -> LoadReport:
    """Load the shop export in a folder: what is new is added, what changed is updated, by the shop's identifiers.

    All files are read and checked before the database is touched; then one transaction compares and writes. Other
    writers of these tables wait for it, a second load included, and readers see the shop as it was until it ends.

    Args:
        folder: of the files that ``docs/data-format.md`` describes.
        dry_run: compare and report only.
        max_bad_share: of the rows of one file; with more of them bad the load is refused.

    Raises:
        LoadRefused: the export is not fit to be loaded; nothing was changed.
        Cancelled: by ``progress``; nothing was changed.
    """
    started = time.monotonic()
    zone = Shop.current().zone
    files = find_files(folder)
    staged = []
    for done, file in enumerate(files):
        progress.report(f"Reading {file.path.name}", done, len(files))
        staged.append(stage_file(file, zone))
        staged[-1].refuse_if_too_bad(max_bad_share)

    merger = Merger(staged, max_bad_share)
    try:
        with transaction.atomic():
            if not dry_run:
                lock_tables(TABLES)
            merger.plan(progress)
            rejected = [row for one in staged for row in sorted(one.rejected, key=lambda row: row.line)]
            if not dry_run:
                merger.write(progress)
    except OperationalError as error:
        if "database is locked" not in str(error):
            raise
        raise LoadRefused("Another process keeps writing to the database. Nothing was loaded; try again.") from error
    except IntegrityError as error:
        raise LoadRefused(f"The database refused the rows of {folder}. Nothing was loaded. {error}") from error
    # After the commit: should the disk be full, loading the folder again writes it.
    put_aside_path = _write_put_aside(folder, rejected) if rejected and not dry_run else None
    return LoadReport(
        folder=str(folder),
        dry_run=dry_run,
        files=[one.report for one in staged],
        examples=rejected[:EXAMPLES],
        ignored_files=ignored_files(folder, files),
        put_aside_path=str(put_aside_path) if put_aside_path else None,
        seconds=round(time.monotonic() - started, 3),
    )


def _write_put_aside(folder: Path, rejected: list[RejectedRow]) -> Path:
    """Write the rows put aside where staff can open them, with the mark by which spreadsheets know UTF-8."""
    directory = settings.DATA_DIR / "put-aside"
    directory.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", folder.resolve().name) or "export"
    path = directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{name}.csv"
    frame = pl.DataFrame(
        [(row.file, row.line, row.column, row.reason) for row in rejected],
        schema={"file": pl.String, "line": pl.Int64, "column": pl.String, "reason": pl.String},
        orient="row",
    )
    frame.write_csv(path, include_bom=True)
    return path
