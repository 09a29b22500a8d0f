"""How fast the real sample loads, beside a bare ``executemany`` of its order lines. Run by name:

    python -m tests.load.load_rate

Both write into SQLite files of their own in a temporary folder. The bare side gets rows that are ready to be written
and a table without keys, indexes or checks: it is what the disk and the driver allow, not a fair rival.
"""

import os
import resource
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path


def load_sample(folder: Path) -> tuple[int, float, float]:
    """Write and load the sample's export; return its order lines and the seconds for each of the two."""
    import django

    database = f"sqlite:///{folder}/couponsite.sqlite3"
    os.environ.update(DATA_DIR=str(folder), DATABASE_URL=database)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "couponsite.settings")
    django.setup()
    from django.core.management import call_command

    from recommender.models import OrderLine, Shop
    from recommender.presets import PRESETS
    from recommender.progress import ConsoleProgress
    from recommender.services.ingest import load_export

    call_command("migrate", verbosity=0)
    sample = PRESETS["complete-journey"]
    Shop.objects.update_or_create(pk=1, defaults={"time_zone": sample.time_zone})
    (folder / "export").mkdir()
    progress = ConsoleProgress()
    started = time.perf_counter()
    sample.write_export(folder=folder / "export", progress=progress)
    written = time.perf_counter()
    load_export(folder=folder / "export", progress=progress)
    loaded = time.perf_counter()
    progress.close()
    return OrderLine.objects.count(), written - started, loaded - written


def insert_barely(folder: Path) -> float:
    """Seconds to write the rows of the loaded order lines into a bare table."""
    columns = "order_id, position, product_id, quantity, amount, discount, coupon_discount, coupon_id"
    with closing(sqlite3.connect(folder / "couponsite.sqlite3")) as source:
        rows = source.execute(f"SELECT {columns} FROM recommender_orderline ORDER BY id").fetchall()
    with closing(sqlite3.connect(folder / "bare.sqlite3")) as target:
        target.execute("PRAGMA journal_mode = WAL")
        target.execute(f"CREATE TABLE line ({columns})")
        started = time.perf_counter()
        with target:
            target.executemany("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="couponsite-load-rate-") as name:
        folder = Path(name)
        lines, writing, loading = load_sample(folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB: Linux counts KiB
        bare = insert_barely(folder)
    sys.stdout.write(
        f"sample to export          {writing:6.1f} s\n"
        f"export to tables          {loading:6.1f} s  {lines / loading:10,.0f} order lines/s, and all other tables\n"
        f"bare executemany of them  {bare:6.1f} s  {lines / bare:10,.0f} order lines/s\n"
        f"ratio                     {loading / bare:6.1f}\n"
        f"peak memory               {peak:6.0f} MiB\n"
    )


if __name__ == "__main__":
    main()
