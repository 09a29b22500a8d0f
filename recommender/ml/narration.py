"""What a person wants to read of the purchases that reasons speak of: of what, how often, at what rhythm, when last.

A model weighs purchases of all that a coupon is for, as counts faded by time. That is what its reasons are measured on;
what is told here describes the purchases behind them that matter most, one by one, as of the same moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from recommender.ml import columns as c
from recommender.ml.catalogue import category_depth, category_names, coupon_products, product_categories
from recommender.ml.contract import Reason
from recommender.ml.history import History
from recommender.ml.purchases import AGE, TIMES, purchases

#: Fewer days of purchase have no rhythm: of two gaps neither is usual.
FEWEST_DAYS = 4
#: A product is named rather than the category it is in where at least this share of the category's purchases is its.
PRODUCT_SHARE = 0.5

_THING = "thing"
_PAIR = "pair"
_WORTH = "worth"
_ROW = "row"


@dataclass(frozen=True)
class _Things:
    """What can be named in speaking of purchases: products, categories or brands.

    Attributes:
        products: columns ``thing`` and ``product``, a row for each product of a thing.
        coupons: columns ``coupon`` and ``thing``, what is worth naming of each coupon.
        names: columns ``thing``, ``name`` and ``worth``: the one with the most times bought × worth is named.
    """

    products: pl.DataFrame
    coupons: pl.DataFrame
    names: pl.DataFrame


class Narrator:
    """Tells of the purchases behind reasons.

    Args:
        history: what was known before the moment of decision.
        coupons: the numbers of the coupons that will be spoken of.
    """

    def __init__(self, history: History, coupons: pl.Series) -> None:
        self._purchases = purchases(history)
        members = coupon_products(history, coupons)
        depth = category_depth(history)
        categories = category_names(history, depth)
        self._things = {
            "bought_products": _of_the_coupons_products(history, members, categories),
            "bought_category": _groups_of_products(members, product_categories(history, depth), categories),
            "bought_brand": _groups_of_products(members, *_brands(history)),
        }

    def tell(self, pairs: pl.DataFrame, reasons: Sequence[Sequence[Reason]]) -> list[list[Reason]]:
        """The reasons of pairs, those of purchases with a ``rhythm`` where there is a name for what was bought.

        A rhythm tells of the thing that the shopper bought most often of all that the reason is about: its ``name``,
        the ``days`` on which it was bought, ``since_first`` and ``since_last`` (days ago) and ``between``, the median
        of the days between one day of purchase and the next, None for fewer than :data:`FEWEST_DAYS`. Days are counted
        back from the moment.

        Args:
            pairs: columns ``shopper`` and ``coupon``, n rows.
            reasons: of each pair.
        """
        rhythms = {kind: self._rhythms(kind, pairs, _rows_with(kind, reasons)) for kind in self._things}
        return [
            [
                {**reason, "rhythm": rhythm} if (rhythm := rhythms.get(reason["kind"], {}).get(row)) else reason
                for reason in of_pair
            ]
            for row, of_pair in enumerate(reasons)
        ]

    def _rhythms(self, kind: str, pairs: pl.DataFrame, rows: list[int]) -> dict[int, dict[str, object]]:
        """By row of the pairs."""
        if not rows:
            return {}
        things = self._things[kind]
        asked = pairs.select(c.SHOPPER, c.COUPON)[rows].with_columns(pl.Series(_ROW, rows, dtype=pl.UInt32)).lazy()
        shoppers = pairs[c.SHOPPER][rows]
        lines = self._purchases.lines_of(shoppers).lazy()
        times = lines.group_by(c.SHOPPER, c.PRODUCT).agg(pl.len().cast(pl.Float64).alias(TIMES))
        bought = times.join(things.products.lazy(), on=c.PRODUCT).collect()
        named = (
            asked.join(things.coupons.lazy(), on=c.COUPON)
            .join(bought.lazy().group_by(c.SHOPPER, _THING).agg(pl.col(TIMES).sum()), on=[c.SHOPPER, _THING])
            .join(things.names.lazy(), on=_THING)
            .sort(_ROW, pl.col(TIMES) * pl.col(_WORTH), _THING, descending=[False, True, False])
            .unique(_ROW, keep="first", maintain_order=True)
            .select(_ROW, c.SHOPPER, _THING, c.NAME)
            .collect()
        )
        days = (
            lines.join(
                bought.lazy().join(named.lazy().select(c.SHOPPER, _THING).unique(), on=[c.SHOPPER, _THING], how="semi"),
                on=[c.SHOPPER, c.PRODUCT],
            )
            .group_by(c.SHOPPER, _THING)
            .agg(
                pl.col(AGE).floor().unique().sort().alias("days"),
                pl.col(AGE).max().round(1).alias("since_first"),
                pl.col(AGE).min().round(1).alias("since_last"),
            )
        )
        rhythms = (
            named.lazy()
            .join(days, on=[c.SHOPPER, _THING])
            .select(
                _ROW,
                pl.col(c.NAME),
                pl.col("days").list.len(),
                "since_first",
                pl.when(pl.col("days").list.len() >= FEWEST_DAYS)
                .then(pl.col("days").list.diff(null_behavior="drop").list.median())
                .alias("between"),
                "since_last",
            )
            .collect()
        )
        return {rhythm.pop(_ROW): rhythm for rhythm in rhythms.iter_rows(named=True)}


def _rows_with(kind: str, reasons: Iterable[Iterable[Reason]]) -> list[int]:
    return [row for row, of_pair in enumerate(reasons) if any(reason["kind"] == kind for reason in of_pair)]


def _brands(history: History) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The brands of products, numbered, and their names: ``product`` and ``category``, ``category`` and ``name``."""
    brands = (
        history.scan("products")
        .filter(pl.col(c.BRAND) != "")
        .select(c.PRODUCT, pl.col(c.BRAND).alias(c.NAME), pl.col(c.BRAND).rank("dense").alias(c.CATEGORY))
        .collect()
    )
    return brands.select(c.PRODUCT, c.CATEGORY), brands.select(c.CATEGORY, c.NAME).unique()


