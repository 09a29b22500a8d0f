"""A shop with enough past to learn from in a second: sixty shoppers of known tastes, five campaigns of twenty days."""

from pathlib import Path

import polars as pl

from recommender.services.ingest import load_export
from tests.ml.shops import CAMPAIGN_STARTS, day, generated_shop

#: When each campaign starts.
STARTS = {campaign: day(number) for campaign, number in CAMPAIGN_STARTS.items()}
TREATED = 45  # shoppers of each campaign
COUPONS = {"first": 12, "second": 12, "third": 12, "fourth": 12, "last": 13}  # of each campaign


def load_learning_shop(folder: Path) -> None:
    """Bring the generated shop of the model layer's tests into the database, by the door for shop exports."""
    shop = generated_shop()
    folder.mkdir()
    things = {
        table: [facts | {f"{table.removesuffix('s')}_id": identifier} for identifier, facts in rows.items()]
        for table, rows in shop.things.items()
        if table != "categories"  # come with the products that name them
    }
    for table, rows in {**things, **shop.rows}.items():
        if rows:
            frame = pl.DataFrame(rows, infer_schema_length=None)
            # What a snapshot numbers, an export names.
            named = [thing for thing in ("shopper", "product", "coupon", "campaign", "order") if thing in frame.columns]
            if "is_control" in frame.columns:
                group = pl.when("is_control").then(pl.lit("control")).otherwise(pl.lit("treatment"))
                frame = frame.with_columns(group.alias("group"))
            frame.rename({thing: f"{thing}_id" for thing in named}).write_parquet(folder / f"{table}.parquet")
    report = load_export(folder=folder)
    assert not report.examples, report.examples
