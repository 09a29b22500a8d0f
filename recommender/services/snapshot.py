"""Immutable columnar copies of the tables, which everything that learns or scores reads."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from django.conf import settings
from django.db import transaction

from recommender import models
from recommender.ml import columns as c
from recommender.ml import history
from recommender.progress import Progress
from recommender.services.shared_files import delete_folder, fetch_folder, folder_of, share_file
from recommender.services.snapshot_tables import last_moment, read_tables, system_errors
from recommender.wording import gettext as _

_ASIDE_PREFIX = ".writing-"


def take_snapshot(*, progress: Progress = Progress()) -> models.Snapshot:
    """Copy all tables, as of one moment, to ``DATA_DIR/snapshots/<fingerprint>``.

    The files depend on the content alone: neither on the database, nor on its keys, nor on the order of its rows.
    When a snapshot of the same content is there, it is returned and nothing is added. One snapshot is taken at a time:
    others wait. Interrupted, it leaves nothing that is taken for a snapshot.
    """
    root = _root()
    root.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(root):
        for leftover in root.glob(f"{_ASIDE_PREFIX}*"):  # of a process that died: whoever lives holds the lock
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=root, prefix=_ASIDE_PREFIX) as name:
            aside, unordered = Path(name) / "snapshot", Path(name) / "unordered"
            aside.mkdir()
            unordered.mkdir()
            tables, lines = read_tables(folder=unordered, progress=progress)
            progress.report(_("Writing the snapshot"))
            for table, frame in tables.items():
                if _is_kept(table, frame):
                    _write_table(frame.lazy(), aside / f"{table}.parquet")
            _write_table(lines, aside / "order_lines.parquet")
            row_counts = {table: frame.height for table, frame in tables.items()}
            row_counts["order_lines"] = lines.select(pl.len()).collect().item()
            size = sum(path.stat().st_size for path in aside.iterdir())
            fingerprint = _fingerprint(aside)
            _put_in_place(aside, root / fingerprint)
            _share(fingerprint)  # before anybody can know of the snapshot
        snapshot, _is_new = models.Snapshot.objects.get_or_create(
            fingerprint=fingerprint,
            defaults={
                "history_until": last_moment(tables),
                "row_counts": row_counts,
                "size": size,
            },
        )
        if snapshot.files_deleted_at is not None:  # they are there again
            snapshot.files_deleted_at = None
            snapshot.save(update_fields=["files_deleted_at"])
    return snapshot


def open_snapshot(*, snapshot: models.Snapshot) -> history.Snapshot:
    """The files of a snapshot, checked against its fingerprint.

    Raises:
        SnapshotUnreadable: the folder or a file in it is missing, or a file was changed.
    """
    folder = _root() / snapshot.fingerprint
    if not folder.exists():
        _fetch(snapshot.fingerprint)
    _check_whole(folder)
    return history.Snapshot(folder)


def write_without(*, snapshot: models.Snapshot, shopper_id: str) -> models.Snapshot | None:
    """Write a snapshot anew without one shopper and all that they did; its old files are deleted.

    What comes of it is what :func:`take_snapshot` would have written had the shopper never been.

    Returns:
        The row, with the new fingerprint; None if the shopper is not in it or its files are gone.
    """
    try:
        opened = open_snapshot(snapshot=snapshot)
    except history.SnapshotUnreadable:
        return None
    shoppers = opened.scan("shoppers").filter(pl.col(c.SHOPPER_ID) == shopper_id).collect()
    if shoppers.is_empty():
        return None
    number = shoppers[c.SHOPPER][0]
    gone = {
        c.SHOPPER: pl.Series([number], dtype=pl.UInt32),
        c.ORDER: opened.scan("orders").filter(pl.col(c.SHOPPER) == number).collect()[c.ORDER].sort(),
    }
    was, root = snapshot.fingerprint, _root()
    with _one_at_a_time(root), tempfile.TemporaryDirectory(dir=root, prefix=_ASIDE_PREFIX) as name:
        aside = Path(name) / "snapshot"
        aside.mkdir()
        row_counts = {}
        for table, schema in history.SCHEMAS.items():
            frame = pl.concat(_without(part, gone) for part in _in_parts(opened.scan(table)))
            row_counts[table] = frame.height
            if _is_kept(table, frame):
                _write_table(frame.cast(pl.Schema(schema)).lazy(), aside / f"{table}.parquet")
        size = sum(path.stat().st_size for path in aside.iterdir())
        fingerprint = _fingerprint(aside)
        _put_in_place(aside, root / fingerprint)
        _share(fingerprint)
        snapshot = _take_over(snapshot, fingerprint, row_counts, size)
    delete_folder(folder_of(was))
    return snapshot


def _in_parts(table: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    for start in range(0, max(1, table.select(pl.len()).collect().item()), history.LINES_AT_ONCE):
        yield table.slice(start, history.LINES_AT_ONCE).collect()


def _without(frame: pl.DataFrame, gone: dict[str, pl.Series]) -> pl.DataFrame:
    """Leave out the rows of the numbers that are gone, and close the gaps; a null stays null.

    Args:
        gone: sorted numbers by the column of a thing.
    """
    for column in gone.keys() & set(frame.columns):
        frame = frame.filter(pl.col(column).is_in(gone[column].implode()).fill_null(value=False).not_())
        values = frame[column]
        before = gone[column].search_sorted(values.fill_null(0))
        frame = frame.with_columns((values.cast(pl.Int64) - before.cast(pl.Int64)).cast(pl.UInt32).alias(column))
    return frame


def _take_over(snapshot: models.Snapshot, fingerprint: str, row_counts: dict[str, int], size: int) -> models.Snapshot:
    """Have the row stand for the new files. If there is a row of them already, it takes the place of this one."""
    with transaction.atomic():
        same = models.Snapshot.objects.filter(fingerprint=fingerprint).first()
        if same is None:
            snapshot.fingerprint, snapshot.row_counts, snapshot.size = fingerprint, row_counts, size
            snapshot.save(update_fields=["fingerprint", "row_counts", "size"])
            return snapshot
        for of_snapshot in (models.ModelVersion, models.SearchTrial, models.Run):
            of_snapshot._default_manager.filter(snapshot=snapshot).update(snapshot=same)
        snapshot.delete()
        return same


def _root() -> Path:
    return settings.DATA_DIR / "snapshots"


def _fetch(fingerprint: str) -> None:
    """Copy a snapshot here that another host took, if there is one."""
    root = _root()
    root.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(root), tempfile.TemporaryDirectory(dir=root, prefix=_ASIDE_PREFIX) as name:
        aside = Path(name) / "snapshot"
        aside.mkdir()
        fetch_folder(folder_of(fingerprint), files=[f"{table}.parquet" for table in history.SCHEMAS], into=aside)
        if any(aside.iterdir()):
            _put_in_place(aside, root / fingerprint)


# Files


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the system when the process ends, however it ends
        yield


def _share(fingerprint: str) -> None:
    for name in _tables_of(_root() / fingerprint):
        share_file(f"{folder_of(fingerprint)}/{name}.parquet")


def _tables_of(folder: Path) -> list[str]:
    """The tables that a snapshot has, an optional one where it holds anything."""
    return [name for name in history.SCHEMAS if name not in history.OPTIONAL or (folder / f"{name}.parquet").is_file()]


def _is_kept(name: str, table: pl.DataFrame) -> bool:
    return name not in history.OPTIONAL or not table.is_empty()


def _write_table(table: pl.LazyFrame, path: Path) -> None:
    with system_errors(path):
        table.sink_parquet(path, compression="zstd", compression_level=3, row_group_size=1 << 18, maintain_order=True)
    _sync(path)


def _fingerprint(folder: Path) -> str:
    """SHA-256 over the names of the tables and the digests of their files."""
    digest = hashlib.sha256()
    for name in sorted(_tables_of(folder)):
        with (folder / f"{name}.parquet").open("rb") as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _check_whole(folder: Path) -> None:
    if not folder.is_dir():
        raise history.SnapshotUnreadable(f"Snapshot {folder.name} is gone: there is no folder {folder}.")
    if missing := [f"{name}.parquet" for name in _tables_of(folder) if not (folder / f"{name}.parquet").is_file()]:
        raise history.SnapshotUnreadable(f"Snapshot {folder} is not whole: it lacks {', '.join(missing)}.")
    if _fingerprint(folder) != folder.name:
        raise history.SnapshotUnreadable(f"Snapshot {folder} was changed: its files do not match its fingerprint.")


def _put_in_place(aside: Path, folder: Path) -> None:
    """Give a written snapshot its name, unless the same one is there whole."""
    if folder.exists():
        try:
            _check_whole(folder)
        except history.SnapshotUnreadable:
            shutil.rmtree(folder)
        else:
            return
    _sync(aside)
    aside.rename(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file or a folder's list of files is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
