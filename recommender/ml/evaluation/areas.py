"""Areas under the two curves that a sweep of the threshold over all pairs draws."""

import numpy as np
from scipy import sparse

from recommender.ml.evaluation.pairs import Pairs
from recommender.ml.evaluation.ratio import ratio


class Areas:
    """ROC-AUC with ties counted half, and PR-AUC as average precision, over the pairs of all campaigns together.

    Both change only where a redeemed pair has its score, so the scores are cut at the T distinct scores of redeemed
    pairs and each shopper's pairs are counted between and at the cuts, once: 2 T + 1 counts a shopper, mostly zeros.
    ``roc_auc`` is undefined without a redeemed and an unredeemed pair, ``pr_auc`` without a redeemed one.
    """

    def __init__(self, pairs: Pairs, scores: np.ndarray) -> None:
        cuts = np.unique(scores[pairs.label])
        below = np.searchsorted(cuts, scores, side="left")
        at = np.searchsorted(cuts, scores, side="right") > below
        self._positives = _count(below[pairs.label], pairs.shopper[pairs.label], len(cuts), pairs.shopper_count)
        self._negatives = _count(
            (2 * below + at)[~pairs.label], pairs.shopper[~pairs.label], 2 * len(cuts) + 1, pairs.shopper_count
        )

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        positives = self._positives @ weights  # at each cut, from the lowest
        negatives = self._negatives @ weights  # below the first cut, at it, between it and the second, ...
        positive, negative = positives.sum(axis=0), negatives.sum(axis=0)
        up_to = np.cumsum(negatives, axis=0)
        below, at = up_to[:-1:2], negatives[1::2]
        wins = (positives * (below + at / 2)).sum(axis=0)
        hits = np.cumsum(positives[::-1], axis=0)[::-1]
        precision = ratio(hits, hits + negative - below, otherwise=0.0)
        return {
            "roc_auc": ratio(wins, positive * negative),
            "pr_auc": ratio((positives * precision).sum(axis=0), positive),
        }


def _count(rows: np.ndarray, columns: np.ndarray, row_count: int, column_count: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(row_count, column_count))
