"""Uplift models: what all keep, what each learns, and where they refuse."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from recommender.ml.uplift import (
    UPLIFT_MODELS,
    ClassTransformation,
    NotRandomised,
    TwoModels,
    UpliftModel,
    XLearner,
    check_randomised,
)
from recommender.sentences import Sentence
from tests.ml.uplift.shops import draw_shoppers


@pytest.fixture(params=UPLIFT_MODELS.values(), ids=list(UPLIFT_MODELS))
def model(request: pytest.FixtureRequest) -> type[UpliftModel]:
    return request.param


def test_it_finds_who_is_changed(model: type[UpliftModel]) -> None:
    random = np.random.default_rng(1)
    past, later = draw_shoppers(20_000, random), draw_shoppers(5_000, random)

    predicted = model().fit(past.X, past.treated, past.bought, propensity=0.8, seed=0).predict(later.X)

    assert predicted.shape == (5_000,)
    assert np.corrcoef(predicted, later.incremental_purchases)[0, 1] > 0.75
    assert predicted.mean() == pytest.approx(later.incremental_purchases.mean(), abs=0.03)


def test_the_same_shoppers_and_seed_give_the_same(model: type[UpliftModel]) -> None:
    past = draw_shoppers(2_000, np.random.default_rng(2))
    once, again = (
        model().fit(past.X, past.treated, past.bought, propensity=0.8, seed=3).predict(past.X) for _time in range(2)
    )
    assert (once == again).all()


def test_without_held_out_shoppers_it_says_what_is_done_instead(model: type[UpliftModel]) -> None:
    past = draw_shoppers(500, np.random.default_rng(2), treated_share=1.0)
    fitted = model()
    with pytest.raises(NotRandomised) as refusal:
        fitted.fit(past.X, past.treated, past.bought, propensity=0.8, seed=0)
    assert isinstance(refusal.value.args[0], Sentence)
    assert str(refusal.value) == (
        "Uplift is learned from shoppers who were drawn: 500 were sent the campaign and 0 held out, and each group "
        "needs 100. Without them, coupons go to those who are likeliest to use them."
    )
    assert not [name for name in vars(fitted) if name.endswith("_")], "nothing was learned"


@pytest.mark.parametrize("propensity", [0.0, 1.0, -0.1])
def test_who_was_chosen_for_sure_was_not_drawn(propensity: float) -> None:
    treated = np.arange(400) % 2 == 0
    chances = np.full(400, 0.5)
    chances[7] = propensity
    with pytest.raises(NotRandomised, match="could have been in either group"):
        check_randomised(treated, chances)
    assert (check_randomised(treated, 0.5) == np.full(400, 0.5)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, treated, outcome: (X[:9], treated, outcome), "9 values for 400 shoppers"),
        (lambda X, treated, outcome: (X, treated, outcome[:9]), "9 values for 400 shoppers"),
        (lambda X, treated, outcome: (np.where(X > 2, np.nan, X), treated, outcome), "is no finite number"),
    ],
)
def test_wrong_input_is_named(
    model: type[UpliftModel], change: Callable[..., tuple[np.ndarray, ...]], message: str
) -> None:
    past = draw_shoppers(400, np.random.default_rng(4), treated_share=0.5)
    with pytest.raises(ValueError, match=message):
        model().fit(*change(past.X, past.treated, past.bought), propensity=0.5, seed=0)


def test_other_features_than_it_was_fitted_on_are_refused(model: type[UpliftModel]) -> None:
    past = draw_shoppers(400, np.random.default_rng(4), treated_share=0.5)
    fitted = model().fit(past.X, past.treated, past.bought, propensity=0.5, seed=0)
    with pytest.raises(ValueError, match=r"3 features; .* was fitted on 4"):
        fitted.predict(past.X[:, :3])


def test_class_transformation_asks_for_0_and_1() -> None:
    past = draw_shoppers(400, np.random.default_rng(4), treated_share=0.5)
    with pytest.raises(ValueError, match="outcomes that are 0 or 1"):
        ClassTransformation().fit(past.X, past.treated, past.margin, propensity=0.5, seed=0)


def test_estimators_of_scikit_learn_take_part_and_stay_as_they_were() -> None:
    """In a linear shop, linear models find the effect itself: 1 + 2 x."""
    random = np.random.default_rng(5)
    X = random.normal(size=(5_000, 2))
    treated = random.random(5_000) < 0.9
    outcome = 3 * X[:, 1] + treated * (1 + 2 * X[:, 0])
    estimator = LinearRegression()
    for fitted in (TwoModels(estimator), XLearner(estimator, effect=LinearRegression())):
        fitted.fit(X, treated, outcome, propensity=0.9, seed=0)
        assert fitted.predict(X) == pytest.approx(1 + 2 * X[:, 0])
    assert not hasattr(estimator, "coef_")


def test_class_transformation_is_right_at_any_share_of_held_out() -> None:
    """Without features to go by, the effect is the difference of the rates."""
    random = np.random.default_rng(6)
    treated = random.random(40_000) < 0.9
    bought = (random.random(40_000) < np.where(treated, 0.35, 0.2)).astype(float)
    fitted = ClassTransformation(LogisticRegression()).fit(
        np.zeros((40_000, 1)), treated, bought, propensity=0.9, seed=0
    )
    assert fitted.predict(np.zeros((1, 1))) == pytest.approx(0.15, abs=0.02)


def test_shoppers_who_all_do_the_same_are_expected_to_do_just_that() -> None:
    classifier = DummyClassifier(strategy="prior")
    treated = np.arange(400) % 2 == 0
    fitted = TwoModels(classifier).fit(np.zeros((400, 1)), treated, treated.astype(float), propensity=0.5, seed=0)
    assert (fitted.predict(np.zeros((3, 1))) == 1).all()
