"""Metrics of probabilities."""

import numpy as np

from recommender.ml.evaluation.pairs import Pairs
from recommender.ml.evaluation.ratio import ratio

BINS = 10
EPSILON = float(np.finfo(np.float64).eps)


def equal_mass_edges(probabilities: np.ndarray) -> np.ndarray:
    """The probabilities at which the second to the last of ten bins of equal mass begin.

    Equal ones stay in one bin, so with few distinct ones there are fewer bins.
    """
    if not len(probabilities):
        return np.empty(0)
    return np.unique(np.sort(probabilities)[len(probabilities) * np.arange(1, BINS) // BINS])


class Probabilities:
    """How far probabilities are from what happened.

    - ``log_loss``: mean of −log of the probability given to what happened, in nats; a probability of 0 counts as 2⁻⁵²,
      as in scikit-learn;
    - ``brier``: mean squared difference of probability and outcome;
    - ``calibration_error``: the mean over pairs of the absolute difference, in the pair's bin, of mean probability and
      share redeemed (the expected calibration error);
    - ``expected_redemptions`` and ``redemptions``: the sum of the probabilities, and what happened.

    Args:
        pairs: n pairs.
        probabilities: n of them, each that of its label, as :meth:`Pairs.observed_probabilities` gives them.
        edges: where the bins of the calibration error begin. Like a threshold they belong to the metric and do not move
            with the weights.
    """

    def __init__(self, pairs: Pairs, probabilities: np.ndarray, *, edges: np.ndarray) -> None:
        clipped = np.clip(probabilities, EPSILON, 1 - EPSILON)
        loss = -np.log(np.where(pairs.label, clipped, 1 - clipped))
        excess = probabilities - pairs.label
        bins = np.searchsorted(edges, probabilities, side="right")
        self._sums = pairs.sum_by_shopper(loss, excess**2, probabilities, pairs.label, np.ones(len(probabilities)))
        self._excess = pairs.sum_by_shopper(*(excess * (bins == number) for number in range(len(edges) + 1)))

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        loss, squares, expected, redeemed, total = self._sums @ weights
        return {
            "log_loss": ratio(loss, total),
            "brier": ratio(squares, total),
            "calibration_error": ratio(np.abs(self._excess @ weights).sum(axis=0), total),
            "expected_redemptions": np.where(total > 0, expected, np.nan),
            "redemptions": np.where(total > 0, redeemed, np.nan),
        }
