"""From which probability on a pair is answered "redeemed"."""

import numpy as np

#: The threshold where nothing was redeemed, so that every threshold has an F1 of 0.
UNINFORMED = 0.5


def choose_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The score that, as a threshold, gives the largest F1 of the redeemed class on n pairs of a validation period.

    Args:
        scores: n probabilities.
        labels: n booleans, whether the coupon was used.

    Returns:
        One of the scores: pairs that reach it are answered "redeemed". Of equally good ones the highest. Where all
        scores are equal it is that score; where no pair is redeemed, or there is no pair, :data:`UNINFORMED`.

    Raises:
        ValueError: the lengths differ, or a score is NaN.
    """
    if len(scores) != len(labels):
        raise ValueError(f"There are {len(scores)} scores and {len(labels)} labels; expected one of each a pair.")
    if np.isnan(scores).any():
        raise ValueError(f"{np.count_nonzero(np.isnan(scores))} of {len(scores)} scores are NaN.")
    positives = np.count_nonzero(labels)
    if not positives:
        return UNINFORMED
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last_of_score = np.flatnonzero(np.diff(descending, append=-np.inf))
    hits = np.cumsum(labels[order])[last_of_score]
    f1 = 2 * hits / (last_of_score + 1 + positives)
    return float(descending[last_of_score[np.argmax(f1)]])
