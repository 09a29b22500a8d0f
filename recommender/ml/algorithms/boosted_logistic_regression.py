"""A logistic regression, then boosting on what it leaves."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from xgboost import XGBClassifier

from recommender.ml.algorithms.boosters import Examples, booster, grow, loss_by_trees, mean_log_odds
from recommender.ml.algorithms.forward_validation import choosing_folds
from recommender.ml.algorithms.scaling import standardised_logarithms
from recommender.ml.algorithms.supervised import SupervisedAlgorithm


class BoostedLogisticRegression(SupervisedAlgorithm):
    """A strongly penalised logistic regression on the logarithms of the features, and trees that start from its odds.

    Used offers are few, so the straight part carries what holds everywhere (on logarithms, effects multiply) and the
    trees, small and monotone, add only what it cannot say. Several sets of trees, each on other rows and columns, are
    averaged. Where there are used offers enough to choose by, the number of trees is the one that fits later campaigns
    best when learned from the campaigns before them; otherwise ``trees``. The penalty is a prior on the coefficients,
    of standard deviation sqrt(C), which gives way by itself to more and more used offers.
    """

    name: ClassVar[str] = "boosted_logistic_regression"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "C": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        "max_depth": (1, 2, 3, 4),
        "learning_rate": (0.03, 0.05, 0.1),
        "most_trees": (150, 300),
        "sets_of_trees": (3, 6),
    }

    def __init__(
        self,
        *,
        C: float = 1e-3,
        max_depth: int = 3,
        learning_rate: float = 0.05,
        trees: int = 60,
        most_trees: int = 150,
        sets_of_trees: int = 3,
    ) -> None:
        self.C = C
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.trees = trees
        self.most_trees = most_trees
        self.sets_of_trees = sets_of_trees

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        self.trees_ = self.trees
        folds = choosing_folds(labels, campaigns)
        if folds:
            losses = np.zeros(self.most_trees + 1)
            for early, later in folds:
                start = _logistic(self.C, X[early], labels[early], weights[early]).decision_function(X)
                examples = Examples(X, self.features_, labels, weights, start)
                losses += loss_by_trees(
                    self._booster(self.most_trees, seed), examples.where(early), examples.where(later)
                )
            self.trees_ = int(losses.argmin())
        self.logistic_ = _logistic(self.C, X, labels, weights)
        start = self.logistic_.decision_function(X)
        sets = self.sets_of_trees if self.trees_ else 0
        untrained = [self._booster(self.trees_, seed + number) for number in range(sets)]
        self.boosters_ = grow(untrained, Examples(X, self.features_, labels, weights, start))

    def _booster(self, trees: int, seed: int) -> XGBClassifier:
        return booster(seed, n_estimators=trees, max_depth=self.max_depth, learning_rate=self.learning_rate)

    def _probability(self, X: np.ndarray) -> np.ndarray:
        start = self.logistic_.decision_function(X)
        return mean_log_odds(self.boosters_, X, start) if self.boosters_ else expit(start)

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {
            "C": self.C,
            "trees": self.trees_,
            "sets_of_trees": self.sets_of_trees,
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
        }


def _logistic(C: float, X: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Pipeline:
    model = make_pipeline(standardised_logarithms(), LogisticRegression(C=C, max_iter=300))
    return model.fit(X, labels, logisticregression__sample_weight=weights)
