"""What the tests of all made-up shops ask and do."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from recommender.models import Campaign
from recommender.presets.made_up import LAST_ORDER, LIVE_CAMPAIGN, MadeUpShop
from recommender.services import scoring
from recommender.services.ingest import load_export


def read(export: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(export / f"{table}.parquet")


def load(export: Path) -> Campaign:
    """Load an export of which nothing may be put aside or left out; the campaign that begins when history ends."""
    report = load_export(folder=export)
    assert not report.examples, report.examples
    assert not report.ignored_files
    assert not any(file.left_out_columns for file in report.files)
    scoring.forget_scorer()
    return Campaign.objects.get(campaign_id=LIVE_CAMPAIGN)


def check_that_the_seed_decides(shop: MadeUpShop, export: Path, folder: Path) -> None:
    """Check that a seed makes the same shop each time, and another seed another; ``folder`` takes others."""
    again, other = (replace(shop, seed=seed) for seed in (shop.seed, shop.seed + 1))
    for name, made in (("again", again), ("other", other)):
        (folder / name).mkdir()
        made.write(folder / name)
    tables = sorted(path.stem for path in export.iterdir())
    assert all(read(export, table).equals(read(folder / "again", table)) for table in tables)
    assert not read(export, "orders").equals(read(folder / "other", "orders"))
    assert again.true_probabilities().equals(shop.true_probabilities())


def check_when_history_ends(shop: MadeUpShop, export: Path, *, lasts: timedelta, **columns: tuple[str, ...]) -> None:
    """Check that the last order is the one that it is known by, and that nothing happens later.

    Args:
        lasts: the live campaign's window.
        columns: by table, what tells when something happened, besides orders and redemptions.
    """
    assert read(export, "orders").sort("ordered_at")["order_id"][-1] == LAST_ORDER
    happened = {"orders": ("ordered_at",), "redemptions": ("redeemed_at",), **columns}
    for table, names in happened.items():
        for name in names:
            assert read(export, table)[name].max() < shop.until, (table, name)
    live = read(export, "campaigns").row(by_predicate=pl.col("campaign_id") == LIVE_CAMPAIGN, named=True)
    assert (live["starts_at"], live["ends_at"]) == (shop.until, shop.until + lasts)
