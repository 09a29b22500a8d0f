"""Every metric by name, and their values for one algorithm under any weighting of the shoppers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from recommender.ml.evaluation.areas import Areas
from recommender.ml.evaluation.decisions import Decisions
from recommender.ml.evaluation.lists import Lists
from recommender.ml.evaluation.pairs import Pairs
from recommender.ml.evaluation.probabilities import Probabilities, equal_mass_edges


@dataclass(frozen=True)
class Metric:
    """A metric as people read it.

    Attributes:
        title: what a table or a figure calls it.
        better: 1 where more is better, -1 where less is, 0 where it is no measure of quality.
        decimals: digits after the point that a table prints.
        resampled: whether resampling the shoppers says how sure it is. It does not of a number of distinct things: a
            resample has fewer distinct shoppers, so fewer distinct coupons, than the shop itself.
    """

    title: str
    better: int = 1
    decimals: int = 3
    resampled: bool = True


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "roc_auc": Metric("ROC-AUC"),
        "pr_auc": Metric("PR-AUC", decimals=4),
        "auc_within": Metric("AUC within lists"),
        "ndcg_at_10": Metric("NDCG@10"),
        "map_at_10": Metric("MAP@10"),
        "recall_at_10": Metric("Recall@10"),
        "hits_at_10": Metric("Redeemed in top 10", decimals=0),
        "coverage_at_10": Metric("Coverage", resampled=False),
        "log_loss": Metric("Log loss", better=-1, decimals=5),
        "brier": Metric("Brier", better=-1, decimals=5),
        "calibration_error": Metric("Calibration error", better=-1, decimals=5),
        "expected_redemptions": Metric("Expected redemptions", better=0, decimals=1),
        "redemptions": Metric("Redemptions", better=0, decimals=0),
        "accuracy": Metric("Accuracy", decimals=4),
        "accuracy_of_never": Metric("Accuracy of never", better=0, decimals=4),
        "precision": Metric("Precision"),
        "recall": Metric("Recall"),
        "f1": Metric("F1"),
        "precision_weighted": Metric("Precision, weighted", decimals=4),
        "recall_weighted": Metric("Recall, weighted", decimals=4),
        "f1_weighted": Metric("F1, weighted", decimals=4),
    }
)


class Metrics:
    """The metrics of one algorithm's scores.

    Every metric is a function of sums over shoppers. What each shopper adds to the sums is computed once, here; a
    resample of the shoppers is then a weighting of these sums, and gives exactly what the resampled rows would give.

    Args:
        pairs: n pairs.
        scores: their n probabilities of a use within the whole window.
        threshold: the score from which a pair is answered "redeemed".
        edges: where the bins of the calibration error begin; those of equal mass if not given.
    """

    def __init__(self, pairs: Pairs, scores: np.ndarray, *, threshold: float, edges: np.ndarray | None = None) -> None:
        probabilities = pairs.observed_probabilities(scores)
        if edges is None:
            edges = equal_mass_edges(probabilities)
        self._parts = (
            Areas(pairs, scores),
            Lists(pairs, scores),
            Probabilities(pairs, probabilities, edges=edges),
            Decisions(pairs, scores, threshold=threshold),
        )

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The value of every metric of :data:`METRICS` under each weighting; NaN where it is undefined.

        Args:
            weights: shoppers × B: how many times each shopper counts, in each of B weightings.

        Returns:
            B values a metric.
        """
        found = {name: values for part in self._parts for name, values in part.measure(weights).items()}
        return {name: found[name] for name in METRICS}
