"""Metrics of the yes-or-no answer that a threshold makes of a probability."""

import numpy as np

from recommender.ml.evaluation.pairs import Pairs
from recommender.ml.evaluation.ratio import ratio


class Decisions:
    """Pairs whose score reaches the threshold are answered "redeemed", the others "not redeemed".

    ``precision``, ``recall`` and ``f1`` are those of the redeemed class; the ``_weighted`` ones are averages over both
    classes, each weighted by its share of the pairs, as the classification reports of the original design print them
    (with rare redemptions they say little: ``recall_weighted`` is the accuracy). A precision, recall or F1 whose
    denominator is 0 is 0, as in scikit-learn. ``accuracy_of_never`` is the accuracy of answering "not redeemed" always.
    """

    def __init__(self, pairs: Pairs, scores: np.ndarray, *, threshold: float) -> None:
        answer = scores >= threshold
        self._sums = pairs.sum_by_shopper(
            answer & pairs.label, answer & ~pairs.label, ~answer & pairs.label, ~answer & ~pairs.label
        )

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        true_positive, false_positive, false_negative, true_negative = self._sums @ weights
        positive = true_positive + false_negative
        negative = true_negative + false_positive
        total = positive + negative
        of_positive = _precision_recall_f1(true_positive, false_positive, false_negative)
        of_negative = _precision_recall_f1(true_negative, false_negative, false_positive)
        precision, recall, f1 = (np.where(total > 0, value, np.nan) for value in of_positive)
        precision_weighted, recall_weighted, f1_weighted = (
            ratio(positive * one + negative * other, total) for one, other in zip(of_positive, of_negative, strict=True)
        )
        return {
            "accuracy": ratio(true_positive + true_negative, total),
            "accuracy_of_never": ratio(negative, total),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "precision_weighted": precision_weighted,
            "recall_weighted": recall_weighted,
            "f1_weighted": f1_weighted,
        }


def _precision_recall_f1(
    hits: np.ndarray, false_alarms: np.ndarray, misses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        ratio(hits, hits + false_alarms, otherwise=0.0),
        ratio(hits, hits + misses, otherwise=0.0),
        ratio(2 * hits, 2 * hits + false_alarms + misses, otherwise=0.0),
    )
