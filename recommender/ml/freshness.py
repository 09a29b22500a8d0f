"""How long what a coupon is for keeps, at what rhythm a shopper buys such things, and whether they are in season.

What a shop has in stock of a product are batches, each good until a moment. Where no batch is told of, none of this
is, and models are not shown it.
"""

from datetime import timedelta
from functools import lru_cache

import polars as pl

from recommender.ml import columns as c
from recommender.ml.by_shopper import ByShopper
from recommender.ml.catalogue import KIND_OF_THING, coupon_products, kinds_of_things
from recommender.ml.history import History, Snapshot
from recommender.ml.kind_of_shop import OfKindOfShop
from recommender.ml.purchases import NEVER, age_in_days

#: Days until the last of what is in stock of its products is no longer good; the most stand for what keeps.
DAYS_GOOD, MOST_DAYS_GOOD = "days_that_its_stock_keeps", 60.0
#: How often the shopper is likely to come in these days, at the pace of late.
VISITS, MOST_VISITS = "visits_while_its_stock_keeps", 30.0
#: The median of the days from one day on which the shopper bought things of its kind to the next.
USUAL_GAP = "usual_days_between_purchases"
#: How much of these days have gone since the last of such days; more than this makes no difference to anybody.
GONE_SHARE, MOST_GONE = "share_of_usual_days_gone", 4.0
#: How much of its kind was sold in the four weeks after this day of a year ago, by the mean of that year's four weeks.
SEASON, MOST_SEASON = "season_of_its_kind", 6.0

#: What holds of a pair of which no batch tells anything.
NO_FRESHNESS = {DAYS_GOOD: MOST_DAYS_GOOD, VISITS: 0.0, USUAL_GAP: NEVER, GONE_SHARE: 0.0, SEASON: 1.0}

#: The pace at which a shopper comes is that of so many days.
PACE_DAYS = 56
YEAR, AHEAD = timedelta(days=365), timedelta(days=28)
#: Lines that every kind of thing is credited with in any four weeks, so that one sale is not a season.
PRIOR_LINES = 5.0

_DAY = "day"
_PACE = "visits_a_day"


def knows_batches(snapshot: Snapshot) -> bool:
    """Whether a shop tells of what it has in stock."""
    return not snapshot.scan("batches").head(1).collect().is_empty()


