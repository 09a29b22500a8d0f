"""Effects by hand, what may be given, and what is said of them."""

import numpy as np
import pytest
from scipy import stats

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.incrementality import (
    Effect,
    Verdict,
    check_balance,
    check_sample_ratio,
    confidence_sequence,
    judge,
    measure_bought_anyway,
    measure_effect,
    sum_by_shopper,
)
from recommender.ml.incrementality.confidence_sequences import boundary

TREATED = np.array([True, True, True, True, False, False, False])
OUTCOME = np.array([4.0, 6.0, 8.0, 2.0, 1.0, 3.0, 2.0])


def test_the_difference_in_means_is_that_of_welch() -> None:
    effect = measure_effect(TREATED, OUTCOME)

    assert effect.value == 3.0
    assert (effect.treated, effect.held_out, effect.active) == (4, 3, 7)
    assert (effect.treated_mean, effect.held_out_mean) == (5.0, 2.0)
    welch = stats.ttest_ind(OUTCOME[TREATED], OUTCOME[~TREATED], equal_var=False).confidence_interval(0.95)
    assert effect.interval() == pytest.approx((welch.low, welch.high))


def test_what_is_known_before_and_tells_everything_leaves_no_doubt() -> None:
    random = np.random.default_rng(3)
    before = random.gamma(1.0, 5.0, 200)
    treated = np.arange(200) % 2 == 0

    effect = measure_effect(treated, 2 * before + 3 * treated, before)

    assert effect.value == pytest.approx(3.0)
    assert effect.standard_error == pytest.approx(0, abs=1e-9)


def test_cuped_with_equal_groups_is_the_regression_on_group_and_past() -> None:
    random = np.random.default_rng(4)
    treated = np.arange(400) % 2 == 0
    before = random.normal(size=(400, 2))
    outcome = before @ [2.0, -1.0] + treated + random.normal(size=400)

    effect = measure_effect(treated, outcome, before)

    design = np.column_stack([np.ones(400), treated, before])
    assert effect.value == pytest.approx(np.linalg.lstsq(design, outcome, rcond=None)[0][1], abs=1e-9)
    assert effect.standard_error < 0.6 * measure_effect(treated, outcome).standard_error


@pytest.mark.parametrize("before", [np.full(7, 9.9), np.zeros(7), np.zeros((7, 0))])
def test_a_past_that_is_the_same_for_all_changes_nothing(before: np.ndarray) -> None:
    assert measure_effect(TREATED, OUTCOME, before) == measure_effect(TREATED, OUTCOME)


def test_two_columns_that_say_the_same_count_as_one() -> None:
    random = np.random.default_rng(5)
    treated, before = np.arange(100) < 40, random.normal(size=100)
    outcome = before + random.normal(size=100)

    once = measure_effect(treated, outcome, before)
    twice = measure_effect(treated, outcome, np.column_stack([before, 3 * before]))

    assert twice.value == pytest.approx(once.value)
    assert twice.standard_error == pytest.approx(once.standard_error, rel=0.01)


@pytest.mark.parametrize("treated", [np.ones(7, dtype=bool), np.zeros(7, dtype=bool), np.arange(7) < 1])
def test_a_group_of_nobody_or_one_tells_nothing(treated: np.ndarray) -> None:
    effect = measure_effect(treated, OUTCOME, OUTCOME)

    assert (effect.value, effect.standard_error, effect.interval()) == (None, None, None)
    assert confidence_sequence(effect, 1.0) is None
    assert effect.times(5) == measure_effect(treated, OUTCOME, OUTCOME).times(5)
    assert judge(effect, None) == (Verdict.NOT_ENOUGH if treated.any() and not treated.all() else Verdict.NO_HOLDOUT)


def test_no_shoppers_at_all_are_no_holdout() -> None:
    effect = measure_effect(np.empty(0, dtype=bool), np.empty(0))
    assert (effect.treated_mean, effect.held_out_mean) == (None, None)
    assert judge(effect, effect.interval()) == Verdict.NO_HOLDOUT


