"""Sets of small boosted trees, each grown on other rows and columns, and their average."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from xgboost import XGBClassifier

from recommender.ml import features as f
from recommender.ml.threads import map_in_threads

#: How near to 0 and 1 a probability may be, so that its log-odds are finite.
NEAREST = 1e-9


@dataclass(frozen=True)
class Examples:
    """n rows to boost on: (n, features), the features' names, n labels, n weights, and the n log-odds that the trees
    start from."""

    X: np.ndarray
    features: Sequence[str]
    labels: np.ndarray
    weights: np.ndarray
    start: np.ndarray

    def where(self, mask: np.ndarray) -> "Examples":
        return Examples(self.X[mask], self.features, self.labels[mask], self.weights[mask], self.start[mask])


def booster(seed: int, **parameters: Any) -> XGBClassifier:
    """An untrained booster.

    Half of the rows and a fifth of the columns a tree make boosters of other seeds differ, so that their average is
    steadier than each.
    """
    return XGBClassifier(
        min_child_weight=10,
        subsample=0.5,
        colsample_bytree=0.2,
        reg_lambda=10.0,
        tree_method="hist",
        eval_metric="logloss",
        random_state=seed,
        n_jobs=1,  # threads would add up gradients in any order, and sums of floats depend on it
        **parameters,
    )


def _directed(untrained: XGBClassifier, features: Sequence[str]) -> XGBClassifier:
    """The booster, whose scores never fall (rise) with what rises (falls) of these features."""
    directions = tuple(1 if x in f.RISING else -1 if x in f.FALLING else 0 for x in features)
    return untrained.set_params(monotone_constraints=directions)


def loss_by_trees(untrained: XGBClassifier, early: Examples, later: Examples) -> np.ndarray:
    """(trees + 1,): the weighted sum of the log loss on later rows after 0, 1, ... trees learned from early rows."""
    _directed(untrained, early.features).fit(
        early.X,
        early.labels,
        sample_weight=early.weights,
        base_margin=early.start,
        eval_set=[(later.X, later.labels)],
        sample_weight_eval_set=[later.weights],
        base_margin_eval_set=[later.start],
        verbose=False,
    )
    surprise = np.logaddexp(0.0, np.where(later.labels, -later.start, later.start))
    at_the_start = np.average(surprise, weights=later.weights)
    return np.array([at_the_start, *untrained.evals_result()["validation_0"]["logloss"]]) * later.weights.sum()


def grow(untrained: Sequence[XGBClassifier], examples: Examples) -> list[XGBClassifier]:
    """The boosters, trained; a booster a processor at a time."""
    return map_in_threads(
        lambda booster: _directed(booster, examples.features).fit(
            examples.X, examples.labels, sample_weight=examples.weights, base_margin=examples.start
        ),
        untrained,
    )


def mean_log_odds(trained: Sequence[XGBClassifier], X: np.ndarray, start: np.ndarray) -> np.ndarray:
    """n probabilities: the average of the boosters' log-odds, which start from n given ones."""
    scores = map_in_threads(lambda booster: booster.predict_proba(X, base_margin=start), trained)
    probabilities = [score[:, 1].astype(np.float64) for score in scores]
    return expit(np.mean([logit(np.clip(each, NEAREST, 1 - NEAREST)) for each in probabilities], axis=0))
