"""Forests, which mend a tree's overfitting: of trees that split best, and of trees that split at random.

They learn from offers weighted so that the used ones are a tenth of all, as the decision tree does: a drawn sample
would have next to no used offer in it. Probabilities are then brought back to the true share.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.metrics import log_loss

from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows, sample_unused
from recommender.ml.algorithms.trees import raise_used_share
from recommender.ml.threads import map_in_threads

#: Rows that are scored at once: few enough to stay in a processor's cache while every tree reads them.
ROWS_AT_ONCE = 8_192
#: Of how many samples of the unused offers a forest grows, where there are more than are learned from at once.
SAMPLES = 10


class _Forest(SupervisedAlgorithm):
    """Many entropy trees on drawn rows and drawn features, averaged.

    Each tree draws, with replacement, as many rows as hold each used offer once on average (a balanced forest: Chen,
    Liaw and Breiman, 2004), so that every tree knows the few used offers and other unused ones than the next. The odds
    of the average are divided by what the used offers were multiplied by. Where there are more unused offers than are
    learned from at once, every tenth of the trees draws from another sample of them. The leaf size is the one that fits
    the latest campaigns best (log loss) when learned from the campaigns before them.

    Attributes:
        trees_after_: how many trees there are after each sample of unused offers, the first of which ``_fit`` is given.
        forest_: the fitted forest of scikit-learn, whose probabilities are not brought back to the true share.
        factor_: what the odds of its probabilities are divided by.
    """

    kind: ClassVar[type[RandomForestClassifier | ExtraTreesClassifier]]
    #: How many features are drawn for a split, as scikit-learn takes it.
    max_features: ClassVar[str | float]
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "trees": (100, 200),
        "min_samples_leafs": ((2, 5), (5, 10), (10, 30)),
        "most_draws": (10_000, 20_000, 40_000),
    }

    def __init__(
        self,
        trees: int = 100,
        trial_trees: int = 50,
        min_samples_leafs: tuple[int, ...] = (5, 10),
        most_draws: int = 20_000,
    ) -> None:
        self.trees = trees
        self.trial_trees = trial_trees
        self.min_samples_leafs = min_samples_leafs
        self.most_draws = most_draws

    def _scale(self, X: np.ndarray) -> np.ndarray:
        """The features as the trees see them."""
        return X

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        samples = min(SAMPLES, self.trees) if np.count_nonzero(~labels) > self.most_unused else 1
        self.trees_after_ = [self.trees * number // samples for number in range(1, samples + 1)]
        super().fit(examples, labels, campaigns, seed)
        if self.informed_:
            for number, trees in enumerate(self.trees_after_[1:], start=1):
                rows, weights = sample_unused(labels, np.random.default_rng((seed, number)), self.most_unused)
                self._grow_on(self._matrix(examples[rows]), labels[rows], weights, trees)
        return self

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        later = later_rows(labels, campaigns)
        leaf_size = self.min_samples_leafs[-1]
        if later is not None:
            losses = {}
            for candidate in self.min_samples_leafs:
                self._grow(X[~later], labels[~later], weights[~later], self.trial_trees, candidate, seed=seed)
                losses[candidate] = log_loss(labels[later], self._probability(X[later]), sample_weight=weights[later])
            leaf_size = min(losses, key=lambda candidate: losses[candidate])
        self._grow(X, labels, weights, self.trees_after_[0], leaf_size, seed=seed)

    def _grow(
        self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, trees: int, leaf_size: int, *, seed: int
    ) -> None:
        drawn, self.factor_ = raise_used_share(labels, weights)
        share = drawn[labels].sum() / drawn.sum()
        self.forest_ = self.kind(
            criterion="entropy",
            max_features=self.max_features,
            min_samples_leaf=leaf_size,
            bootstrap=True,
            max_samples=min(round(labels.sum() / share), self.most_draws),
            random_state=seed,
            warm_start=True,  # what is grown on one sample stays when more is grown on the next
        )
        self._grow_on(X, labels, weights, trees)

    def _grow_on(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, trees: int) -> None:
        """Grow up to so many trees."""
        drawn, _factor = raise_used_share(labels, weights)
        self.forest_.set_params(n_estimators=trees, n_jobs=-1)  # threads; the worker says how many
        self.forest_.fit(self._scale(X), labels, drawn)
        # Its own threads would add the trees up in any order, and sums of floats depend on it.
        self.forest_.set_params(n_jobs=1)

    def _probability(self, X: np.ndarray) -> np.ndarray:
        parts = [self._scale(X[start : start + ROWS_AT_ONCE]) for start in range(0, len(X), ROWS_AT_ONCE)]
        drawn = map_in_threads(self.forest_.predict_proba, parts)
        probability = np.concatenate(drawn)[:, 1]
        return probability / (probability + self.factor_ * (1 - probability))

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {
            "criterion": "entropy",
            "trees": self.trees,
            "min_samples_leaf": self.forest_.min_samples_leaf,
            "max_features": self.max_features,
            "max_samples": self.forest_.max_samples,
            "used_offers_weigh": round(self.factor_, 2),
        }


class RandomForest(_Forest):
    """The random forest of the design (Breiman, 2001): each split is the best one of the features drawn for it."""

    name: ClassVar[str] = "random_forest"
    kind = RandomForestClassifier
    max_features = "sqrt"


class ExtraTrees(_Forest):
    """Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006): where a split cuts a feature is drawn as well.

    Cuts are drawn evenly between the least and the greatest value, so on logarithms, or a few heavy buyers would take
    most of them. As single splits tell less, more features are drawn for each, and more trees are grown.
    """

    name: ClassVar[str] = "extra_trees"
    kind = ExtraTreesClassifier
    max_features = 0.2

    def __init__(
        self,
        trees: int = 200,
        trial_trees: int = 50,
        min_samples_leafs: tuple[int, ...] = (5, 10),
        most_draws: int = 20_000,
    ) -> None:
        super().__init__(trees, trial_trees, min_samples_leafs, most_draws)

    def _scale(self, X: np.ndarray) -> np.ndarray:
        return np.log1p(X)