def test_when_nobody_did_anything_the_effect_is_none_and_nothing_is_claimed() -> None:
    effect = measure_effect(np.arange(1_000) < 500, np.zeros(1_000))

    assert (effect.value, effect.standard_error, effect.interval()) == (0.0, 0.0, (0.0, 0.0))
    assert judge(effect, effect.interval()) == Verdict.NOT_ENOUGH


def test_a_group_in_which_nobody_did_anything_is_not_known_to_do_nothing() -> None:
    treated = np.arange(200) < 100
    outcome = np.where(np.arange(200) < 10, 3.0, 0.0)

    effect = measure_effect(treated, outcome)

    of_treated = outcome[treated].var(ddof=1) / 100
    assert effect.value == pytest.approx(0.3)
    assert effect.standard_error == pytest.approx(np.sqrt(of_treated + (3.0 / 100) ** 2))


def test_the_effect_of_all_is_that_of_one_times_their_number() -> None:
    effect = measure_effect(TREATED, OUTCOME)
    whole = effect.times(4)

    assert whole.value == 12.0
    assert whole.interval() == pytest.approx(tuple(4 * end for end in effect.interval()))
    assert (whole.treated_mean, whole.held_out_mean, whole.skewness) == (20.0, 8.0, effect.skewness)
    with pytest.raises(ValueError, match="-1 times"):
        effect.times(-1)


@pytest.mark.parametrize(
    ("outcome", "before", "message"),
    [
        (OUTCOME[:3], None, "3 values for 7 shoppers"),
        (OUTCOME, OUTCOME[:3], "3 values for 7 shoppers"),
        (np.array([1, 2, np.nan, 4, 5, 6, 7]), None, "shopper row 2 is no finite number"),
        (OUTCOME, np.array([[1.0, 2.0]] * 6 + [[np.inf, 1.0]]), "shopper row 6 is no finite number"),
    ],
)
def test_wrong_input_is_named(outcome: np.ndarray, before: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_effect(TREATED, outcome, before)


# The shopper is the unit


def test_rows_of_a_shopper_are_added_up() -> None:
    shopper = np.array([7, 3, 7, 9])
    found, treated, sums = sum_by_shopper(shopper, shopper != 3, np.array([[1.0, 2], [5, 5], [3, 4], [0, 1]]))

    assert found.tolist() == [3, 7, 9]
    assert treated.tolist() == [False, True, True]
    assert sums.tolist() == [[5, 5], [4, 6], [0, 1]]


def test_a_shopper_in_both_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="Shopper 7 is in both groups"):
        sum_by_shopper(np.array([7, 3, 7]), np.array([True, True, False]), np.zeros(3))
    with pytest.raises(ValueError, match="3 shoppers, 2 groups and 3 values"):
        sum_by_shopper(np.array([7, 3, 7]), np.array([True, True]), np.zeros(3))


def test_orders_taken_for_shoppers_would_be_too_sure() -> None:
    """Ten orders alike of each shopper say no more than one."""
    random = np.random.default_rng(6)
    shopper = np.repeat(np.arange(200), 10)
    treated, values = shopper % 2 == 0, np.repeat(random.normal(size=200), 10)

    _found, treated_of, sums = sum_by_shopper(shopper, treated, values)

    by_order, by_shopper = measure_effect(treated, values), measure_effect(treated_of, sums / 10)
    assert by_shopper.value == pytest.approx(by_order.value)
    assert by_shopper.standard_error == pytest.approx(np.sqrt(10) * by_order.standard_error, rel=0.02)


# Looking early


