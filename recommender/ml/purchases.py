"""What each shopper bought, faded by time: the design's E(u) = Σ_t w_t · f(u, t).

``t`` is the age of a thing in days at the moment, ``w_t = 2 ** (-t / half-life)``, and f(u, t) is what is counted: an
order, the distinct products of an order, a redemption. Two half-lives tell the lasting from the recent.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from weakref import WeakValueDictionary

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.by_shopper import ByShopper
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

_WITH_COUPON = "with_coupon"

#: What is counted of a purchase, and how: of the lines of each cell, which have their ages and are faded by them.
_COUNTED: Mapping[str, Callable[[Cells, pl.DataFrame], np.ndarray]] = {
    TIMES: lambda cells, _lines: cells.counts,
    FADED_TIMES: lambda cells, lines: cells.sums(lines[FADED_TIMES]),
    RECENT_TIMES: lambda cells, lines: cells.sums(
        lines.select(fading_weight(pl.col(AGE), SHORT_HALF_LIFE)).to_series()
    ),
    FADED_TIMES_WITH_COUPON: lambda cells, lines: cells.sums(lines[FADED_TIMES] * lines[_WITH_COUPON]),
    FADED_AMOUNT: lambda cells, lines: cells.sums(lines[FADED_TIMES] * lines[c.AMOUNT]),
    DAYS_SINCE_LAST: lambda cells, lines: cells.least(lines[AGE]),
}
KINDS = tuple(_COUNTED)
#: Of what kinds it is known how much all shoppers together bought.
_SOLD = (TIMES, FADED_TIMES, FADED_TIMES_WITH_COUPON)
#: Shoppers whose purchases are counted at once. What is known of all purchases of a larger shop is many times what is
#: known of the shoppers that are described at once, and is kept as lines.
SHOPPERS_AT_ONCE = 50_000

#: The age given to what never happened. Longer ago makes no difference to anybody.
NEVER = 730.0  # days


def age_in_days(column: str, history: History) -> pl.Expr:
    """Days from a time to the moment of the history, above 0."""
    return (pl.lit(history.moment).cast(pl.Datetime("us", "UTC")) - pl.col(column)).dt.total_seconds() / 86_400


def fading_weight(age: pl.Expr, half_life: float = HALF_LIFE) -> pl.Expr:
    """w_t = 2 ** (-t / half-life) for t in days: 1 at the moment itself, one half a half-life before it."""
    return pl.lit(2.0).pow(-age / half_life)


class Purchases:
    """What shoppers bought before a moment, counted for some shoppers at a time.

    Purchases are asked for as a frame with a row for each (shopper, product) bought, sorted by both. Columns:
    ``times`` (lines), ``faded_times`` and ``recent_times`` (faded by the long and the short half-life),
    ``faded_times_with_coupon``, ``faded_amount`` (money), ``days_since_last``.

    Attributes:
        shoppers: the m shoppers who bought anything, sorted.
        products: the n products that anybody bought, sorted.
        varieties: (m,), how many products each shopper bought.
        buyers: (n,), how many shoppers bought each product.
    """

    def __init__(self, history: History) -> None:
        told = (c.SHOPPER, c.PRODUCT, c.AMOUNT, c.COUPON_DISCOUNT, c.ORDERED_AT)
        age, with_coupon = age_in_days(c.ORDERED_AT, history), pl.col(c.COUPON_DISCOUNT) > 0
        lines = pl.concat(
            part.select(c.SHOPPER, c.PRODUCT, c.AMOUNT, age.alias(AGE), with_coupon.alias(_WITH_COUPON))
            for part in history.order_lines_in_parts(*told)
        )
        numbers = int(lines[c.PRODUCT].max() or 0) + 1  # type: ignore[arg-type]
        self._lines = ByShopper(lines)
        self.shoppers = self._lines.shoppers
        #: All purchases of a shop whose shoppers are few enough to be counted at once.
        self._whole: pl.DataFrame | None = None
        if len(self.shoppers) <= SHOPPERS_AT_ONCE:
            self._whole = _count(self._lines.of(self.shoppers))
            self._counted = ByShopper(self._whole)
        buyers, sold = np.zeros(numbers, dtype=np.int64), {kind: np.zeros(numbers) for kind in _SOLD}
        varieties = []
        for part in self.parts(_SOLD):
            products = part[c.PRODUCT].to_numpy()
            buyers += np.bincount(products, minlength=numbers)
            for kind in _SOLD:
                sold[kind] += np.bincount(products, weights=part[kind].to_numpy(), minlength=numbers)
            varieties.append(np.unique(part[c.SHOPPER].to_numpy(), return_counts=True)[1])
        bought = np.flatnonzero(buyers)
        self.products = pl.Series(c.PRODUCT, bought.astype(np.uint32))
        self.varieties, self.buyers = np.concatenate(varieties), buyers[bought]
        self._sold = {kind: of_kind[bought] for kind, of_kind in sold.items()}

    def of(self, shoppers: pl.Series) -> pl.DataFrame:
        """The purchases of these shoppers. Who has none is left out."""
        return _count(self._lines.of(shoppers)) if self._whole is None else self._counted.of(shoppers)

    def lines_of(self, shoppers: pl.Series) -> pl.DataFrame:
        """Every single purchase of these shoppers, sorted by shopper, of each in time: ``shopper``, ``product`` and
        ``age`` in days."""
        return self._lines.of(shoppers).select(c.SHOPPER, c.PRODUCT, AGE)

    def parts(self, kinds: Collection[str] = KINDS) -> Iterator[pl.DataFrame]:
        """The purchases of all shoppers, as many of these at once as memory bears.

        Args:
            kinds: the columns beside shopper and product.
        """
        if self._whole is not None:
            yield self._whole.select(c.SHOPPER, c.PRODUCT, *kinds)
            return
        for lines in self._lines_in_parts():
            yield _count(lines, kinds)

    def last_times(self) -> Iterator[pl.DataFrame]:
        """When all shoppers bought things last, as many of these at once as memory bears: ``shopper``, ``product`` and
        ``days_since_last``, of whose rows for the same two the least is meant."""
        if self._whole is not None:
            yield self._whole.select(c.SHOPPER, c.PRODUCT, DAYS_SINCE_LAST)
            return
        for lines in self._lines_in_parts():  # to count them costs more than to look at each
            yield lines.select(c.SHOPPER, c.PRODUCT, pl.col(AGE).alias(DAYS_SINCE_LAST))

    def _lines_in_parts(self) -> Iterator[pl.DataFrame]:
        for start in range(0, len(self.shoppers), SHOPPERS_AT_ONCE):
            yield self._lines.of(self.shoppers[start : start + SHOPPERS_AT_ONCE])

    def sold(self, kind: str = FADED_TIMES) -> np.ndarray:
        """(n,): purchases of each product, of all shoppers together: how often, faded, or faded and with a coupon."""
        return self._sold[kind]


def _count(lines: pl.DataFrame, kinds: Collection[str] = KINDS) -> pl.DataFrame:
    """The purchases that lines come to; these are sorted by shopper."""
    lines = lines.with_columns(fading_weight(pl.col(AGE)).alias(FADED_TIMES))
    shoppers = lines[c.SHOPPER].unique(maintain_order=True)
    cells = Cells(lines[c.SHOPPER].rle_id(), lines[c.PRODUCT])
    return pl.DataFrame(
        {c.SHOPPER: shoppers.gather(cells.first), c.PRODUCT: cells.second}
        | {kind: _COUNTED[kind](cells, lines) for kind in kinds}
    )


_passing: WeakValueDictionary[History, Purchases] = WeakValueDictionary()


def purchases(history: History) -> Purchases:
    """The purchases of a history, counted once: those of the latest moment are kept."""
    passing = _passing.get(history)
    return _kept_purchases(history) if passing is None else passing


@lru_cache(maxsize=1)
def _kept_purchases(history: History) -> Purchases:
    return Purchases(history)


def forget_purchases() -> None:
    """Let go of those that are kept: in a large shop they are most of what is known of a moment."""
    _kept_purchases.cache_clear()


def passing_purchases(history: History) -> Purchases:
    """As :func:`purchases`, of a moment that is looked at only in passing: counted once as long as the caller holds on
    to them."""
    found = _passing.get(history)
    if found is None:
        found = _passing[history] = Purchases(history)
    return found


def all_purchases(history: History) -> pl.DataFrame:
    """The purchases of all shoppers in one frame, for what has to see them all at once."""
    return pl.concat(purchases(history).parts())
