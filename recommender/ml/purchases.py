"""What each shopper bought, faded by time: the design's E(u) = Σ_t w_t · f(u, t).

``t`` is the age of a thing in days at the moment, ``w_t = 2 ** (-t / half-life)``, and f(u, t) is what is counted: an
order, the distinct products of an order, a redemption. Two half-lives tell the lasting from the recent.
"""

from functools import lru_cache

import polars as pl

from recommender.ml import columns as c
from recommender.ml.cells import Cells
from recommender.ml.history import History

HALF_LIFE = 90.0  # days
SHORT_HALF_LIFE = 21.0  # days

AGE = "age"
TIMES = "times"
FADED_TIMES = "faded_times"
RECENT_TIMES = "recent_times"
FADED_TIMES_WITH_COUPON = "faded_times_with_coupon"
FADED_AMOUNT = "faded_amount"
DAYS_SINCE_LAST = "days_since_last"

#: The age given to what never happened. Longer ago makes no difference to anybody.
NEVER = 730.0  # days


def age_in_days(column: str, history: History) -> pl.Expr:
    """Days from a time to the moment of the history, above 0."""
    return (pl.lit(history.moment).cast(pl.Datetime("us", "UTC")) - pl.col(column)).dt.total_seconds() / 86_400


def fading_weight(age: pl.Expr, half_life: float = HALF_LIFE) -> pl.Expr:
    """w_t = 2 ** (-t / half-life) for t in days: 1 at the moment itself, one half a half-life before it."""
    return pl.lit(2.0).pow(-age / half_life)


@lru_cache(maxsize=4)
def purchases(history: History) -> pl.DataFrame:
    """A row for each (shopper, product) bought, sorted by both.

    Columns: ``times`` (lines), ``faded_times`` and ``recent_times`` (faded by the long and the short half-life),
    ``faded_times_with_coupon``, ``faded_amount`` (money), ``days_since_last``.
    """
    lines = history.order_lines.select(
        c.SHOPPER, c.PRODUCT, c.AMOUNT, c.COUPON_DISCOUNT, age_in_days(c.ORDERED_AT, history).alias(AGE)
    ).with_columns(
        fading_weight(pl.col(AGE)).alias(FADED_TIMES), fading_weight(pl.col(AGE), SHORT_HALF_LIFE).alias(RECENT_TIMES)
    )
    cells = Cells(lines[c.SHOPPER], lines[c.PRODUCT])
    return pl.DataFrame(
        {
            c.SHOPPER: cells.first,
            c.PRODUCT: cells.second,
            TIMES: cells.counts,
            FADED_TIMES: cells.sums(lines[FADED_TIMES]),
            RECENT_TIMES: cells.sums(lines[RECENT_TIMES]),
            FADED_TIMES_WITH_COUPON: cells.sums(lines[FADED_TIMES] * (lines[c.COUPON_DISCOUNT] > 0)),
            FADED_AMOUNT: cells.sums(lines[FADED_TIMES] * lines[c.AMOUNT]),
            DAYS_SINCE_LAST: cells.least(lines[AGE]),
        }
    )


@lru_cache(maxsize=4)
def products_bought(history: History) -> pl.Series:
    """The numbers of all products that anybody bought, sorted."""
    return purchases(history)[c.PRODUCT].unique().sort()
