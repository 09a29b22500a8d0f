"""What is claimed of intervals, sequences and the test of the sizes holds in made-up shops whose truth is known.

The ordinary run asks fewer campaigns, and allows for chance what the binomial distribution says of so many; with
COUPONSITE_PROVE=1 it asks as many as are claimed, and allows what is claimed.
"""

import os

import pytest
from scipy import stats

from tests.ml.incrementality.proofs import (
    SHOPS,
    acceptance_band,
    measure_arriving,
    measure_balance,
    measure_coverage,
    measure_looking,
    measure_sample_ratio,
    measure_shares,
)
from tests.ml.incrementality.shops import Shop

PROVE = bool(os.environ.get("COUPONSITE_PROVE"))
SIMULATIONS = 2_000 if PROVE else 120
pytestmark = [pytest.mark.prove] if PROVE else []

CLAIMED = (0.93, 0.97)
ALPHA = 0.05


@pytest.mark.parametrize("name", SHOPS)
def test_95_percent_intervals_hold_the_truth_in_95_percent_of_campaigns(name: str) -> None:
    found = measure_coverage(SHOPS[name], SIMULATIONS, seed=17)
    width = found.pop("width")

    low, high = CLAIMED if PROVE else acceptance_band(SIMULATIONS)
    assert {what: share for what, share in found.items() if not low <= share <= high} == {}
    assert len(found) >= 6
    assert width < (1.01 if name == "rare purchases" else 0.9), "the past narrows the interval, where there is one"


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("extra", [0.0, 0.2])
def test_looking_every_day_is_wrong_no_more_often_than_5_times_of_100(extra: float, once: bool) -> None:
    simulations = SIMULATIONS if PROVE else 60
    found = measure_looking(Shop(shoppers=2_000, extra=extra), simulations, seed=5, once=once)

    most = ALPHA if PROVE else stats.binom.ppf(0.999, simulations, ALPHA) / simulations
    assert found["confidence sequence"] <= most
    assert found["confidence sequence, CUPED"] <= most
    assert found["verdict"] <= most
    assert found["95 % interval"] > 0.1, "which is why there is a sequence"


@pytest.mark.parametrize("extra", [0.0, 0.2])
def test_so_it_is_in_an_experiment_whose_shoppers_come_in_while_it_runs(extra: float) -> None:
    simulations = SIMULATIONS if PROVE else 60
    found = measure_arriving(Shop(shoppers=2_000, holdout=0.5, extra=extra), simulations, seed=6)

    most = ALPHA if PROVE else stats.binom.ppf(0.999, simulations, ALPHA) / simulations
    assert found["confidence sequence"] <= most
    assert found["confidence sequence, CUPED"] <= most
    assert found["verdict"] <= most
    assert found["95 % interval"] > 0.1, "which is why there is a sequence"


@pytest.mark.parametrize("arms", [2, 4])
def test_looking_every_day_at_the_sizes_of_arms_raises_no_more_false_alarms_than_it_may(arms: int) -> None:
    simulations = 20_000 if PROVE else 1_000
    alarms = round(simulations * measure_shares(simulations, seed=12, arms=arms))
    assert alarms <= stats.binom.ppf(0.999, simulations, 0.001)
    assert measure_shares(100, seed=13, arms=arms, lost=0.15) > 0.95


def test_the_test_of_the_sizes_raises_its_false_alarms_and_sees_what_is_lost() -> None:
    simulations = 100_000 if PROVE else 2_000
    alarms = round(simulations * measure_sample_ratio(simulations, seed=7))

    assert alarms <= stats.binom.ppf(0.9999, simulations, 0.001)
    if PROVE:  # an exact test of whole numbers stays below its level, but not far
        assert alarms >= stats.binom.ppf(0.0001, simulations, 0.0008)
    assert measure_sample_ratio(300, seed=8, lost=0.15) > 0.98
    assert 0.8 < measure_sample_ratio(300, seed=9, lost=0.1) < 0.95


@pytest.mark.parametrize(
    "shop", [Shop(shoppers=1_000, holdout=0.1, orders=0.05), Shop(shoppers=4_000, holdout=0.05, shape=0.1)]
)
def test_groups_are_not_said_to_have_differed_before_more_often_than_they_may(shop: Shop) -> None:
    """At the level of the alarm whole, and at 1 % in the ordinary run. A t-test would raise several times that."""
    simulations, level = (20_000, 0.001) if PROVE else (400, 0.01)
    alarms = round(simulations * measure_balance(shop, simulations, seed=10, level=level))
    assert alarms <= stats.binom.ppf(0.999, simulations, level)


def test_groups_that_spent_differently_before_are_noticed() -> None:
    assert measure_balance(Shop(), 10, seed=11, level=0.001, unlike=1.5) == 1