def _groups_of_products(members: pl.DataFrame, groups: pl.DataFrame, names: pl.DataFrame) -> _Things:
    """The groups (categories, brands) that the coupons' products are in, each with all of its products.

    Args:
        members: columns ``coupon`` and ``product``.
        groups: columns ``product`` and ``category``.
        names: columns ``category`` and ``name``.
    """
    return _Things(
        products=groups.select(pl.col(c.CATEGORY).alias(_THING), c.PRODUCT),
        coupons=members.join(groups, on=c.PRODUCT).select(c.COUPON, pl.col(c.CATEGORY).alias(_THING)).unique(),
        names=names.select(pl.col(c.CATEGORY).alias(_THING), c.NAME, pl.lit(1.0).alias(_WORTH)),
    )


def _of_the_coupons_products(history: History, members: pl.DataFrame, categories: pl.DataFrame) -> _Things:
    """The coupons' products that have a name, and their categories with no other products than the coupon's.

    Args:
        members: columns ``coupon`` and ``product``.
        categories: columns ``category`` and ``name``.
    """
    members = members.join(
        history.scan("products").select(c.PRODUCT, c.CATEGORY, c.NAME).collect(), on=c.PRODUCT, maintain_order="left"
    )
    named = pl.concat(
        [
            members.filter(pl.col(c.NAME) != "").select(
                c.COUPON, c.PRODUCT, c.NAME, pl.col(c.PRODUCT).alias("key"), pl.lit(1 / PRODUCT_SHARE).alias(_WORTH)
            ),
            members.drop(c.NAME)
            .join(categories, on=c.CATEGORY, maintain_order="left")
            .select(c.COUPON, c.PRODUCT, c.NAME, pl.col(c.CATEGORY).alias("key"), pl.lit(1.0).alias(_WORTH)),
        ]
    )
    of_a_coupon = [c.COUPON, _WORTH, "key"]
    things = named.unique(of_a_coupon, keep="first", maintain_order=True).with_row_index(_THING)
    return _Things(
        products=named.join(things.select(_THING, *of_a_coupon), on=of_a_coupon).select(_THING, c.PRODUCT),
        coupons=things.select(c.COUPON, _THING),
        names=things.select(_THING, c.NAME, _WORTH),
    )
