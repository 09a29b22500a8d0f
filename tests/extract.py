"""A small part of the real sample: some of its households, the coupons of a few campaigns, and what they are about."""

from datetime import date
from pathlib import Path

import polars as pl

from recommender.models import Shop
from recommender.presets import PRESETS

SAMPLE = PRESETS["complete-journey"]
#: Campaigns with few coupons each, the earliest first. The last one goes on when history ends; in the extract nobody
#: has used its coupons yet.
CAMPAIGNS = ("9", "12", "14", "16", "17", "19", "23")
LIVE = CAMPAIGNS[-1]
COUPON_USERS = 75  # the households that used most coupons of these campaigns
OTHERS = 25  # households that used none
PRODUCTS = 300  # that these households bought most often, besides what the coupons are for


def write_extract(*, whole: Path, folder: Path, shift_to: date) -> None:
    """Write the sample's export to ``whole``, and to ``folder`` the rows of it that make the extract.

    Args:
        shift_to: the local day of the sample's last order.
    """
    SAMPLE.write_export(folder=whole, shift_to=shift_to)
    tables = {path.stem: pl.scan_parquet(path) for path in whole.iterdir()}

    def keep(name: str, column: str, values: pl.LazyFrame) -> None:
        tables[name] = tables[name].join(values.select(column).unique(), on=column, how="semi")

    for name in ("campaigns", "campaign_coupons", "campaign_shoppers", "redemptions"):
        keep(name, "campaign_id", pl.LazyFrame({"campaign_id": CAMPAIGNS}))
    for name in ("coupons", "coupon_products", "redemptions"):
        keep(name, "coupon_id", tables["campaign_coupons"])
    tables["redemptions"] = tables["redemptions"].filter(pl.col("campaign_id") != LIVE)

    uses = tables["redemptions"].group_by("shopper_id").len().sort("len", "shopper_id", descending=[True, False])
    others = tables["campaign_shoppers"].join(uses, on="shopper_id", how="anti").select("shopper_id").unique()
    households = pl.concat([uses.select("shopper_id").head(COUPON_USERS), others.sort("shopper_id").head(OTHERS)])
    for name in ("shoppers", "orders", "campaign_shoppers", "redemptions"):
        keep(name, "shopper_id", households)

    keep("order_lines", "order_id", tables["orders"])
    bought = tables["order_lines"].group_by("product_id").len().sort("len", "product_id", descending=True)
    products = pl.concat([tables["coupon_products"].select("product_id"), bought.select("product_id").head(PRODUCTS)])
    for name in ("products", "order_lines"):
        keep(name, "product_id", products)
    # A line may be of a coupon that is not among the kept ones.
    kept = tables["coupons"].select("coupon_id", known=pl.lit(True))
    tables["order_lines"] = (
        tables["order_lines"]
        .join(kept, on="coupon_id", how="left", maintain_order="left")
        .with_columns(pl.when("known").then("coupon_id").alias("coupon_id"))
        .drop("known")
    )
    for name, table in tables.items():
        table.collect().write_parquet(folder / f"{name}.parquet")


def open_shop() -> None:
    """The shop's settings that the sample's export goes by."""
    shop = Shop.current()
    shop.name, shop.time_zone, shop.currency = SAMPLE.shop_name, SAMPLE.time_zone, SAMPLE.currency
    shop.save()
