"""Purchases of sets of products, by shopper. A set is a product, a category, or all that a coupon is for."""

from functools import lru_cache

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.catalogue import coupon_products
from recommender.ml.cells import Cells
from recommender.ml.history import History
from recommender.ml.purchases import (
    DAYS_SINCE_LAST,
    FADED_AMOUNT,
    FADED_TIMES,
    NEVER,
    RECENT_TIMES,
    SHORT_HALF_LIFE,
    TIMES,
    fading_weight,
    purchases,
)

SET = "set"
OWN_PRODUCTS = "own_products"
BUYERS = "buyers"
BUYERS_SHARE = "buyers_share"
RECENT_BUYERS_SHARE = "recent_buyers_share"

_NEVER_BOUGHT = {
    TIMES: 0.0,
    FADED_TIMES: 0.0,
    RECENT_TIMES: 0.0,
    FADED_AMOUNT: 0.0,
    OWN_PRODUCTS: 0.0,
    DAYS_SINCE_LAST: NEVER,
}
_NOBODY_BOUGHT = {BUYERS: 0.0, BUYERS_SHARE: 0.0, RECENT_BUYERS_SHARE: 0.0}


class ProductSets:
    """Sets of products, with what was bought of them as of the moment of a history.

    Args:
        history: what was known before the moment.
        members: columns ``set`` (UInt32) and ``product``, a row for each product of a set, none twice.
    """

    def __init__(self, history: History, members: pl.DataFrame) -> None:
        self._members, self._history = members, history
        bought = purchases(history)
        shoppers = max(1, len(bought.shoppers))
        numbers = int(members[SET].max() or 0) + 1  # type: ignore[arg-type]
        count, recent = np.zeros(numbers, dtype=np.int64), np.zeros(numbers)
        for part in bought.last_times():
            lines = part.join(members, on=c.PRODUCT)
            buyers = Cells(lines[SET], lines[c.SHOPPER])
            last = pl.DataFrame({DAYS_SINCE_LAST: buyers.least(lines[DAYS_SINCE_LAST])})
            recently = last.select(fading_weight(pl.col(DAYS_SINCE_LAST), SHORT_HALF_LIFE)).to_series()
            count += np.bincount(buyers.first, minlength=numbers)
            recent += np.bincount(buyers.first, weights=recently, minlength=numbers)
        sets = np.flatnonzero(count)
        self.popularity = pl.DataFrame(
            {
                SET: sets.astype(np.uint32),
                BUYERS: count[sets].astype(np.float64),
                BUYERS_SHARE: count[sets] / shoppers,
                RECENT_BUYERS_SHARE: recent[sets] / shoppers,
            }
        )

    def bought(self, purchased: pl.DataFrame) -> pl.DataFrame:
        """A row for each (shopper, set) of whose purchases there are any, with the sums over its products."""
        lines = purchased.join(self._members, on=c.PRODUCT, maintain_order="left_right")
        cells = Cells(lines[c.SHOPPER], lines[SET])
        return pl.DataFrame(
            {
                c.SHOPPER: cells.first,
                SET: cells.second,
                **{kind: cells.sums(lines[kind]) for kind in (TIMES, FADED_TIMES, RECENT_TIMES)},
                FADED_AMOUNT: cells.sums(lines[FADED_AMOUNT]).clip(0),  # refunds are negative amounts
                OWN_PRODUCTS: cells.counts,
                DAYS_SINCE_LAST: cells.least(lines[DAYS_SINCE_LAST]),
            }
        )

    def tables(self, purchased: pl.DataFrame, shoppers: pl.Series, sets: pl.Series) -> dict[str, np.ndarray]:
        """As :meth:`describe` of every one of these shoppers with every set, as (shoppers, sets) by name.

        Args:
            purchased: the purchases of these shoppers.
            shoppers: sorted, none twice.
            sets: sorted, none twice.
        """
        bought, popularity = self.bought(purchased), self.popularity
        bought, popularity = (each.filter(pl.col(SET).is_in(sets.implode())) for each in (bought, popularity))
        cells = shoppers.search_sorted(bought[c.SHOPPER]).to_numpy(), sets.search_sorted(bought[SET]).to_numpy()
        tables = {name: np.full((len(shoppers), len(sets)), value) for name, value in _NEVER_BOUGHT.items()}
        for name, table in tables.items():
            table[cells] = bought[name].to_numpy()
        for name, value in _NOBODY_BOUGHT.items():
            of_sets = np.full(len(sets), value)
            of_sets[sets.search_sorted(popularity[SET]).to_numpy()] = popularity[name].to_numpy()
            tables[name] = np.broadcast_to(of_sets, (len(shoppers), len(sets)))
        return tables

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What each (shopper, set) of ``pairs`` bought of the set, and how many others did: no nulls, order kept."""
        shoppers, sets = pairs[c.SHOPPER].to_numpy(), pairs[SET].to_numpy()
        bought = self.bought(purchases(self._history).of(pairs[c.SHOPPER]))
        of_pairs = _places(_keys(bought[c.SHOPPER].to_numpy(), bought[SET].to_numpy()), _keys(shoppers, sets))
        of_sets = _places(self.popularity[SET].to_numpy(), sets)
        return pl.DataFrame(
            {name: _at(of_pairs, bought[name].to_numpy(), otherwise) for name, otherwise in _NEVER_BOUGHT.items()}
            | {
                name: _at(of_sets, self.popularity[name].to_numpy(), otherwise)
                for name, otherwise in _NOBODY_BOUGHT.items()
            }
        )


def sets_of_coupons(history: History, coupons: pl.Series) -> ProductSets:
    """What each of some coupons is for, as a set that has the coupon's number. Several inputs of the same pairs ask for
    it, and count once."""
    return _sets_of_coupons(history, tuple(coupons.unique().sort()))


@lru_cache(maxsize=1)
def _sets_of_coupons(history: History, coupons: tuple[int, ...]) -> ProductSets:
    products = coupon_products(history, pl.Series(c.COUPON, coupons, dtype=pl.UInt32))
    return ProductSets(history, products.rename({c.COUPON: SET}))


def _keys(shoppers: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """One number a (shopper, set), in the order of both."""
    return shoppers.astype(np.uint64) << np.uint64(32) | sets


def _places(ordered: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Where each number stands among sorted ones, none of them twice; -1 where it does not."""
    places = np.searchsorted(ordered, asked)
    found = np.append(ordered, 0)[places] == asked
    found &= places < len(ordered)
    return np.where(found, places, -1)


def _at(places: np.ndarray, values: np.ndarray, otherwise: float) -> np.ndarray:
    """The value at each place; another one where the place is -1."""
    return np.append(values, otherwise)[places]
