"""A snapshot on disk, and the view of it as of a moment.

Nothing else in the model layer opens a snapshot's files, and nothing dated at or after the moment passes the view.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from recommender.ml import columns as c

TIME = pl.Datetime("us", "UTC")

#: The tables of a snapshot and the types of their columns. ``services.snapshot_tables`` gives exactly these.
SCHEMAS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "shoppers": {c.SHOPPER: pl.UInt32, c.SHOPPER_ID: pl.String, c.JOINED_AT: TIME, c.OPTED_OUT: pl.Boolean},
    "shopper_attributes": {c.SHOPPER: pl.UInt32, c.ATTRIBUTE: pl.String, c.VALUE: pl.String},
    "categories": {c.CATEGORY: pl.UInt32, c.PATH: pl.String, c.PARENT: pl.UInt32},
    "products": {
        c.PRODUCT: pl.UInt32,
        c.PRODUCT_ID: pl.String,
        c.NAME: pl.String,
        c.CATEGORY: pl.UInt32,
        c.BRAND: pl.String,
        c.PRICE: pl.Float64,
        c.COST: pl.Float64,
        c.RATING: pl.Float64,
        c.SELLER_ID: pl.String,
        c.ACTIVE: pl.Boolean,
    },
    "product_attributes": {c.PRODUCT: pl.UInt32, c.ATTRIBUTE: pl.String, c.VALUE: pl.String},
    "orders": {
        c.ORDER: pl.UInt32,
        c.SHOPPER: pl.UInt32,
        c.ORDERED_AT: TIME,
        c.CHANNEL: pl.String,
        c.STORE_ID: pl.String,
    },
    "order_lines": {
        c.ORDER: pl.UInt32,
        c.SHOPPER: pl.UInt32,
        c.ORDERED_AT: TIME,
        c.PRODUCT: pl.UInt32,
        c.QUANTITY: pl.Float64,
        c.AMOUNT: pl.Float64,
        c.DISCOUNT: pl.Float64,
        c.COUPON_DISCOUNT: pl.Float64,
        c.COUPON: pl.UInt32,
    },
    "coupons": {
        c.COUPON: pl.UInt32,
        c.COUPON_ID: pl.String,
        c.OFFER_ID: pl.String,
        c.TITLE: pl.String,
        c.DISCOUNT_TYPE: pl.String,
        c.DISCOUNT_VALUE: pl.Float64,
        c.MIN_SPEND: pl.Float64,
        c.MAX_DISCOUNT: pl.Float64,
        c.WHOLE_SHOP: pl.Boolean,
    },
    # targets by product, category (with everything below it) and brand, spelled out as products
    "coupon_products": {c.COUPON: pl.UInt32, c.PRODUCT: pl.UInt32},
    "campaigns": {
        c.CAMPAIGN: pl.UInt32,
        c.CAMPAIGN_ID: pl.String,
        c.NAME: pl.String,
        c.KIND: pl.String,
        c.STARTS_AT: TIME,
        c.ENDS_AT: TIME,
        c.BUDGET: pl.Float64,
    },
    "campaign_coupons": {c.CAMPAIGN: pl.UInt32, c.COUPON: pl.UInt32},
    "campaign_shoppers": {c.CAMPAIGN: pl.UInt32, c.SHOPPER: pl.UInt32, c.IS_CONTROL: pl.Boolean},
    "redemptions": {
        c.SHOPPER: pl.UInt32,
        c.COUPON: pl.UInt32,
        c.CAMPAIGN: pl.UInt32,
        c.REDEEMED_AT: TIME,
        c.ORDER: pl.UInt32,
        c.DISCOUNT_AMOUNT: pl.Float64,
    },
    "events": {
        c.SHOPPER: pl.UInt32,
        c.KIND: pl.String,
        c.OCCURRED_AT: TIME,
        c.COUPON: pl.UInt32,
        c.PRODUCT: pl.UInt32,
        c.CAMPAIGN: pl.UInt32,
        c.VALUE: pl.Float64,
    },
    # what published runs offered
    "offers": {
        c.CAMPAIGN: pl.UInt32,
        c.SHOPPER: pl.UInt32,
        c.COUPON: pl.UInt32,
        c.RANK: pl.UInt16,
        c.OFFERED_AT: TIME,
    },
    # whose model, a product, each shopper owns
    "devices": {c.SHOPPER: pl.UInt32, c.PRODUCT: pl.UInt32, c.ACQUIRED_AT: TIME, c.RETIRED_AT: TIME},
    # which products fit which model, and how much use wears them out
    "device_parts": {c.PRODUCT: pl.UInt32, c.DEVICE_PRODUCT: pl.UInt32, c.PART: pl.String, c.LIFE: pl.Float64},
    # what is in stock, from when to when, and how long it is good
    "batches": {c.PRODUCT: pl.UInt32, c.RECEIVED_AT: TIME, c.BEST_BEFORE: TIME, c.SOLD_OUT_AT: TIME},
    # what each stage of a project needs; categories, with everything below them, spelled out as products
    "project_stages": {c.PROJECT: pl.String, c.POSITION: pl.Int64, c.PRODUCT: pl.UInt32},
}

#: Tables that only some kinds of shop have. Where they hold nothing there is no file, and the snapshot of a shop is
#: what it was before there were such tables.
OPTIONAL = frozenset({"devices", "device_parts", "batches", "project_stages"})

#: The column that dates a table's rows. A table without one holds what is true at any time.
DATED_BY: Mapping[str, str] = {
    "orders": c.ORDERED_AT,
    "order_lines": c.ORDERED_AT,
    "campaigns": c.STARTS_AT,
    "redemptions": c.REDEEMED_AT,
    "events": c.OCCURRED_AT,
    "offers": c.OFFERED_AT,
    "devices": c.ACQUIRED_AT,
    "batches": c.RECEIVED_AT,
}
#: The column that tells when what a row tells of changed: until then it is null.
CHANGED_AT: Mapping[str, str] = {"shoppers": c.JOINED_AT, "devices": c.RETIRED_AT, "batches": c.SOLD_OUT_AT}
OF_A_CAMPAIGN = ("campaign_coupons", "campaign_shoppers")

#: The order lines of a snapshot that has no more are kept in memory once they were read.
MOST_KEPT_LINES = 10_000_000
#: Of a larger one so many are looked at at once, where all have to be.
LINES_AT_ONCE = 5_000_000


class SnapshotUnreadable(Exception):
    """A snapshot's folder lacks a table, or a table is not what its schema says."""


