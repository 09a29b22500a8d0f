"""What each shopper bought, faded by time: the design's E(u) = Σ_t w_t · f(u, t).

``t`` is the age of a thing in days at the moment, ``w_t = 2 ** (-t / half-life)``, and f(u, t) is what is counted: an
order, the distinct products of an order, a redemption. Two half-lives tell the lasting from the recent.
"""

from functools import lru_cache

import numpy as np
import polars as pl

from recommender.ml import columns as c
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
        (pl.col(c.SHOPPER).cast(pl.UInt64) * 2**32 + pl.col(c.PRODUCT)).alias("cell"),
        c.AMOUNT,
        pl.col(c.COUPON_DISCOUNT) > 0,
        age_in_days(c.ORDERED_AT, history).alias(AGE),
    ).with_columns(fading_weight(pl.col(AGE)).alias("weight"))
    cells, cell_of = np.unique(lines["cell"].to_numpy(), return_inverse=True)

    # One term after the other in the order of the lines: the last digits of a group's sum in polars depend on how its
    # rows are divided among threads.
    def total(values: pl.Series) -> np.ndarray:
        return np.bincount(cell_of, weights=values.to_numpy(), minlength=len(cells))

    last = np.full(len(cells), np.inf)
    np.minimum.at(last, cell_of, lines[AGE].to_numpy())
    return pl.DataFrame(
        {
            c.SHOPPER: (cells // 2**32).astype(np.uint32),
            c.PRODUCT: (cells % 2**32).astype(np.uint32),
            TIMES: np.bincount(cell_of, minlength=len(cells)).astype(np.float64),
            FADED_TIMES: total(lines["weight"]),
            RECENT_TIMES: total(lines.select(fading_weight(pl.col(AGE), SHORT_HALF_LIFE)).to_series()),
            FADED_TIMES_WITH_COUPON: total(lines["weight"] * lines[c.COUPON_DISCOUNT]),
            FADED_AMOUNT: total(lines["weight"] * lines[c.AMOUNT]),
            DAYS_SINCE_LAST: last,
        }
    )
