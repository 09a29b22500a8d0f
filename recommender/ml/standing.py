"""Where a shopper × coupon affinity stands: among the coupons of the shopper's list, and among shoppers.

Shops send a shopper the coupons that suit them best, and send a coupon to the shoppers whom it suits best; shoppers
themselves weigh one coupon of a list against the others. What an affinity amounts to shows only beside the others.
"""

import numpy as np
import polars as pl

#: Shoppers that others are compared with: a rank among so many is known to about a hundredth.
REFERENCE_SHOPPERS = 5_000
PER_MILLE = 1_000


def reference_shoppers(shoppers: pl.Series) -> pl.Series:
    """The shoppers to compare with: all who bought, or so many of them, spread evenly by number."""
    if len(shoppers) <= REFERENCE_SHOPPERS:
        return shoppers
    return shoppers.gather(np.linspace(0, len(shoppers) - 1, REFERENCE_SHOPPERS).round().astype(np.int64))


def share_of_best(affinity: np.ndarray) -> np.ndarray:
    """(rows, k): each affinity over the largest of its row, in [0, 1]; 0 in a row without any.

    Args:
        affinity: (rows, k), from 0 up.
    """
    best = affinity.max(axis=1, keepdims=True, initial=0.0)
    return np.divide(affinity, best, out=np.zeros_like(affinity), where=best > 0)


def rank_in_list(affinity: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """(rows, k): how many others of its row are larger, equal ones counted half: 0 for the single best.

    Args:
        columns: (rows, m), of which columns of each row it is told; of all without it.
    """
    if columns is None:
        return _rank_all(affinity)
    asked = np.take_along_axis(affinity, columns, axis=1)
    ordered = np.sort(affinity, axis=1)  # and two searches for the few that are asked: a third of the cost of ranking
    ranks = np.empty(asked.shape)
    for row, (its_order, its_values) in enumerate(zip(ordered, asked, strict=True)):
        below, upto = its_order.searchsorted(its_values, "left"), its_order.searchsorted(its_values, "right")
        ranks[row] = affinity.shape[1] - (below + upto + 1) / 2
    return ranks


def _rank_all(affinity: np.ndarray) -> np.ndarray:
    length = affinity.shape[1]
    order = np.argsort(affinity, axis=1)
    ordered = np.take_along_axis(affinity, order, axis=1)
    begins = np.ones(affinity.shape, dtype=bool)  # of those that are equal
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=begins[:, 1:])
    first = np.flatnonzero(begins)
    equal = np.diff(first, append=affinity.size)
    ranks = np.empty(affinity.shape)
    by_group = length - first % max(1, length) - (equal + 1) / 2
    np.put_along_axis(ranks, order, np.repeat(by_group, equal).reshape(ranks.shape), axis=1)
    return ranks


class AmongShoppers:
    """Compares shoppers' affinities to a coupon with those of reference shoppers.

    Args:
        reference: (r, k), their affinities.
    """

    def __init__(self, reference: np.ndarray) -> None:
        self._sorted = np.sort(reference.T, axis=1)
        count = self._sorted.shape[1]
        is_last = np.ones(self._sorted.shape, dtype=bool)  # of those that are equal
        np.not_equal(self._sorted[:, 1:], self._sorted[:, :-1], out=is_last[:, :-1])
        ends = np.where(is_last, np.arange(1, count + 1), count)
        #: (k, r): how many are as large as each, or smaller.
        self._up_to = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]

    def per_mille_above(self, affinity: np.ndarray) -> np.ndarray:
        """(rows, k): of a thousand reference shoppers, how many have more of it, equal ones counted half; 1,000 where
        there is nobody to compare with."""
        count = self._sorted.shape[1]
        if not count:
            return np.full(affinity.shape, float(PER_MILLE))
        above = np.empty(affinity.T.shape)
        for row, values in enumerate(np.ascontiguousarray(affinity.T)):  # a search is what costs, so there is one only
            smaller = self._sorted[row].searchsorted(values)
            place = np.minimum(smaller, count - 1)
            up_to = np.where(self._sorted[row][place] == values, self._up_to[row][place], smaller)
            above[row] = count - (smaller + up_to) / 2
        return np.ascontiguousarray(PER_MILLE * above.T / count)
