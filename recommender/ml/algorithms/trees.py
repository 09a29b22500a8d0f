"""The decision tree of the design, and the forest that mends its overfitting."""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score
from sklearn.tree import DecisionTreeClassifier

from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows


class DecisionTree(SupervisedAlgorithm):
    """Splits where the information gain (fall of entropy) is greatest, until a depth or a leaf size stops it.

    Depth and leaf size are those that rank the latest campaigns best when learned from the campaigns before them. Pairs
    of the same leaf have the same score, so a shopper's list may be one long tie, a new shopper's above all.
    """

    name: ClassVar[str] = "decision_tree"

    def __init__(
        self, max_depths: tuple[int, ...] = (3, 4, 6), min_samples_leafs: tuple[int, ...] = (100, 400)
    ) -> None:
        self.max_depths = max_depths
        self.min_samples_leafs = min_samples_leafs

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        candidates = [
            DecisionTreeClassifier(criterion="entropy", max_depth=depth, min_samples_leaf=leaf, random_state=seed)
            for depth in self.max_depths
            for leaf in self.min_samples_leafs
        ]
        later = later_rows(labels, campaigns)
        best = candidates[0]
        if later is not None:
            best = max(
                candidates,
                key=lambda tree: average_precision_score(
                    labels[later],
                    clone(tree).fit(X[~later], labels[~later], weights[~later]).predict_proba(X[later])[:, 1],
                    sample_weight=weights[later],
                ),
            )
        self.tree_ = clone(best).fit(X, labels, weights)

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return self.tree_.predict_proba(X)[:, 1]

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {
            "criterion": "entropy",
            "max_depth": self.tree_.max_depth,
            "min_samples_leaf": self.tree_.min_samples_leaf,
            "leaves": int(self.tree_.get_n_leaves()),
        }


class RandomForest(SupervisedAlgorithm):
    """Many entropy trees on drawn rows and drawn features, averaged."""

    name: ClassVar[str] = "random_forest"

    def __init__(self, trees: int = 100, min_samples_leaf: int = 50, max_samples: float = 0.25) -> None:
        self.trees = trees
        self.min_samples_leaf = min_samples_leaf
        self.max_samples = max_samples

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        self.forest_ = RandomForestClassifier(
            n_estimators=self.trees,
            criterion="entropy",
            min_samples_leaf=self.min_samples_leaf,
            max_samples=self.max_samples,
            random_state=seed,
            n_jobs=-1,  # threads; the worker says how many
        ).fit(X, labels, weights)
        self.forest_.set_params(
            n_jobs=1
        )  # threads would add the trees up in any order, and sums of floats depend on it

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return self.forest_.predict_proba(X)[:, 1]

    def parameters(self) -> dict[str, Any]:
        return {
            "criterion": "entropy",
            "trees": self.trees,
            "min_samples_leaf": self.min_samples_leaf,
            "max_samples": self.max_samples,
        }
