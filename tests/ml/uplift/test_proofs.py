"""Targeting by uplift earns more than targeting by likelihood, and values of policies hold the truth, in made-up shops.

As in the proofs of incrementality, COUPONSITE_PROVE=1 asks as many campaigns as are claimed.
"""

import os

import pytest
from scipy import stats

from recommender.ml.uplift import UPLIFT_MODELS
from tests.ml.incrementality.proofs import acceptance_band
from tests.ml.uplift.proofs import measure_policies, measure_qini, measure_targeting

PROVE = bool(os.environ.get("COUPONSITE_PROVE"))
pytestmark = [pytest.mark.prove] if PROVE else []

CLAIMED = (0.93, 0.97)


@pytest.mark.parametrize("name", UPLIFT_MODELS)
def test_targeting_by_uplift_earns_more_incremental_margin_than_by_likelihood(name: str) -> None:
    found = measure_targeting(UPLIFT_MODELS[name], 50 if PROVE else 2, seed=11)
    by_uplift, by_likelihood, at_best = found.T

    assert (by_uplift > by_likelihood).all()
    assert (by_uplift > 0).all()
    assert (by_uplift <= at_best).all()
    if name != "class_transformation":  # which learns purchases, not what they bring
        assert by_uplift.mean() > 0.85 * at_best.mean()


def test_values_of_policies_hold_the_truth() -> None:
    simulations = 2_000 if PROVE else 120
    found = measure_policies(simulations, seed=12)
    width = found.pop("width")

    low, high = CLAIMED if PROVE else acceptance_band(simulations)
    assert {what: share for what, share in found.items() if not low <= share <= high} == {}
    assert width < 0.95, "a model makes it surer, a wrong one too"


def test_intervals_of_qini_hold_what_they_should() -> None:
    simulations = 500 if PROVE else 40
    found = measure_qini(simulations, seed=13)

    low, high = acceptance_band(simulations)
    assert low <= found["useless order"] <= high
    assert low <= found["effect"] <= high
    assert found["best order"] >= 0.95 - (1 - stats.binom.ppf(0.001, simulations, 0.95) / simulations)
