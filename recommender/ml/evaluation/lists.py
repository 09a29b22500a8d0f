"""Metrics of the list that each shopper would see in each campaign, best score first."""

import numpy as np
from scipy import sparse

from recommender.ml.evaluation.pairs import Pairs
from recommender.ml.evaluation.ratio import ratio

TOP = 10


class Lists:
    """Metrics of the first ten of each list. Equal scores stand in a random order that the seed and the pair decide.

    With rel(k) = 1 where the coupon at rank k was used, and m coupons of the list used:

    - ``ndcg_at_10``: Σ rel(k) / log₂(k + 1) over the first ten, divided by the same sum of the best order;
    - ``map_at_10``: Σ rel(k) · precision(k) over the first ten, divided by min(m, 10);
    - ``recall_at_10``: used coupons among the first ten, divided by m;

    each averaged over the lists with at least one redemption, and undefined without any. ``hits_at_10`` counts the
    redemptions among the first ten of all lists. ``coverage_at_10`` is the share of the coupons on offer that stand
    among the first ten of anybody's list. ``auc_within`` is the probability that a used coupon scores above an unused
    one *of the same list*, ties counted half: the lists' AUC averaged with their number of such couples as weight.
    """

    def __init__(self, pairs: Pairs, scores: np.ndarray) -> None:
        order = np.lexsort((pairs.tie_breaker, -scores, pairs.list_number))
        rank = np.arange(len(order)) - np.repeat(pairs.list_start, np.diff(pairs.list_start, append=len(order)))
        chosen, rank = order[rank < TOP], rank[rank < TOP]
        used = pairs.label[chosen].astype(float)
        used_in_list = np.bincount(pairs.list_number, weights=pairs.label, minlength=len(pairs.list_start))
        to_find = used_in_list[pairs.list_number[chosen]]
        reachable = np.minimum(to_find, TOP)
        discount = 1 / np.log2(np.arange(TOP) + 2)
        best = np.concatenate([[0.0], np.cumsum(discount)])[reachable.astype(int)]
        precision = _cumulate_in_list(used, rank) / (rank + 1)
        gains = np.zeros((4, len(order)))
        gains[:, chosen] = (
            ratio(used * discount[rank], best, otherwise=0.0),
            ratio(used * precision, reachable, otherwise=0.0),
            ratio(used, to_find, otherwise=0.0),
            used,
        )
        has_redemption = np.zeros(len(order))
        has_redemption[pairs.list_start] = used_in_list > 0
        self._sums = pairs.sum_by_shopper(*gains, has_redemption, *_wins_within_lists(pairs, scores, order))
        self._shown = _coupons_by_shopper(pairs, chosen)
        self._offered = _coupons_by_shopper(pairs, order)

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        ndcg, precision, recall, hits, lists, wins, couples = self._sums @ weights
        shown = np.count_nonzero(self._shown @ weights, axis=0)
        offered = np.count_nonzero(self._offered @ weights, axis=0)
        return {
            "auc_within": ratio(wins, couples),
            "ndcg_at_10": ratio(ndcg, lists),
            "map_at_10": ratio(precision, lists),
            "recall_at_10": ratio(recall, lists),
            "hits_at_10": np.where(offered > 0, hits, np.nan),
            "coverage_at_10": ratio(shown, offered),
        }


def _cumulate_in_list(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Cumulative sums that start again wherever the rank is 0."""
    total = np.cumsum(values)
    starts = np.flatnonzero(rank == 0)
    before = (total - values)[starts]
    return total - np.repeat(before, np.diff(starts, append=len(values)))


def _wins_within_lists(pairs: Pairs, scores: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each used coupon: the unused coupons of its list that it beats (a tie is half a win), and their number.

    Args:
        order: sorts the pairs by list, the best score first.
    """
    ordered, unused = scores[order], ~pairs.label[order]
    new_list = np.diff(pairs.list_number, prepend=-1) != 0
    group = np.flatnonzero(new_list | (np.diff(ordered, prepend=-1) != 0))  # of equal scores of a list
    group_size = np.diff(group, append=len(order))
    list_size = np.diff(pairs.list_start, append=len(order))
    up_to = np.concatenate([[0], np.cumsum(unused)])
    up_to_list_end = np.repeat(up_to[pairs.list_start + list_size], list_size)
    beaten = up_to_list_end - np.repeat(up_to[group + group_size], group_size)
    tied = np.repeat(up_to[group + group_size] - up_to[group], group_size)
    wins, couples = np.zeros(len(order)), np.zeros(len(order))
    wins[order] = ~unused * (beaten + tied / 2)
    couples[order] = ~unused * (up_to_list_end - np.repeat(up_to[pairs.list_start], list_size))
    return wins, couples


def _coupons_by_shopper(pairs: Pairs, chosen: np.ndarray) -> sparse.csr_array:
    """How often each shopper has each coupon among the chosen pairs: coupons × shoppers."""
    return sparse.csr_array(
        (np.ones(len(chosen)), (pairs.coupon[chosen], pairs.shopper[chosen])),
        shape=(pairs.coupon_count, pairs.shopper_count),
    )