class FreshnessOfCoupons(OfKindOfShop):
    """What batches, rhythms and seasons tell of some coupons.

    Attributes:
        any: whether anything is told of batches: if not, all pairs have what :data:`NO_FRESHNESS` says.
    """

    unknown = NO_FRESHNESS
    sketched = (VISITS, GONE_SHARE, SEASON)

    def __init__(self, history: History, coupons: pl.Series) -> None:
        self.any = not history.scan("batches").head(1).collect().is_empty()
        if not self.any:
            return
        members = coupon_products(history, coupons)
        kinds = kinds_of_things(history)
        of_kinds = (
            members.join(kinds, on=c.PRODUCT).select(c.COUPON, KIND_OF_THING).unique().sort(c.COUPON, KIND_OF_THING)
        )
        good = members.join(_days_good(history), on=c.PRODUCT, how="left").with_columns(
            pl.col(DAYS_GOOD).fill_null(MOST_DAYS_GOOD)
        )
        season = of_kinds.join(_seasons(history), on=KIND_OF_THING, how="left").with_columns(
            pl.col(SEASON).fill_null(1.0)
        )
        self._coupons = (
            coupons.unique()
            .to_frame(c.COUPON)
            .join(good.group_by(c.COUPON).agg(pl.col(DAYS_GOOD).max()), on=c.COUPON, how="left")
            .join(season.group_by(c.COUPON).agg(pl.col(SEASON).max()), on=c.COUPON, how="left")
            .with_columns(pl.col(DAYS_GOOD).fill_null(MOST_DAYS_GOOD), pl.col(SEASON).fill_null(1.0))
            .sort(c.COUPON)
        )
        self._of_kinds = of_kinds
        self._rhythms = ByShopper(rhythms(history))
        self._paces = ByShopper(_paces(history))

    def _describe(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.DataFrame:
        of_pairs = (
            self._rhythms.of(shoppers)
            .join(self._of_kinds, on=KIND_OF_THING)
            .group_by(c.SHOPPER, c.COUPON)
            .agg(pl.col(GONE_SHARE).sort_by(USUAL_GAP, GONE_SHARE).first(), pl.col(USUAL_GAP).min())
        )
        return (
            pairs.select(c.SHOPPER, c.COUPON)
            .join(self._coupons, on=c.COUPON, how="left", maintain_order="left")
            .join(self._paces.of(shoppers), on=c.SHOPPER, how="left", maintain_order="left")
            .join(of_pairs, on=[c.SHOPPER, c.COUPON], how="left", maintain_order="left")
            .with_columns((pl.col(DAYS_GOOD) * pl.col(_PACE)).clip(0, MOST_VISITS).alias(VISITS))
            .select(pl.col(name).fill_null(value) for name, value in NO_FRESHNESS.items())
        )


@lru_cache(maxsize=4)
def rhythms(history: History) -> pl.DataFrame:
    """A row for each (shopper, kind of thing) that was bought on two days at least, sorted by both.

    Columns: ``usual_days_between_purchases`` and ``share_of_usual_days_gone``. Days are counted back from the moment.
    """
    days = (
        history.scan("order_lines")
        .filter(pl.col(c.QUANTITY) > 0)
        .select(c.SHOPPER, c.PRODUCT, age_in_days(c.ORDERED_AT, history).floor().alias(_DAY))
        .join(kinds_of_things(history).lazy(), on=c.PRODUCT)
        .select(c.SHOPPER, KIND_OF_THING, _DAY)
        .unique()
        .sort(c.SHOPPER, KIND_OF_THING, _DAY)
        .group_by(c.SHOPPER, KIND_OF_THING, maintain_order=True)
        .agg(pl.col(_DAY).diff(null_behavior="drop").median().alias(USUAL_GAP), pl.col(_DAY).first())
        .filter(pl.col(USUAL_GAP).is_not_null())
    )
    gone = (pl.col(_DAY) + 0.5) / pl.col(USUAL_GAP)  # a day is as old as its middle
    return days.select(c.SHOPPER, KIND_OF_THING, USUAL_GAP, gone.clip(0, MOST_GONE).alias(GONE_SHARE)).collect()


def _days_good(history: History) -> pl.DataFrame:
    """A row for each product of which there ever was a batch: how long the last of those in stock keeps, 0 where none
    is."""
    left = -age_in_days(c.BEST_BEFORE, history)
    return (
        history.scan("batches")
        .with_columns(pl.when(pl.col(c.SOLD_OUT_AT).is_null()).then(left).otherwise(0.0).alias(DAYS_GOOD))
        .group_by(c.PRODUCT)
        .agg(pl.col(DAYS_GOOD).max().clip(0, MOST_DAYS_GOOD))
        .collect()
    )


def _seasons(history: History) -> pl.DataFrame:
    """A row for each kind of thing that was sold in the year before the moment; none where history is no year old."""
    lines = history.scan("order_lines").filter(pl.col(c.QUANTITY) > 0)
    year_ago = history.moment - YEAR
    first = lines.select(pl.col(c.ORDERED_AT).min()).collect().item()
    if first is None or first > year_ago:
        return pl.DataFrame(schema={KIND_OF_THING: pl.Int64, SEASON: pl.Float64})
    sold = (
        lines.filter(pl.col(c.ORDERED_AT) >= year_ago)
        .select(c.PRODUCT, (pl.col(c.ORDERED_AT) < year_ago + AHEAD).alias("then"))
        .join(kinds_of_things(history).lazy(), on=c.PRODUCT)
        .group_by(KIND_OF_THING)
        .agg(pl.len().alias("year"), pl.col("then").sum())
    )
    usual = pl.col("year") * (AHEAD / YEAR)
    return sold.select(
        KIND_OF_THING, ((pl.col("then") + PRIOR_LINES) / (usual + PRIOR_LINES)).clip(0, MOST_SEASON).alias(SEASON)
    ).collect()


def _paces(history: History) -> pl.DataFrame:
    """On how many of the last days each shopper bought anything, a day."""
    age = age_in_days(c.ORDERED_AT, history)
    return (
        history.scan("order_lines")
        .filter(age <= PACE_DAYS)
        .group_by(c.SHOPPER)
        .agg((age.floor().n_unique() / PACE_DAYS).alias(_PACE))
        .sort(c.SHOPPER)
        .collect()
    )
