"""The decision tree of the design.

It learns from offers weighted so that the used ones are a tenth of all: with one used offer among hundreds, entropy
hardly falls whatever is asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import log_loss
from sklearn.tree import DecisionTreeClassifier

from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows
from recommender.ml.threads import map_in_threads

#: What share of the weight the used offers get, where they are fewer.
USED_SHARE = 0.1


def raise_used_share(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights by which used offers are at least :data:`USED_SHARE` of all, and by how much they were multiplied."""
    used, unused = weights[labels].sum(), weights[~labels].sum()
    factor = max(1.0, float(USED_SHARE / (1 - USED_SHARE) * unused / used))
    return np.where(labels, factor * weights, weights), factor


class DecisionTree(SupervisedAlgorithm):
    """Splits where the information gain (fall of entropy) is greatest, until a depth or a leaf size stops it.

    The tree is then pruned by cost and complexity (Breiman et al., 1984). The leaf size and how much is pruned are
    those whose probabilities fit the latest campaigns best (log loss) when learned from the campaigns before them.

    A leaf's probability is its share of used offers drawn towards that of the node above it, and so on up to the
    overall rate at the root: (used + m · above) / (offers + m), with m as many offers as hold one used offer overall.
    So no leaf says 0 or 1, and a small leaf says little that its surroundings do not.

    Pairs of the same leaf have the same score, so a shopper's list may be one long tie, a new shopper's above all.

    Attributes:
        tree_: the fitted tree of scikit-learn.
        offers_: by node, how many offers of the examples come to it.
        used_: by node, how many of them were used.
        probabilities_: by node, the smoothed probability.
    """

    name: ClassVar[str] = "decision_tree"
    most_unused: ClassVar[int] = 15_000  # it is grown many times over, and used offers are weighed up to a tenth anyway
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "max_depth": (4, 6, 8, 12),
        "min_samples_leafs": ((20, 100), (50, 200), (100, 400)),
    }

    def __init__(self, max_depth: int = 8, min_samples_leafs: tuple[int, ...] = (20, 100), prunings: int = 4) -> None:
        self.max_depth = max_depth
        self.min_samples_leafs = min_samples_leafs
        self.prunings = prunings

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        later = later_rows(labels, campaigns)
        leaf_size, alpha = self.min_samples_leafs[-1], 0.0
        if later is not None:
            leaf_size, alpha = self._choose(X, labels, weights, later, seed)
        self.tree_ = self._grow(X, labels, weights, leaf_size, alpha, seed=seed)
        self.offers_, self.used_ = _count_by_node(self.tree_, X, labels, weights)
        self.probabilities_ = _smooth(self.tree_, self.offers_, self.used_)

    def _choose(
        self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, later: np.ndarray, seed: int
    ) -> tuple[int, float]:
        """The leaf size and the complexity parameter (``ccp_alpha``) that fit the later rows best."""
        by_leaf_size = map_in_threads(
            lambda leaf_size: self._losses(X, labels, weights, later, leaf_size=leaf_size, seed=seed),
            self.min_samples_leafs,
        )
        losses = {candidate: loss for its_losses in by_leaf_size for candidate, loss in its_losses.items()}
        return min(losses, key=lambda candidate: losses[candidate])

    def _losses(
        self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, later: np.ndarray, *, leaf_size: int, seed: int
    ) -> dict[tuple[int, float], float]:
        """The log loss on the later rows by leaf size and complexity parameter, for one leaf size."""
        earlier = X[~later], labels[~later], weights[~later]
        whole = self._untrained(leaf_size, 0.0, seed)
        path = whole.cost_complexity_pruning_path(*earlier[:2], raise_used_share(*earlier[1:])[0])
        steps = path.ccp_alphas[:-1]  # the last one leaves nothing but the root
        losses = {}
        for alpha in np.unique(np.quantile(np.append(steps, 0.0), np.linspace(0, 1, self.prunings))):
            tree = self._grow(*earlier, leaf_size, alpha, seed=seed)
            probability = _smooth(tree, *_count_by_node(tree, *earlier))[tree.apply(X[later])]
            losses[leaf_size, float(alpha)] = log_loss(labels[later], probability, sample_weight=weights[later])
        return losses

    def _grow(
        self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, leaf_size: int, alpha: float, *, seed: int
    ) -> DecisionTreeClassifier:
        return self._untrained(leaf_size, alpha, seed).fit(X, labels, raise_used_share(labels, weights)[0])

    def _untrained(self, leaf_size: int, alpha: float, seed: int) -> DecisionTreeClassifier:
        return DecisionTreeClassifier(
            criterion="entropy",
            max_depth=self.max_depth,
            min_samples_leaf=leaf_size,
            ccp_alpha=alpha,
            random_state=seed,
        )

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return self.probabilities_[self.tree_.apply(X)]

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {
            "criterion": "entropy",
            "max_depth": self.max_depth,
            "min_samples_leaf": self.tree_.min_samples_leaf,
            "ccp_alpha": self.tree_.ccp_alpha,
            "depth": int(self.tree_.get_depth()),
            "leaves": int(self.tree_.get_n_leaves()),
        }


def _count_by_node(
    tree: DecisionTreeClassifier, X: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By node, how many offers come to it and how many of them were used."""
    paths = tree.decision_path(X).T
    return paths @ weights, paths @ np.where(labels, weights, 0.0)


def _smooth(tree: DecisionTreeClassifier, offers: np.ndarray, used: np.ndarray) -> np.ndarray:
    """By node, its share of used offers, drawn towards that of the node above it."""
    strength = offers[0] / used[0]
    probabilities = used / offers
    for number in range(len(offers)):  # a node comes before those below it
        for child in (tree.tree_.children_left[number], tree.tree_.children_right[number]):
            if child != -1:
                prior = strength * probabilities[number]
                probabilities[child] = (used[child] + prior) / (offers[child] + strength)
    return probabilities