def test_the_sequence_is_that_of_the_paper() -> None:
    t, alpha, sigma = 400, 0.05, 2.0
    effect = Effect(1.0, sigma / np.sqrt(t), 398.0, 0.0, 200, 200, 400, 2.0, 1.0)
    rho = np.sqrt((-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / 1_000)
    radius = sigma * np.sqrt(2 * (t * rho**2 + 1) / (t**2 * rho**2) * np.log(np.sqrt(t * rho**2 + 1) / alpha))

    assert confidence_sequence(effect, t / 1_000) == pytest.approx((1 - radius, 1 + radius))


def test_the_sequence_is_narrowest_about_when_all_is_in() -> None:
    shares = np.linspace(0.05, 4, 400)
    radii = [boundary(share) / np.sqrt(share) for share in shares]
    widths_at_one = [np.sqrt((1 + 1 / m) * np.log((1 + m) / 0.05**2)) for m in np.linspace(1, 40, 400)]
    assert (np.diff(radii) < 0).all(), "more data never widen it"
    assert boundary(1.0) == pytest.approx(min(widths_at_one), rel=1e-3)
    assert boundary(1.0) == pytest.approx(3.035, abs=1e-3)


@pytest.mark.parametrize("share", [0.0, -1.0])
def test_nothing_seen_is_no_look(share: float) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        confidence_sequence(measure_effect(TREATED, OUTCOME), share)


# Verdicts


def effect_of(**changed: float) -> Effect:
    usual = {"value": 1.0, "standard_error": 0.1, "degrees_of_freedom": 1e6, "skewness": 0.0, "treated": 100}
    return Effect(**{**usual, "held_out": 100, "active": 50, "treated_mean": 11.0, "held_out_mean": 10.0, **changed})


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        (effect_of(), Verdict.MORE),
        (effect_of(value=-1.0), Verdict.LESS),
        (effect_of(value=0.1), Verdict.SAME),
        (effect_of(value=0.1, standard_error=0.3), Verdict.NOT_ENOUGH),
        (effect_of(value=0.4, standard_error=0.25), Verdict.NOT_ENOUGH),
        (effect_of(treated=99), Verdict.NOT_ENOUGH),
        (effect_of(held_out=99), Verdict.NOT_ENOUGH),
        (effect_of(active=49), Verdict.NOT_ENOUGH),
        (effect_of(skewness=0.21), Verdict.NOT_ENOUGH),
        (effect_of(skewness=-0.21), Verdict.NOT_ENOUGH),
        (effect_of(held_out=0), Verdict.NO_HOLDOUT),
        (effect_of(treated=0), Verdict.NO_HOLDOUT),
    ],
)
def test_what_may_be_said(effect: Effect, verdict: Verdict) -> None:
    assert judge(effect, effect.interval()) == verdict


def test_one_shopper_who_spends_a_fortune_decides_nothing() -> None:
    outcome = np.ones(2_000)
    outcome[::7] = 2.0
    outcome[0] = 1_000.0
    effect = measure_effect(np.arange(2_000) % 10 > 0, outcome)

    assert effect.skewness < -0.9
    assert judge(effect, effect.interval()) == Verdict.NOT_ENOUGH


# Those who would have bought anyway


def test_uses_beyond_the_purchases_that_came_of_the_campaign_were_of_those_who_buy_anyway() -> None:
    """200 treated with 100 uses and 1.25 purchases each, 100 held out with 1: a quarter of 200 came of the campaign."""
    treated = np.arange(300) < 200
    purchases = np.where(treated, 1 + (np.arange(300) % 4 == 0), 1).astype(float)
    uses = np.where(treated, np.arange(300) % 2 == 0, 0).astype(float)

    anyway = measure_bought_anyway(treated, uses=uses, discount=3 * uses, purchases=purchases)

    assert (anyway.uses, anyway.discount) == (100, 300)
    assert anyway.uses_anyway.value == pytest.approx(50)
    assert anyway.discount_anyway.value == pytest.approx(150)
    assert anyway.uses_anyway.low < 50 < anyway.uses_anyway.high
    assert anyway.discount_anyway.low == pytest.approx(3 * anyway.uses_anyway.low)


