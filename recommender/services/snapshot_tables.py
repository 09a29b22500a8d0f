"""What stands in the tables of a snapshot: the rows of the database as of one moment, numbered and in order."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from math import ceil
from pathlib import Path

import polars as pl
from django.db import connection, transaction
from django.db.models import Count, Max, Min, Model, Q
from polars._typing import PolarsDataType

from recommender import models
from recommender.bulk import read_frame
from recommender.ml import columns as c
from recommender.ml import history
from recommender.progress import Progress
from recommender.wording import gettext as _

_STRETCH = "stretch"
#: How polars tells of an error of the system, such as a full disk.
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def read_tables(*, folder: Path, progress: Progress = Progress()) -> tuple[dict[str, pl.DataFrame], pl.LazyFrame]:
    """All tables but the order lines, as a snapshot of this moment has them, and its order lines.

    Args:
        folder: an empty one, in which the order lines are put in order; they are read from its files.
    """
    with _consistent_read():
        rows = _read_rows(progress)
        progress.report(_("Numbering shoppers, products, coupons and orders"))
        numbers = _number(rows)
        tables = _shape_tables(rows, _read_offers(), numbers)
        progress.report(_("Reading %(table)s") % {"table": "order_lines"})
        _read_order_lines(tables["orders"], numbers, folder)
    return tables, _order_lines(folder)


def last_moment(tables: dict[str, pl.DataFrame]) -> datetime | None:
    """When the last purchase, redemption or event happened."""
    happened = [tables["orders"][c.ORDERED_AT], tables["redemptions"][c.REDEEMED_AT], tables["events"][c.OCCURRED_AT]]
    return pl.concat(moments.rename("moment") for moments in happened).max()  # type: ignore[return-value]


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Errors of the system in writing a file as what they are."""
    try:
        yield
    except pl.exceptions.ComputeError as error:
        if (code := _SYSTEM_ERROR.search(str(error))) is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


# Rows as the tables hold them: columns named after a thing hold our primary keys


@dataclass(frozen=True)
class _Source:
    """Where rows come from. ``keys`` are integers and the attributes that hold them; ``facts`` keep their names."""

    model: type[Model]
    keys: dict[str, str]
    facts: list[str] = field(default_factory=list)
    where: Q = field(default_factory=Q)


#: A campaign that nothing was published of was sent to nobody whom the shop did not list.
_WAS_SENT = Q(origin=models.CampaignShopper.Origin.SHOP) | Q(campaign__in=models.Publication.objects.values("campaign"))

