"""Values of policies by hand, and what is refused."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from recommender.ml.uplift import (
    compare_policies,
    predict_outcomes,
    value_by_doubly_robust,
    value_by_inverse_propensity,
)

OUTCOME = np.array([4.0, 2.0, 6.0, 0.0])
LOGGED = np.array([0.5, 0.25, 0.5, 0.5])
CHANCE = np.array([1.0, 0.5, 0.0, 1.0])


def test_what_is_done_twice_as_often_counts_twice() -> None:
    value = value_by_inverse_propensity(OUTCOME, LOGGED, CHANCE)
    assert value.of_shoppers.tolist() == [8, 4, 0, 0]
    assert value.value == 3
    assert value.effective_shoppers == pytest.approx(36 / 12)


def test_a_policy_that_does_as_was_done_brings_what_was_brought() -> None:
    value = value_by_inverse_propensity(OUTCOME, LOGGED, LOGGED)
    assert value.value == OUTCOME.mean()
    assert value.effective_shoppers == 4


def test_a_policy_that_does_nothing_of_what_was_done_is_unknown() -> None:
    assert value_by_inverse_propensity(OUTCOME, LOGGED, np.zeros(4)).effective_shoppers == 0


def test_a_model_that_is_right_leaves_no_doubt_but_that_of_the_shoppers() -> None:
    value = value_by_doubly_robust(
        OUTCOME, LOGGED, CHANCE, predicted=OUTCOME, predicted_policy=np.array([1.0, 2.0, 3.0, 4.0])
    )
    assert value.of_shoppers.tolist() == [1, 2, 3, 4]
    half = 3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2
    assert value.interval() == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)


def test_a_model_that_knows_nothing_is_inverse_propensity() -> None:
    value = value_by_doubly_robust(OUTCOME, LOGGED, CHANCE, predicted=np.zeros(4), predicted_policy=np.zeros(4))
    assert value.of_shoppers.tolist() == value_by_inverse_propensity(OUTCOME, LOGGED, CHANCE).of_shoppers.tolist()


def test_two_policies_are_compared_on_the_same_shoppers() -> None:
    one = value_by_inverse_propensity(OUTCOME, LOGGED, CHANCE)
    gain, low, high = compare_policies(one, value_by_inverse_propensity(OUTCOME, LOGGED, LOGGED))
    assert gain == 0
    assert low == pytest.approx(-high)
    assert compare_policies(one, one) == (0, 0, 0)
    with pytest.raises(ValueError, match="4 and 2 shoppers"):
        compare_policies(one, value_by_inverse_propensity(OUTCOME[:2], LOGGED[:2], CHANCE[:2]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((OUTCOME, np.array([0.5, 0.0, 0.5, 0.5]), CHANCE), "chance above 0"),
        ((OUTCOME, np.array([0.5, 1.5, 0.5, 0.5]), CHANCE), "at most 1"),
        ((OUTCOME, LOGGED, CHANCE + 0.1), "between 0 and 1"),
        ((OUTCOME[:1], LOGGED[:1], CHANCE[:1]), "1 shoppers"),
        ((OUTCOME[:2], LOGGED, CHANCE), "2 values for 4 shoppers"),
    ],
)
def test_impossible_logs_are_refused(columns: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value_by_inverse_propensity(*columns)


def test_no_shopper_teaches_what_is_expected_of_them() -> None:
    """A model that knows by heart whom it saw would be right about each of them."""
    random = np.random.default_rng(1)
    X, action, outcome = random.normal(size=(300, 2)), np.arange(300) % 3, random.normal(size=300)

    predicted = predict_outcomes(
        X, action, outcome, actions=(0, 1, 2), estimator=KNeighborsRegressor(n_neighbors=1), seed=0
    )

    assert predicted.shape == (300, 3)
    assert (predicted[np.arange(300), action] != outcome).all()


def test_each_action_is_expected_by_what_came_of_it() -> None:
    random = np.random.default_rng(2)
    X, action = random.normal(size=(300, 1)), np.arange(300) % 2
    outcome = np.where(action == 1, 3 * X[:, 0], 1 - X[:, 0])
    predicted = predict_outcomes(X, action, outcome, actions=(0, 1), estimator=LinearRegression(), seed=0)
    assert predicted == pytest.approx(np.column_stack([1 - X[:, 0], 3 * X[:, 0]]))


def test_an_action_that_was_hardly_done_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="Action 1 was done 4 times"):
        predict_outcomes(np.zeros((50, 1)), (np.arange(50) < 4).astype(int), np.zeros(50), actions=(0, 1), seed=0)
