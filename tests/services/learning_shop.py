"""A shop with enough past to learn from in seconds: sixty shoppers with known tastes, five campaigns of twenty days."""

from pathlib import Path

import polars as pl

from recommender.services.ingest import load_export
from tests.ml.shops import Shop, generated_shop

#: Columns of a snapshot that are named after a thing and so hold, in an export, its identifier.
_THINGS = ("shopper", "product", "coupon", "campaign", "order")


def load_generated_shop(folder: Path, shop: Shop | None = None) -> None:
    """Bring the generated shop of the model layer's tests into the database, by the door for shop exports."""
    shop = shop or generated_shop()
    folder.mkdir(parents=True)
    tables = {name: [facts | {f"{name[:-1]}_id": identifier} for identifier, facts in things.items()]
              for name, things in shop.things.items() if name != "categories"} | shop.rows
