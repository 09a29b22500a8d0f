"""Curves that a figure draws of one algorithm's scores."""

import numpy as np

from recommender.ml.evaluation.probabilities import equal_mass_edges


def precision_recall_curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at each distinct score of a redeemed pair as the threshold, recall growing to 1.

    Args:
        scores: n probabilities.
        labels: n booleans.

    Returns:
        Two arrays as long as there are such scores; between them recall does not change. Empty without a redeemed pair.
    """
    hits = np.sort(scores[labels])
    cuts, first = np.unique(hits, return_index=True)
    true_positive = len(hits) - first
    answered = len(scores) - np.searchsorted(np.sort(scores), cuts, side="left")
    return (true_positive / max(len(hits), 1))[::-1], (true_positive / answered)[::-1]


def reliability(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, share redeemed and number of pairs of ten bins of equal mass, the lowest scores first.

    Fewer than ten where many scores are equal; none without pairs.
    """
    bins = np.searchsorted(equal_mass_edges(scores), scores, side="right")
    pairs = np.bincount(bins)
    filled = pairs > 0
    return (
        np.bincount(bins, weights=scores)[filled] / pairs[filled],
        np.bincount(bins, weights=labels)[filled] / pairs[filled],
        pairs[filled],
    )
