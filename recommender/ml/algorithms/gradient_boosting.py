"""Gradient-boosted trees, kept small and monotone, because used offers are few."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.special import logit
from xgboost import XGBClassifier

from recommender.ml.algorithms.boosters import Examples, booster, grow, loss_by_trees, mean_log_odds
from recommender.ml.algorithms.forward_validation import choosing_folds
from recommender.ml.algorithms.supervised import SupervisedAlgorithm


class GradientBoosting(SupervisedAlgorithm):
    """XGBoost with shallow trees, several sets averaged.

    Where there are used offers enough to choose by, how many trees is what later campaigns ask for when the earlier
    ones teach; otherwise ``trees``.
    """

    name: ClassVar[str] = "gradient_boosting"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "max_depth": (1, 2, 3, 4),
        "learning_rate": (0.03, 0.05, 0.1),
        "most_trees": (300, 600),
        "sets_of_trees": (2, 4),
    }
    #: Fewer say nothing of most features.
    FEWEST_TREES: ClassVar[int] = 20

    def __init__(
        self,
        *,
        max_depth: int = 2,
        learning_rate: float = 0.05,
        trees: int = 150,
        most_trees: int = 300,
        sets_of_trees: int = 2,
    ) -> None:
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.trees = trees
        self.most_trees = most_trees
        self.sets_of_trees = sets_of_trees

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        rate = np.average(labels, weights=weights)
        self.start_, self.trees_ = float(logit(rate)), self.trees
        examples = Examples(X, self.features_, labels, weights, np.full(len(X), self.start_))
        folds = choosing_folds(labels, campaigns)
        if folds:
            losses = np.zeros(self.most_trees + 1)
            for early, later in folds:
                losses += loss_by_trees(
                    self._booster(self.most_trees, seed), examples.where(early), examples.where(later)
                )
            self.trees_ = max(self.FEWEST_TREES, int(losses.argmin()))
        untrained = [self._booster(self.trees_, seed + number) for number in range(self.sets_of_trees)]
        self.boosters_ = grow(untrained, examples)

    def _booster(self, trees: int, seed: int) -> XGBClassifier:
        return booster(seed, n_estimators=trees, max_depth=self.max_depth, learning_rate=self.learning_rate)

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return mean_log_odds(self.boosters_, X, np.full(len(X), self.start_))

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {
            "trees": self.trees_,
            "sets_of_trees": self.sets_of_trees,
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
        }
