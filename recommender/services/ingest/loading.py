"""The data door: a shop export comes in, or nothing does."""

import re
import time
from collections.abc import Callable
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
from recommender.services.ingest.staging import Staged, stage_file
from recommender.services.ingest.tables import TABLES
from recommender.wording import gettext as _

EXAMPLES = 20


def load_export(
    *,
    folder: Path,
    dry_run: bool = False,
    max_bad_share: float = 0.01,
    whole: bool = True,
    put_aside_path: Path | None = None,
    record: Callable[[LoadReport], None] | None = None,
    progress: Progress = Progress(),
) -> LoadReport:
    """Load the shop export in a folder: what is new is added, what changed is updated, by the shop's identifiers.

    All files are read and checked before the database is touched; then one transaction compares and writes. Other
    writers of these tables wait for it, a second load included, and readers see the shop as it was until it ends.

    Args:
        folder: of the files that ``docs/data-format.md`` describes.
        dry_run: compare and report only.
        max_bad_share: of the rows of one file; with more of them bad the load is refused.
        whole: whether tables that a shop cannot be without must be there. What is not there stays as it is stored.
        put_aside_path: the file for the rows put aside, in a dry run too. Without it a dry run writes none, and a load
            makes a file in the data directory. Those of a refused export are written only here.
        record: called with the report inside the transaction: what it writes stands or falls with the rows.

    Raises:
        LoadRefused: the export is not fit to be loaded; nothing was changed.
        Cancelled: by ``progress``; nothing was changed.
    """
    started = time.monotonic()
    zone = Shop.current().zone
    files = find_files(folder, whole=whole)
    staged: list[Staged] = []
    try:
        for done, file in enumerate(files):
            progress.report(_("Reading %(name)s") % {"name": file.path.name}, done, len(files))
            staged.append(stage_file(file, zone))
            staged[-1].refuse_if_too_bad(max_bad_share)
    except LoadRefused:
        _keep_rejected(staged, put_aside_path)
        raise

    merger = Merger(staged, max_bad_share)
    try:
        with transaction.atomic():
            if not dry_run:
                lock_tables(TABLES)
            merger.plan(progress)
            rejected = _in_order(staged)
            if put_aside_path is None and not dry_run:
                put_aside_path = _new_put_aside_path(folder)
            if not dry_run:
                merger.write(progress)
            report = LoadReport(
                folder=str(folder),
                dry_run=dry_run,
                files=[one.report for one in staged],
                examples=rejected[:EXAMPLES],
                ignored_files=ignored_files(folder, files),
                put_aside_path=str(put_aside_path) if put_aside_path and rejected else None,
                seconds=round(time.monotonic() - started, 3),
            )
            if record is not None:
                record(report)
    except LoadRefused:
        _keep_rejected(staged, put_aside_path)
        raise
    except OperationalError as error:
        if "database is locked" not in str(error):
            raise
        raise LoadRefused(_("Another process keeps writing to the database. Nothing was loaded; try again.")) from error
    except IntegrityError as error:
        raise LoadRefused(
            _("The database refused the rows of %(folder)s. Nothing was loaded. %(error)s")
            % {"folder": folder, "error": error}
        ) from error
    # After the commit: should the disk be full, loading the folder again writes it.
    if put_aside_path and rejected:
        _write_put_aside(put_aside_path, rejected)
    return report


def _in_order(staged: list[Staged]) -> list[RejectedRow]:
    return [row for one in staged for row in sorted(one.rejected, key=lambda row: row.line)]


def _keep_rejected(staged: list[Staged], path: Path | None) -> None:
    """Write the bad rows of an export that is refused for them, if a file was named."""
    if path and (rejected := _in_order(staged)):
        _write_put_aside(path, rejected)


def _new_put_aside_path(folder: Path) -> Path:
    name = re.sub(r"[^\w-]+", "-", folder.resolve().name) or "export"
    return Path(settings.DATA_DIR) / "put-aside" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{name}.csv"


def _write_put_aside(path: Path, rejected: list[RejectedRow]) -> None:
    """Write the rows put aside where staff can open them, with the mark by which spreadsheets know UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(
        [(row.file, row.line, row.column, row.reason) for row in rejected],
        schema={"file": pl.String, "line": pl.Int64, "column": pl.String, "reason": pl.String},
        orient="row",
    )
    # A shop's own column may be called what a spreadsheet takes for a formula.
    column = pl.when(pl.col("column").str.contains(r"^[=+\-@]")).then("'" + pl.col("column"))
    frame.with_columns(column.otherwise(pl.col("column")).alias("column")).write_csv(path, include_bom=True)