def test_while_a_campaign_runs_what_went_to_them_is_told_less_surely() -> None:
    random = np.random.default_rng(9)
    treated = np.arange(3_000) < 1_500
    purchases = random.poisson(2.0, 3_000).astype(float)
    uses = np.where(treated, random.binomial(purchases.astype(int), 0.5), 0).astype(float)
    told = {"uses": uses, "discount": uses, "purchases": purchases}

    over = measure_bought_anyway(treated, **told).uses_anyway
    running = measure_bought_anyway(treated, **told, share_seen=0.5).uses_anyway

    assert running.value == over.value
    assert running.value - running.low == pytest.approx(boundary(0.5) / 1.961 * (over.value - over.low), rel=1e-3)


def test_what_the_held_out_used_is_left_out() -> None:
    treated = np.arange(300) < 200
    uses = np.ones(300)
    told = measure_bought_anyway(treated, uses=uses, discount=uses, purchases=uses)
    assert (told.uses, told.discount) == (200, 200)
    assert (told.uses_anyway.value, told.uses_anyway.high) == (pytest.approx(200), pytest.approx(200))
    assert 195 < told.uses_anyway.low < 200, "nobody is like this for sure"


def test_of_no_uses_none_went_to_anybody() -> None:
    told = measure_bought_anyway(TREATED, uses=np.zeros(7), discount=np.zeros(7), purchases=OUTCOME)
    assert (told.uses, told.uses_anyway) == (0, Estimate(0.0, 0.0, 0.0))


def test_without_a_holdout_it_is_unknown_what_would_have_been_bought() -> None:
    told = measure_bought_anyway(np.ones(7, dtype=bool), uses=OUTCOME, discount=OUTCOME, purchases=OUTCOME)
    assert told.uses == 26
    assert told.uses_anyway == told.discount_anyway == Estimate(None, None, None)


# Before the campaign


def test_groups_that_spent_the_same_before_are_alike() -> None:
    random = np.random.default_rng(8)
    spent = random.lognormal(3, 2, 600) * (random.random(600) < 0.3)
    treated = random.random(600) < 0.9

    assert check_balance(treated, spent) > 0.01
    assert check_balance(~treated, spent) == check_balance(treated, spent), "whichever is called treated"
    assert check_balance(treated, np.where(treated, 3 * spent + 5, spent)) == pytest.approx(1 / 2_001)
    assert check_balance(treated, np.where(treated, -spent - 5, spent)) < 0.001, "refunds"


def test_how_unlike_two_groups_are_is_counted() -> None:
    """Of the six ways to draw two of four, two are as unlike as these."""
    assert check_balance(np.array([True, True, False, False]), np.array([1.0, 1, 0, 0])) == pytest.approx(
        1 / 3, abs=0.25
    )
    treated = np.arange(12) < 4
    assert check_balance(treated, treated.astype(float)) == pytest.approx(1 / 495, rel=0.8)


@pytest.mark.parametrize("treated", [np.ones(4, dtype=bool), np.zeros(4, dtype=bool)])
def test_where_there_is_nothing_to_compare_nothing_is_said(treated: np.ndarray) -> None:
    assert check_balance(treated, np.arange(4.0)) is None
    assert check_balance(np.arange(4) < 2, np.full(4, 7.0)) is None


# Sample ratio


def test_groups_of_the_wrong_size_are_told() -> None:
    assert not check_sample_ratio(treated=9_000, held_out=1_000, expected_share=0.1).mismatch
    assert not check_sample_ratio(treated=9_050, held_out=950, expected_share=0.1).mismatch
    found = check_sample_ratio(treated=9_100, held_out=890, expected_share=0.1)
    assert found.mismatch
    assert found.p_value == pytest.approx(stats.binomtest(890, 9_990, 0.1).pvalue)
    assert check_sample_ratio(treated=0, held_out=0, expected_share=0.1).p_value == 1
    assert check_sample_ratio(treated=100, held_out=0, expected_share=0.1).mismatch


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"treated": -1, "held_out": 1, "expected_share": 0.5}, "-1 treated"),
        ({"treated": 1, "held_out": 1, "expected_share": 0.0}, "A share of 0.0"),
        ({"treated": 1, "held_out": 1, "expected_share": 1.0}, "A share of 1.0"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sample_ratio(**sizes)
