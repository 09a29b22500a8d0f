"""How true probabilities are: what was promised beside what happened, by decile of the score."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from recommender.ml.evaluation.bootstrap import Estimate, draw_weights, estimate
from recommender.ml.evaluation.pairs import Pairs, read_scores
from recommender.ml.evaluation.probabilities import equal_mass_edges
from recommender.ml.evaluation.ratio import ratio


@dataclass(frozen=True)
class Decile:
    """About a tenth of the pairs: those whose probabilities lie together.

    Attributes:
        predicted: the mean of their probabilities, as far as windows are observed.
        observed: the share of them that was used, with its 95 % bootstrap interval over shoppers. Where none was used
            there is no interval: every resample would give 0, which is no measure of how sure that 0 is.
    """

    pairs: int
    redemptions: int
    predicted: float
    observed: Estimate


def measure_reliability(scores: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, tuple[Decile, ...]]:
    """By algorithm, ten bins of equal mass, the lowest probabilities first.

    They are the bins of the calibration error. Equal probabilities stay in one bin, so there are fewer where
    many are equal.

    Args:
        scores: columns algorithm, campaign, shopper, coupon, score, label and share, as :func:`compare` takes them.
        resamples: of the shoppers, for the intervals.
        seed: of the resamples.

    Raises:
        ScoresError: the frame is not as above.
        ValueError: there is not one resample.
    """
    pairs, by_algorithm = read_scores(scores, seed=seed)
    return {
        algorithm: _deciles(pairs, pairs.observed_probabilities(its_scores), resamples=resamples, seed=seed)
        for algorithm, its_scores in by_algorithm.items()
    }


def _deciles(pairs: Pairs, probabilities: np.ndarray, *, resamples: int, seed: int) -> tuple[Decile, ...]:
    edges = equal_mass_edges(probabilities)
    bins = np.unique(np.searchsorted(edges, probabilities, side="right"), return_inverse=True)[1]
    count = bins.max() + 1
    total = np.bincount(bins)
    predicted = np.bincount(bins, weights=probabilities) / total
    # shoppers × bins, flattened
    place, size = pairs.shopper * count + bins, pairs.shopper_count * count
    all_of_shopper = np.bincount(place, minlength=size).reshape(-1, count).T
    used_of_shopper = np.bincount(place, weights=pairs.label, minlength=size).reshape(-1, count).T
    used = used_of_shopper.sum(axis=1)
    draws = np.concatenate(
        [
            ratio(used_of_shopper @ weights, all_of_shopper @ weights)
            for weights in draw_weights(pairs.shopper_count, resamples=resamples, seed=seed)
        ],
        axis=1,
    )
    return tuple(
        Decile(
            pairs=int(total[number]),
            redemptions=int(used[number]),
            predicted=float(predicted[number]),
            observed=estimate(used[number] / total[number], draws[number])
            if used[number]
            else Estimate(0.0, None, None),
        )
        for number in range(count)
    )
