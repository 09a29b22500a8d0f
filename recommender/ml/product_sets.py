"""Purchases of sets of products, by shopper. A set is a product, a category, or all that a coupon is for."""

import numpy as np
import polars as pl

from recommender.ml import columns as c
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
        bought = purchases(history)
        shoppers = max(1, bought[c.SHOPPER].n_unique())
        lines = bought.join(members, on=c.PRODUCT, maintain_order="left_right")
        cells = Cells(lines[c.SHOPPER], lines[SET])
        self._keys = _keys(cells.first, cells.second)
        #: Of each (shopper, set) of which anything was bought, the sums over its products.
        self._bought = {
            **{kind: cells.sums(lines[kind]) for kind in (TIMES, FADED_TIMES, RECENT_TIMES)},
            FADED_AMOUNT: cells.sums(lines[FADED_AMOUNT]).clip(0),  # refunds are negative amounts
            OWN_PRODUCTS: cells.counts,
            DAYS_SINCE_LAST: cells.least(lines[DAYS_SINCE_LAST]),
        }
        last = pl.DataFrame({DAYS_SINCE_LAST: self._bought[DAYS_SINCE_LAST]})
        recently = last.select(fading_weight(pl.col(DAYS_SINCE_LAST), SHORT_HALF_LIFE)).to_series()
        sets, set_of, count = np.unique(cells.second, return_inverse=True, return_counts=True)
        self.popularity = pl.DataFrame(
            {
                SET: sets,
                BUYERS: count.astype(np.float64),
                BUYERS_SHARE: count / shoppers,
                RECENT_BUYERS_SHARE: np.bincount(set_of, weights=recently, minlength=len(sets)) / shoppers,
            }
        )

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What each (shopper, set) of ``pairs`` bought of the set, and how many others did: no nulls, order kept."""
        sets = pairs[SET].to_numpy()
        of_pairs = _places(self._keys, _keys(pairs[c.SHOPPER].to_numpy(), sets))
        of_sets = _places(self.popularity[SET].to_numpy(), sets)
        popularity = {name: self.popularity[name].to_numpy() for name in _NOBODY_BOUGHT}
        return pl.DataFrame(
            {name: _at(of_pairs, self._bought[name], otherwise) for name, otherwise in _NEVER_BOUGHT.items()}
            | {name: _at(of_sets, popularity[name], otherwise) for name, otherwise in _NOBODY_BOUGHT.items()}
        )


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
