"""Algorithms side by side on the same pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from recommender.ml.evaluation.bootstrap import Estimate, draw_weights, estimate
from recommender.ml.evaluation.metrics import METRICS, Metrics
from recommender.ml.evaluation.pairs import read_scores
from recommender.progress import Progress
from recommender.sentences import say


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every metric of every algorithm, with 95 % bootstrap intervals over shoppers.

    Attributes:
        estimates: by algorithm and metric.
        draws: by algorithm and metric, its value in each resample; the same resamples for every algorithm.
        thresholds: by algorithm, the probability from which a pair was answered "redeemed".
    """

    estimates: Mapping[str, Mapping[str, Estimate]]
    draws: Mapping[str, Mapping[str, np.ndarray]]
    thresholds: Mapping[str, float]
    campaign_count: int
    shopper_count: int
    pair_count: int
    redemption_count: int
    resamples: int

    def difference(self, one: str, other: str, metric: str) -> Estimate:
        """By how much the metric of one algorithm is larger than that of another, paired over the resamples."""
        values = [self.estimates[algorithm][metric].value for algorithm in (one, other)]
        point = np.nan if None in values else values[0] - values[1]  # type: ignore[operator]
        return estimate(point, self.draws[one][metric] - self.draws[other][metric])

    def ranked(self, metric: str) -> list[str]:
        """The algorithms, the best by the metric first, then by name; those for which it is undefined last.

        Raises:
            ValueError: the metric is unknown or no measure of quality.
        """
        direction = direction_of(metric)

        def place(algorithm: str) -> tuple[bool, float, str]:
            value = self.estimates[algorithm][metric].value
            return value is None, -direction * (value or 0.0), algorithm

        return sorted(self.estimates, key=place)

    def figures(self, algorithm: str) -> dict[str, dict[str, float | None]]:
        """Each metric of an algorithm as ``{"value": ..., "low": ..., "high": ...}``; None where undefined: JSON."""
        return {
            name: {"value": found.value, "low": found.low, "high": found.high}
            for name, found in self.estimates[algorithm].items()
        }

    def as_json(self) -> dict[str, Any]:
        """All of it but the draws, in JSON values."""
        return {
            "campaigns": self.campaign_count,
            "shoppers": self.shopper_count,
            "pairs": self.pair_count,
            "redemptions": self.redemption_count,
            "resamples": self.resamples,
            "thresholds": dict(self.thresholds),
            "algorithms": {algorithm: self.figures(algorithm) for algorithm in self.estimates},
        }


def direction_of(metric: str) -> int:
    """1 where more of the metric is better, -1 where less is.

    Raises:
        ValueError: the metric is unknown or no measure of quality.
    """
    if metric not in METRICS or not METRICS[metric].better:
        known = ", ".join(name for name, described in METRICS.items() if described.better)
        raise ValueError(f"{metric!r} does not say which algorithm is better; expected one of {known}.")
    return METRICS[metric].better


def compare(
    scores: pl.DataFrame,
    thresholds: Mapping[str, float],
    *,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = Progress(),
) -> Comparison:
    """Evaluate all algorithms of a scores frame.

    Args:
        scores: columns algorithm, campaign, shopper, coupon (numbers of a snapshot), score, label and share, as
            :func:`~recommender.ml.evaluation.pairs.read_scores` takes them; every algorithm scores the same pairs.
        thresholds: by algorithm, from :func:`recommender.ml.evaluation.thresholds.choose_threshold` on other pairs.
        resamples: of the shoppers, for the intervals.
        seed: of the resamples and of the order among equal scores; the same seed gives the same figures.

    Raises:
        ScoresError: the frame is not as above.
        ValueError: an algorithm has no threshold, or there is not one resample.
        Cancelled: somebody asked the work to stop.
    """
    pairs, by_algorithm = read_scores(scores, seed=seed)
    if missing := sorted(by_algorithm.keys() - thresholds.keys()):
        raise ValueError(f"There is no threshold for {', '.join(missing)}.")
    everyone = np.ones((pairs.shopper_count, 1))
    metrics, values = {}, {}
    for done, (algorithm, its_scores) in enumerate(by_algorithm.items()):
        progress.report(say("Measuring the algorithms"), done, len(by_algorithm))
        metrics[algorithm] = Metrics(pairs, its_scores, threshold=thresholds[algorithm])
        values[algorithm] = {name: float(found[0]) for name, found in metrics[algorithm].measure(everyone).items()}
    draws: dict[str, dict[str, list[np.ndarray]]] = {
        algorithm: {name: [] for name in METRICS} for algorithm in by_algorithm
    }
    done = 0
    for weights in draw_weights(pairs.shopper_count, resamples=resamples, seed=seed):
        for algorithm, its_metrics in metrics.items():
            progress.report(say("Resampling the shoppers"), done, resamples * len(metrics))
            for name, found in its_metrics.measure(weights).items():
                draws[algorithm][name].append(found)
            done += weights.shape[1]
    joined = {
        algorithm: {name: np.concatenate(blocks) for name, blocks in its_draws.items()}
        for algorithm, its_draws in draws.items()
    }
    return Comparison(
        estimates={
            algorithm: {
                name: estimate(value, joined[algorithm][name])
                if METRICS[name].resampled
                else Estimate(value=value, low=None, high=None)
                for name, value in values[algorithm].items()
            }
            for algorithm in by_algorithm
        },
        draws=joined,
        thresholds={algorithm: float(thresholds[algorithm]) for algorithm in by_algorithm},
        campaign_count=pairs.campaign_count,
        shopper_count=pairs.shopper_count,
        pair_count=len(pairs.label),
        redemption_count=int(pairs.label.sum()),
        resamples=resamples,
    )