_SOURCES = {
    "shoppers": _Source(models.Shopper, {c.SHOPPER: "id"}, [c.SHOPPER_ID, c.JOINED_AT, c.OPTED_OUT, "attributes"]),
    "categories": _Source(models.Category, {c.CATEGORY: "id", c.PARENT: "parent_id"}, [c.PATH]),
    "products": _Source(
        models.Product,
        {c.PRODUCT: "id", c.CATEGORY: "category_id"},
        [c.PRODUCT_ID, c.NAME, c.BRAND, c.PRICE, c.COST, c.RATING, c.SELLER_ID, c.ACTIVE, "attributes"],
    ),
    "orders": _Source(
        models.Order, {c.ORDER: "id", c.SHOPPER: "shopper_id"}, ["order_id", c.ORDERED_AT, c.CHANNEL, c.STORE_ID]
    ),
    "coupons": _Source(
        models.Coupon,
        {c.COUPON: "id"},
        [c.COUPON_ID, c.OFFER_ID, c.TITLE, c.DISCOUNT_TYPE, c.DISCOUNT_VALUE, c.MIN_SPEND, c.MAX_DISCOUNT],
    ),
    "coupon_products": _Source(
        models.CouponTarget,
        {c.COUPON: "coupon_id", c.PRODUCT: "product_id", c.CATEGORY: "category_id"},
        [c.BRAND],
    ),
    "campaigns": _Source(
        models.Campaign, {c.CAMPAIGN: "id"}, [c.CAMPAIGN_ID, c.NAME, c.KIND, c.STARTS_AT, c.ENDS_AT, c.BUDGET]
    ),
    "campaign_coupons": _Source(models.CampaignCoupon, {c.CAMPAIGN: "campaign_id", c.COUPON: "coupon_id"}),
    "campaign_shoppers": _Source(
        models.CampaignShopper, {c.CAMPAIGN: "campaign_id", c.SHOPPER: "shopper_id"}, ["group"], _WAS_SENT
    ),
    "redemptions": _Source(
        models.Redemption,
        {c.SHOPPER: "shopper_id", c.COUPON: "coupon_id", c.CAMPAIGN: "campaign_id", c.ORDER: "order_id"},
        [c.REDEEMED_AT, c.DISCOUNT_AMOUNT],
    ),
    "events": _Source(
        models.Event,
        {c.SHOPPER: "shopper_id", c.COUPON: "coupon_id", c.PRODUCT: "product_id", c.CAMPAIGN: "campaign_id"},
        [c.KIND, c.OCCURRED_AT, c.VALUE],
    ),
    "devices": _Source(
        models.Device, {c.SHOPPER: "shopper_id", c.PRODUCT: "product_id"}, [c.ACQUIRED_AT, c.RETIRED_AT]
    ),
    "device_parts": _Source(
        models.DevicePart, {c.PRODUCT: "product_id", c.DEVICE_PRODUCT: "device_product_id"}, [c.PART, c.LIFE]
    ),
    "project_stages": _Source(
        models.ProjectStage,
        {c.POSITION: "position", c.PRODUCT: "product_id", c.CATEGORY: "category_id"},
        [c.PROJECT],
    ),
    "batches": _Source(models.Batch, {c.PRODUCT: "product_id"}, [c.RECEIVED_AT, c.BEST_BEFORE, c.SOLD_OUT_AT]),
}
#: By far the most rows: they are read, and put in order, so many at once as memory bears.
_ORDER_LINES = _Source(
    models.OrderLine,
    {c.ORDER: "order_id", "position": "position", c.PRODUCT: "product_id", c.COUPON: "coupon_id"},
    [c.QUANTITY, c.AMOUNT, c.DISCOUNT, c.COUPON_DISCOUNT],
)


