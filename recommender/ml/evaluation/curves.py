"""The curves that people look at, as few points each: JSON that a page can draw without a numeric library."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import polars as pl

from recommender.ml.evaluation.pairs import read_scores
from recommender.ml.evaluation.reliability import Decile, measure_reliability

#: Of a curve, at most.
POINTS = 50
#: Of the pairs by score, for the lift.
PARTS = 10


class Curves(TypedDict):
    """The curves of an algorithm.

    Keys:
        roc: points of the share of the unused offers that score at least so high, and that of the used ones.
        precision_recall: points of the share of the used offers that score at least so high, and the share used of all
            that do.
        calibration: of each tenth by probability its mean, the share used, and the ends of that share's 95 % interval,
            None where it has none.
        gain: points of a share of all offers, the highest scores first, and the share of the used ones among them.
        lift: of each tenth of the offers, the highest scores first, how many times as often as all they were used.
    """

    roc: list[list[float]]
    precision_recall: list[list[float]]
    calibration: list[list[float | None]]
    gain: list[list[float]]
    lift: list[float]


def trace_curves(scores: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, Curves]:
    """The curves by algorithm, over the pairs of all campaigns together.

    Pairs of equal scores are one step, so the curves do not depend on an order among them.

    Args:
        scores: columns algorithm, campaign, shopper, coupon, score, label and share, as
            :func:`~recommender.ml.evaluation.comparison.compare` takes them, with used and unused offers.
        resamples: of the shoppers, for the intervals of the calibration.
        seed: of the resamples.

    Raises:
        ScoresError: the frame is not as above.
        ValueError: all offers were used or none was, or there is not one resample.
    """
    pairs, by_algorithm = read_scores(scores, seed=seed)
    if pairs.label.all() or not pairs.label.any():
        raise ValueError("Curves need used and unused offers.")
    reliability = measure_reliability(scores, resamples=resamples, seed=seed)
    return {
        algorithm: _trace(pairs.label, its_scores, reliability[algorithm])
        for algorithm, its_scores in by_algorithm.items()
    }


def _trace(label: np.ndarray, scores: np.ndarray, deciles: Sequence[Decile]) -> Curves:
    used, unused = _count_down(label, scores)
    recall, false_alarms = used / used[-1], unused / unused[-1]
    precision = used[1:] / (used[1:] + unused[1:])
    offered = (used + unused) / len(label)
    shares = np.linspace(0, 1, POINTS)
    gains = np.interp(np.linspace(0, 1, PARTS + 1), offered, recall)
    return Curves(
        roc=_thinned(false_alarms, recall),
        precision_recall=_thinned(recall[1:], precision),
        calibration=[
            [_rounded(each.predicted), *map(_rounded, (each.observed.value, each.observed.low, each.observed.high))]
            for each in deciles
        ],
        gain=_points(shares, np.interp(shares, offered, recall)),
        lift=[round(float(lift), 3) for lift in np.diff(gains) * PARTS],
    )


def _count_down(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Used and unused offers with at least each distinct score, the highest first, after a 0."""
    distinct, place = np.unique(-scores, return_inverse=True)
    used = np.bincount(place, weights=label, minlength=len(distinct))
    every = np.bincount(place, minlength=len(distinct))
    return np.cumsum([0, *used]), np.cumsum([0, *(every - used)])


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """At most :data:`POINTS` of the points of a line, as far from each other along it, with its ends."""
    if len(x) > POINTS:
        along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(0, len(x) - 1))
        x, y = x[kept], y[kept]
    return _points(x, y)


def _points(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    return [[round(float(one), 5), round(float(other), 5)] for one, other in zip(x, y, strict=True)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
