"""Where a shopper × coupon affinity stands: among the coupons of the shopper's list, and among shoppers.

Shops send a shopper the coupons that suit them best, and send a coupon to the shoppers whom it suits best; shoppers
themselves weigh one coupon of a list against the others. What an affinity amounts to shows only beside the others.
"""

import numpy as np
from scipy.stats import rankdata

from recommender.ml.affinity import PurchaseMatrix

#: Shoppers that others are compared with: a rank among so many is known to about a hundredth.
REFERENCE_SHOPPERS = 5_000
PER_MILLE = 1_000


def reference_rows(matrix: PurchaseMatrix) -> np.ndarray:
    """The rows of the shoppers to compare with: all who bought, or so many of them, spread evenly by number."""
    count = len(matrix.shoppers)
    if count <= REFERENCE_SHOPPERS:
        return np.arange(count)
    return np.linspace(0, count - 1, REFERENCE_SHOPPERS).round().astype(np.int64)


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
        return affinity.shape[1] - rankdata(affinity, axis=1)
    asked = np.take_along_axis(affinity, columns, axis=1)
    ordered = np.sort(affinity, axis=1)  # and two searches for the few that are asked: a third of the cost of ranking
    ranks = np.empty(asked.shape)
    for row, (its_order, its_values) in enumerate(zip(ordered, asked, strict=True)):
        below, upto = its_order.searchsorted(its_values, "left"), its_order.searchsorted(its_values, "right")
        ranks[row] = affinity.shape[1] - (below + upto + 1) / 2
    return ranks


class AmongShoppers:
    """Compares shoppers' affinities to a coupon with those of reference shoppers.

    Args:
        reference: (r, k), their affinities.
    """

    def __init__(self, reference: np.ndarray) -> None:
        self._sorted = np.sort(reference.T, axis=1)

    def per_mille_above(self, affinity: np.ndarray) -> np.ndarray:
        """(rows, k): of a thousand reference shoppers, how many have more of it, equal ones counted half; 1,000 where
        there is nobody to compare with."""
        if not self._sorted.shape[1]:
            return np.full(affinity.shape, float(PER_MILLE))
        larger, equal = _compare(self._sorted, np.ascontiguousarray(affinity.T))
        return PER_MILLE * (larger + equal / 2).T / self._sorted.shape[1]


def _compare(ordered: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By row, how many of ``ordered`` are larger than each value, and how many equal it."""
    upto = np.empty(values.shape)
    below = np.empty(values.shape)
    for row, (its_order, its_values) in enumerate(zip(ordered, values, strict=True)):
        some = np.flatnonzero(its_values)  # most affinities are 0, which is looked up once
        below[row], upto[row] = its_order.searchsorted(0.0, "left"), its_order.searchsorted(0.0, "right")
        found = its_order.searchsorted(its_values[some], "left")
        below[row, some] = upto[row, some] = found
        # Few of the others equal a reference shopper's: only for these it matters where the equal ones end.
        equal = its_order[np.minimum(found, len(its_order) - 1)] == its_values[some]
        upto[row, some[equal]] = its_order.searchsorted(its_values[some[equal]], "right")
    return ordered.shape[1] - upto, upto - below