@contextmanager
def _consistent_read() -> Iterator[None]:
    """One view of all tables, whatever is written meanwhile, that keeps no writer waiting.

    Inside a transaction of the caller's it is what that transaction sees.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield
    else:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")  # atomic() begins IMMEDIATE, which takes the only write lock
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def _read_rows(progress: Progress) -> dict[str, pl.DataFrame]:
    rows = {}
    for name, source in _SOURCES.items():
        progress.report(_("Reading %(table)s") % {"table": name})
        rows[name] = _read(source, history.SCHEMAS[name])
    return rows


def _read(source: _Source, schema: Mapping[str, PolarsDataType], **some: int) -> pl.DataFrame:
    """The rows of a source, or some of them."""
    integers: dict[str, PolarsDataType] = dict.fromkeys(source.keys, pl.Int64)
    facts = {fact: schema.get(fact, pl.String) for fact in source.facts}
    queryset = source.model._default_manager.filter(source.where, **some)
    return read_frame(queryset.values_list(*source.keys.values(), *source.facts), integers | facts)


def _read_order_lines(orders: pl.DataFrame, numbers: dict[str, pl.DataFrame], folder: Path) -> None:
    """Write the order lines into files, each of a stretch of time: those of a stretch are few enough to be sorted.

    Args:
        orders: as they are in the snapshot.
    """
    of_orders = orders.select(c.ORDER, c.SHOPPER, c.ORDERED_AT)
    lines = models.OrderLine.objects.aggregate(first=Min("pk"), last=Max("pk"), count=Count("pk"))
    stretches = max(1, ceil(lines["count"] / history.LINES_AT_ONCE))
    begins = orders[c.ORDERED_AT].gather([stretch * orders.height // stretches for stretch in range(1, stretches)])
    for start in range(lines["first"] or 0, (lines["last"] or 0) + 1, history.LINES_AT_ONCE):
        rows = _read(_ORDER_LINES, history.SCHEMAS["order_lines"], pk__gte=start, pk__lt=start + history.LINES_AT_ONCE)
        part = _with_numbers(rows, numbers).join(of_orders, on=c.ORDER)
        stretch = begins.search_sorted(part[c.ORDERED_AT], side="right").alias(_STRETCH)
        for (number,), of_stretch in part.with_columns(stretch).partition_by(_STRETCH, as_dict=True).items():
            path = folder / f"{number}-{start}.parquet"
            with system_errors(path):
                of_stretch.drop(_STRETCH).write_parquet(path, compression="lz4")


def _order_lines(folder: Path) -> pl.LazyFrame:
    """The order lines as they are in the snapshot, of the files that were written of them."""
    stretches = defaultdict(list)
    for path in folder.iterdir():
        stretches[int(path.name.partition("-")[0])].append(path)
    for number, paths in stretches.items():
        ordered = folder / f"{number}.parquet"
        with system_errors(ordered):
            _in_order("order_lines", pl.read_parquet(paths)).write_parquet(ordered, compression="lz4")
        for path in paths:
            path.unlink()
    if not stretches:
        return pl.LazyFrame(schema=history.SCHEMAS["order_lines"])
    return pl.scan_parquet([folder / f"{number}.parquet" for number in sorted(stretches)])


def _read_offers() -> pl.DataFrame:
    """What published runs offered: of several times in a campaign the first, with the rank it had then.

    Of a run that was shown to a share of an experiment's shoppers, what those of them were offered who were served it.
    """
    of_publication: dict[str, PolarsDataType] = {"run": pl.Int64, c.CAMPAIGN: pl.Int64, c.OFFERED_AT: history.TIME}
    publications = read_frame(
        models.Publication.objects.for_all().values_list("run_id", "campaign_id", "published_at"), of_publication
    )
    exposures = read_frame(
        models.ExperimentExposure.objects.exclude(arm__publication=None)
        .order_by()
        .values_list("arm__run_id", "experiment__campaign_id", "exposed_at", "shopper_id"),
        {**of_publication, c.SHOPPER: pl.Int64},
    )
    recommendations = read_frame(
        models.Recommendation.objects.offered()
        .filter(run__in=models.Publication.objects.values("run"))
        .values_list("run_id", "shopper_id", "coupon_id", "rank"),
        {"run": pl.Int64, c.SHOPPER: pl.Int64, c.COUPON: pl.Int64, c.RANK: pl.UInt16},
    )
    columns = [c.OFFERED_AT, c.CAMPAIGN, c.SHOPPER, c.COUPON, c.RANK]
    return (
        pl.concat(
            [
                publications.join(recommendations, on="run").select(columns),
                exposures.join(recommendations, on=["run", c.SHOPPER]).select(columns),
            ]
        )
        .sort(c.OFFERED_AT, c.RANK)
        .unique([c.CAMPAIGN, c.SHOPPER, c.COUPON], keep="first", maintain_order=True)
    )


# Tables as the schemas say: the same columns hold the numbers of the things

_IDENTIFIERS = {
    c.SHOPPER: ("shoppers", c.SHOPPER_ID),
    c.CATEGORY: ("categories", c.PATH),
    c.PRODUCT: ("products", c.PRODUCT_ID),
    c.ORDER: ("orders", "order_id"),
    c.COUPON: ("coupons", c.COUPON_ID),
    c.CAMPAIGN: ("campaigns", c.CAMPAIGN_ID),
}

#: What rows are ordered by first. Then all their columns decide, so that the order is the same from every database.
_ORDERED_BY = {
    "orders": [c.ORDERED_AT],
    "order_lines": [c.ORDERED_AT, c.ORDER, "position"],
    "redemptions": [c.REDEEMED_AT],
    "events": [c.OCCURRED_AT],
    "offers": [c.OFFERED_AT],
    "devices": [c.ACQUIRED_AT],
    "batches": [c.RECEIVED_AT],
}


def _number(rows: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Of each thing, the number of each of our primary keys."""
    return {
        thing: rows[table].sort(identifier).select(thing, pl.int_range(pl.len(), dtype=pl.UInt32).alias("number"))
        for thing, (table, identifier) in _IDENTIFIERS.items()
    }


