"""What another policy would have brought, from what was logged under a policy that drew at random.

A policy says with which chance a shopper is given what. Inverse propensity (Horvitz and Thompson 1952) weights what was
logged by how much likelier it is under the new policy. Doubly robust (Robins, Rotnitzky and Zhao 1994; Dudík, Langford
and Li 2011) takes a model's expectation and corrects it by the weighted residuals: with known propensities it is right
on average whatever the model, and the surer the better the model is. It is a mean over shoppers, so its interval is
that of a mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from sklearn.base import BaseEstimator
from sklearn.model_selection import StratifiedKFold

from recommender.ml.incrementality.effects import CONFIDENCE
from recommender.ml.incrementality.outcomes import check_groups
from recommender.ml.uplift.models import default_regressor, expected, fit_clone

FOLDS = 5


@dataclass(frozen=True, eq=False)
class PolicyValue:
    """Mean outcome of a shopper if the policy were followed.

    Attributes:
        of_shoppers: (n,) whose mean it is.
        effective_shoppers: so many shoppers, all alike in weight, would tell as much (Kish 1965): few, where the
            policies hardly ever do the same.
    """

    of_shoppers: np.ndarray
    effective_shoppers: float

    @property
    def value(self) -> float:
        return float(self.of_shoppers.mean())

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        return _interval(self.of_shoppers, confidence)


def value_by_inverse_propensity(outcome: np.ndarray, logged: np.ndarray, chance: np.ndarray) -> PolicyValue:
    """What a policy would bring, by weighting alone.

    Args:
        outcome: (n,) of what was done.
        logged: (n,) the chance with which it was done, above 0.
        chance: (n,) the chance with which the policy would have done the same.

    Raises:
        ValueError: the lengths differ, fewer than two shoppers, or a chance is none.
    """
    weights = _weights(outcome, logged, chance)
    return PolicyValue(weights * outcome, _effective(weights))


def value_by_doubly_robust(
    outcome: np.ndarray, logged: np.ndarray, chance: np.ndarray, *, predicted: np.ndarray, predicted_policy: np.ndarray
) -> PolicyValue:
    """What a policy would bring, by a model whose errors are put right by weighting.

    Args:
        outcome, logged, chance: as for :func:`value_by_inverse_propensity`.
        predicted: (n,) what a model, which did not learn from this shopper, expects of what was done.
        predicted_policy: (n,) what it expects of what the policy does.

    Raises:
        ValueError: as for :func:`value_by_inverse_propensity`.
    """
    check_groups(logged, predicted, predicted_policy)
    weights = _weights(outcome, logged, chance)
    return PolicyValue(predicted_policy + weights * (outcome - predicted), _effective(weights))


@dataclass(frozen=True, eq=False)
class ListPairs:
    """What stood on the lists that were shown, and stands on others, a row for each shopper and coupon.

    Attributes:
        shopper: (pairs,) the number of the shopper, from 0.
        logged: (pairs,) the chance with which the coupon came to stand on the shopper's list; 0 where it does not.
        outcome: (pairs,) of a pair that was shown, such as whether the coupon was used.
        chance: (pairs,) with which it stands on the other list.
        predicted: (pairs,) the outcome that a model expects, which did not learn from what was shown.
    """

    shopper: np.ndarray
    logged: np.ndarray
    outcome: np.ndarray
    chance: np.ndarray
    predicted: np.ndarray


def value_of_lists(pairs: ListPairs, *, shoppers: int) -> tuple[PolicyValue, PolicyValue, PolicyValue]:
    """What the lists that were shown brought a shopper, and what others would have, both of inverse propensity and
    doubly robust.

    What a list brings is taken to be the sum of what its coupons bring, each whatever else stands on it (as for the
    item-position model of Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and Wen 2018). Then it is enough that each
    coupon of the other lists was shown with some chance; no list as a whole needs to have been.

    Args:
        shoppers: how many there are, those without a pair too.

    Raises:
        ValueError: the lengths differ, a chance is none, or fewer than two shoppers.
    """
    check_groups(pairs.logged, pairs.shopper, pairs.outcome, pairs.chance, pairs.predicted)
    if shoppers < 2:
        raise ValueError(f"{shoppers} shoppers; an interval needs 2 or more.")
    for chance in (pairs.logged, pairs.chance):
        if not ((chance >= 0) & (chance <= 1)).all():
            raise ValueError("A chance is between 0 and 1.")
    shown = pairs.logged > 0
    weights = np.divide(pairs.chance, pairs.logged, out=np.zeros(len(shown)), where=shown)

    def of_shoppers(of_pairs: np.ndarray) -> np.ndarray:
        return np.bincount(pairs.shopper, weights=of_pairs, minlength=shoppers)

    corrected = pairs.chance * pairs.predicted + weights * (pairs.outcome - pairs.predicted)
    effective = _effective(weights[shown])
    return (
        PolicyValue(of_shoppers(np.where(shown, pairs.outcome, 0.0)), float(shoppers)),
        PolicyValue(of_shoppers(weights * pairs.outcome), effective),
        PolicyValue(of_shoppers(corrected), effective),
    )


def compare_policies(
    policy: PolicyValue, other: PolicyValue, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """How much more a policy brings a shopper than another of the same shoppers, and the interval of that.

    Raises:
        ValueError: they are of other shoppers.
    """
    if len(policy.of_shoppers) != len(other.of_shoppers):
        raise ValueError(f"{len(policy.of_shoppers)} and {len(other.of_shoppers)} shoppers: not the same ones.")
    gain = policy.of_shoppers - other.of_shoppers
    return float(gain.mean()), *_interval(gain, confidence)


def predict_outcomes(
    X: np.ndarray,
    action: np.ndarray,
    outcome: np.ndarray,
    *,
    actions: Sequence[int],
    estimator: BaseEstimator | None = None,
    folds: int = FOLDS,
    seed: int,
) -> np.ndarray:
    """(n, actions): the outcome that a model expects of each shopper under each action.

    Each shopper is predicted by models that did not learn from them (cross-fitting, Chernozhukov et al. 2018), without
    which an overfitted model would make doubly robust intervals too narrow.

    Raises:
        ValueError: the lengths differ, or an action was done fewer times than there are folds.
    """
    check_groups(action, X, outcome)
    for each in actions:
        if (action == each).sum() < folds:
            raise ValueError(f"Action {each} was done {(action == each).sum()} times; expected {folds} or more.")
    predicted = np.empty((len(outcome), len(actions)))
    estimator = estimator if estimator is not None else default_regressor()
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for learned, asked in parts.split(X, action):
        for column, each in enumerate(actions):
            own = learned[action[learned] == each]
            predicted[asked, column] = expected(fit_clone(estimator, X[own], outcome[own], seed), X[asked])
    return predicted


def _weights(outcome: np.ndarray, logged: np.ndarray, chance: np.ndarray) -> np.ndarray:
    check_groups(logged, outcome, logged, chance)
    if len(outcome) < 2:
        raise ValueError(f"{len(outcome)} shoppers; an interval needs 2 or more.")
    if not ((logged > 0) & (logged <= 1)).all():
        raise ValueError("What was done was done with a chance above 0 and at most 1: without it nothing was logged.")
    if not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError("The chance of a policy is between 0 and 1.")
    return chance / logged


def _effective(weights: np.ndarray) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _interval(of_shoppers: np.ndarray, confidence: float) -> tuple[float, float]:
    number = len(of_shoppers)
    radius = float(stdtrit(number - 1, (1 + confidence) / 2)) * float(of_shoppers.std(ddof=1)) / np.sqrt(number)
    return float(of_shoppers.mean()) - float(radius), float(of_shoppers.mean()) + float(radius)