@dataclass(frozen=True)
class Snapshot:
    """The folder of one snapshot: a Parquet file for each table of :data:`SCHEMAS`."""

    folder: Path

    @property
    def fingerprint(self) -> str:
        return self.folder.name

    def scan(self, table: str) -> pl.LazyFrame:
        """The whole of a table, later rows included. For plans and labels; features use :meth:`before`.

        Raises:
            SnapshotUnreadable: the file is missing.
        """
        path = self.folder / f"{table}.parquet"
        if not path.is_file():
            if table in OPTIONAL:
                return pl.LazyFrame(schema=SCHEMAS[table])
            raise SnapshotUnreadable(f"Snapshot {self.fingerprint} has no table {table!r}; expected the file {path}.")
        if table == "order_lines" and self._kept_lines is not None:
            return self._kept_lines.lazy()
        return pl.scan_parquet(path)

    @cached_property
    def _kept_lines(self) -> pl.DataFrame | None:
        """All order lines, unless they are too many, for the histories of all moments: almost everything starts from
        them."""
        lines = pl.scan_parquet(self.folder / "order_lines.parquet")
        return lines.collect() if lines.select(pl.len()).collect().item() <= MOST_KEPT_LINES else None

    def before(self, moment: datetime) -> "History":
        """What was known strictly before ``moment`` (aware)."""
        if moment.tzinfo is None:
            raise ValueError(f"moment {moment.isoformat()} has no time zone.")
        return History(self, moment.astimezone(UTC))  # polars compares times of one zone only


@dataclass(frozen=True)
class History:
    """What was known strictly before a moment."""

    snapshot: Snapshot
    moment: datetime

    def scan(self, table: str) -> pl.LazyFrame:
        """The rows of a table dated before the moment; all rows of a table that has no date.

        Campaigns that start at or after the moment are left out together with their coupons and shoppers, and what
        :data:`CHANGED_AT` dates is null where it is not yet reached.
        """
        frame = self.snapshot.scan(table)
        if table in CHANGED_AT:
            changed = CHANGED_AT[table]
            frame = frame.with_columns(pl.when(pl.col(changed) < self.moment).then(changed).alias(changed))
        if table in DATED_BY:
            return frame.filter(pl.col(DATED_BY[table]) < self.moment)
        if table in OF_A_CAMPAIGN:
            return frame.join(self.scan("campaigns").select(c.CAMPAIGN), on=c.CAMPAIGN, how="semi")
        return frame

    def order_lines_in_parts(self, *columns: str) -> Iterator[pl.DataFrame]:
        """The order lines dated before the moment, in time, as many at once as memory bears; no order is cut in two."""
        lines = self.snapshot.scan("order_lines").select(list(dict.fromkeys([c.ORDER, c.ORDERED_AT, *columns])))
        count = lines.select(pl.len()).collect().item()
        at_once = count if count <= MOST_KEPT_LINES else LINES_AT_ONCE
        begun: list[pl.DataFrame] = []  # the lines so far of an order that the next part goes on with
        for start in range(0, max(1, count), max(1, at_once)):
            part = pl.concat([*begun, lines.slice(start, at_once).collect()])
            if start + at_once < count:
                is_last = part[c.ORDER] == part[c.ORDER][-1]
                part, begun = part.filter(~is_last), [part.filter(is_last)]
            yield part.filter(pl.col(c.ORDERED_AT) < self.moment).select(columns)