def _shape_tables(
    rows: dict[str, pl.DataFrame], offers: pl.DataFrame, numbers: dict[str, pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """All tables but the order lines, as they are in the snapshot."""
    tables = {name: _with_numbers(frame, numbers) for name, frame in (rows | {"offers": offers}).items()}
    tables["categories"] = _with_numbers(
        tables["categories"], {c.PARENT: numbers[c.CATEGORY].rename({c.CATEGORY: c.PARENT})}
    )
    tables["device_parts"] = _with_numbers(
        tables["device_parts"], {c.DEVICE_PRODUCT: numbers[c.PRODUCT].rename({c.PRODUCT: c.DEVICE_PRODUCT})}
    )
    tables["shopper_attributes"] = _spell_out_attributes(tables["shoppers"], c.SHOPPER)
    tables["product_attributes"] = _spell_out_attributes(tables["products"], c.PRODUCT)
    targets = tables["coupon_products"]
    tables["coupon_products"] = _spell_out_targets(targets, tables["products"], tables["categories"])
    tables["project_stages"] = _spell_out_stages(tables["project_stages"], tables["products"], tables["categories"])
    tables["coupons"] = tables["coupons"].with_columns(
        pl.col(c.COUPON).is_in(targets[c.COUPON].unique().implode()).not_().alias(c.WHOLE_SHOP)
    )
    tables["campaign_shoppers"] = tables["campaign_shoppers"].with_columns(
        (pl.col("group") == models.CampaignShopper.Group.CONTROL).alias(c.IS_CONTROL)
    )
    return {name: _in_order(name, tables[name]) for name in history.SCHEMAS if name in tables}


def _in_order(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table in the one order that they have in a snapshot, with its columns."""
    schema = history.SCHEMAS[name]
    ordered = table.sort(list(dict.fromkeys([*_ORDERED_BY.get(name, []), *schema])), nulls_last=True)
    return ordered.select(*schema).cast(pl.Schema(schema))


def _with_numbers(frame: pl.DataFrame, numbers: dict[str, pl.DataFrame]) -> pl.DataFrame:
    for thing in numbers.keys() & set(frame.columns):
        frame = frame.join(numbers[thing], on=thing, how="left").drop(thing).rename({"number": thing})
    return frame


def _spell_out_attributes(frame: pl.DataFrame, thing: str) -> pl.DataFrame:
    """A row for each attribute that has a value: text as it is, anything else as JSON."""
    spelled_out = [
        (number, attribute, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))
        for number, attributes in frame.select(thing, "attributes").iter_rows()
        for attribute, value in json.loads(attributes).items()
        if value is not None
    ]
    return pl.DataFrame(
        spelled_out, schema={thing: pl.UInt32, c.ATTRIBUTE: pl.String, c.VALUE: pl.String}, orient="row"
    )


def _spell_out_targets(targets: pl.DataFrame, products: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """The products that each coupon is for by product, by category with everything below it, or by brand."""
    in_category = _products_of_categories(products, categories)
    by_product = targets.select(c.COUPON, c.PRODUCT).drop_nulls()
    by_category = targets.select(c.COUPON, c.CATEGORY).join(in_category, on=c.CATEGORY).select(c.COUPON, c.PRODUCT)
    by_brand = (
        targets.filter(pl.col(c.BRAND) != "")
        .select(c.COUPON, c.BRAND)
        .join(products.select(c.PRODUCT, c.BRAND), on=c.BRAND)
        .select(c.COUPON, c.PRODUCT)
    )
    return pl.concat([by_product, by_category, by_brand]).unique()


def _spell_out_stages(stages: pl.DataFrame, products: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """The products that each stage of a project needs by product, or by category with everything below it."""
    of_stage = [c.PROJECT, c.POSITION]
    in_category = _products_of_categories(products, categories)
    by_category = stages.select(*of_stage, c.CATEGORY).join(in_category, on=c.CATEGORY)
    return pl.concat(
        [stages.select(*of_stage, c.PRODUCT).drop_nulls(), by_category.select(*of_stage, c.PRODUCT)]
    ).unique()


def _products_of_categories(products: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """Each category's products, and those of everything below it."""
    number_of = dict(categories.select(c.PATH, c.CATEGORY).iter_rows())
    within = pl.DataFrame(
        [
            (number_of[above], number)
            for path, number in number_of.items()
            for above in accumulate(
                path.split(models.CATEGORY_SEPARATOR), lambda *levels: models.CATEGORY_SEPARATOR.join(levels)
            )
            if above in number_of
        ],
        schema={c.CATEGORY: pl.UInt32, "below": pl.UInt32},
        orient="row",
    )
    return within.join(products.select(c.PRODUCT, below=c.CATEGORY), on="below").select(c.CATEGORY, c.PRODUCT)
