"""Three ways to learn an effect of which no shopper ever shows both sides, over estimators of scikit-learn."""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from recommender.ml.uplift.contract import UpliftModel


def default_regressor() -> Any:
    """Shallow trees: effects are small beside the noise, and deep trees would learn the noise."""
    return HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=100, early_stopping=False
    )


def default_classifier() -> Any:
    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=100, early_stopping=False
    )


def fit_clone(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray, seed: int, **more: np.ndarray) -> BaseEstimator:
    """A fitted copy; the estimator itself is left as it was."""
    fitted = clone(estimator)
    if "random_state" in fitted.get_params():
        fitted.set_params(random_state=seed)
    return fitted.fit(X, y, **more)


def expected(estimator: Any, X: np.ndarray) -> np.ndarray:
    """(n,): the mean of the outcome, which of a classifier is the chance of 1."""
    if not is_classifier(estimator):
        return estimator.predict(X)
    if len(estimator.classes_) == 1:
        return np.full(len(X), float(estimator.classes_[0]))
    return estimator.predict_proba(X)[:, list(estimator.classes_).index(1)]


class TwoModels(UpliftModel):
    """One model of the treated, one of the held out; the effect is their difference.

    Args:
        outcome: learns the outcome: a classifier of 0 and 1, or a regressor.
    """

    name: ClassVar[str] = "two_models"

    def __init__(self, outcome: BaseEstimator | None = None) -> None:
        self.outcome = outcome

    def _fit(self, X: np.ndarray, treated: np.ndarray, outcome: np.ndarray, chances: np.ndarray, seed: int) -> None:
        estimator = self.outcome if self.outcome is not None else default_regressor()
        self.treated_ = fit_clone(estimator, X[treated], outcome[treated], seed)
        self.held_out_ = fit_clone(estimator, X[~treated], outcome[~treated], seed)

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return expected(self.treated_, X) - expected(self.held_out_, X)


class ClassTransformation(UpliftModel):
    """One classifier of whether a shopper did as the campaign would have it: bought if treated, not if held out.

    Jaskowski and Jaroszewicz (2012). With weights 1 / chance of the own group, P(Z = 1 | x) is half of
    E[Y(1) | x] + 1 - E[Y(0) | x], so that the effect is 2 P - 1 at any share of held out.

    Args:
        transformed: a classifier that takes ``sample_weight``.
    """

    name: ClassVar[str] = "class_transformation"

    def __init__(self, transformed: BaseEstimator | None = None) -> None:
        self.transformed = transformed

    def _fit(self, X: np.ndarray, treated: np.ndarray, outcome: np.ndarray, chances: np.ndarray, seed: int) -> None:
        if not np.isin(outcome, (0, 1)).all():
            raise ValueError(
                "Class transformation learns outcomes that are 0 or 1, such as whether a shopper bought; ask the "
                "two-model or the X-learner of amounts."
            )
        weights = np.where(treated, 1 / chances, 1 / (1 - chances))
        estimator = self.transformed if self.transformed is not None else default_classifier()
        as_wished = (outcome == treated).astype(np.int64)
        self.transformed_ = fit_clone(estimator, X, as_wished, seed, sample_weight=weights / weights.mean())

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return 2 * expected(self.transformed_, X) - 1


class XLearner(UpliftModel):
    """What each shopper's outcome differs from what the model of the other group expects of them, learned of both.

    Künzel, Sekhon, Bickel and Yu (2019). It is for groups of very different sizes: each shopper of the large group is
    compared with a model that the small one taught, and the other way round, and the surer side has the greater say.

    Args:
        outcome: learns the outcome: a classifier of 0 and 1, or a regressor.
        effect: a regressor that learns the differences.
    """

    name: ClassVar[str] = "x_learner"

    def __init__(self, outcome: BaseEstimator | None = None, effect: BaseEstimator | None = None) -> None:
        self.outcome = outcome
        self.effect = effect

    def _fit(self, X: np.ndarray, treated: np.ndarray, outcome: np.ndarray, chances: np.ndarray, seed: int) -> None:
        base = TwoModels(self.outcome)
        base._fit(X, treated, outcome, chances, seed)
        effect = self.effect if self.effect is not None else default_regressor()
        of_treated = outcome[treated] - expected(base.held_out_, X[treated])
        of_held_out = expected(base.treated_, X[~treated]) - outcome[~treated]
        self.of_treated_ = fit_clone(effect, X[treated], of_treated, seed)
        self.of_held_out_ = fit_clone(effect, X[~treated], of_held_out, seed)
        self.share_treated_ = float(chances.mean())

    def _predict(self, X: np.ndarray) -> np.ndarray:
        share = self.share_treated_
        return share * self.of_held_out_.predict(X) + (1 - share) * self.of_treated_.predict(X)


UPLIFT_MODELS: dict[str, type[UpliftModel]] = {
    model.name: model for model in (TwoModels, ClassTransformation, XLearner)
}
