"""Values of lists: by hand, and right on average in a made-up shop where something is tried on last places."""

import os

import numpy as np
import pytest

from recommender.ml.exploration import Exploration, draw_last_places, thompson_chances
from recommender.ml.uplift import ListPairs, value_of_lists
from tests.ml.incrementality.proofs import acceptance_band, generators

PROVE = bool(os.environ.get("COUPONSITE_PROVE"))
pytestmark = [pytest.mark.prove] if PROVE else []

COUPONS, SHOPPERS = 8, 4_000
#: Coupons of the live lists that are there for certain, and on the last place without a draw; and those of the others.
CERTAIN, ORDINARY, OTHERS = (0, 1), 2, (1, 4, 5)
CHANCES = thompson_chances([100] * COUPONS, [20] * COUPONS)


def test_values_by_hand() -> None:
    """Two shoppers. The first was shown 0 for certain (used) and 1 by chance (used), the second 0 for certain. The
    other lists have 1 and 2 for both."""
    pairs = ListPairs(
        shopper=np.array([0, 0, 0, 1, 1, 1]),
        logged=np.array([1.0, 0.25, 0.0, 1.0, 0.0, 0.0]),
        outcome=np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        chance=np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
        predicted=np.array([0.9, 0.5, 0.25, 0.9, 0.5, 0.25]),
    )
    live, by_propensity, doubly_robust = value_of_lists(pairs, shoppers=2)
    assert live.of_shoppers.tolist() == [2, 0]
    assert by_propensity.of_shoppers.tolist() == [4, 0]
    assert by_propensity.effective_shoppers == 1
    assert doubly_robust.of_shoppers.tolist() == [0.5 + 0.25 + 4 * 0.5, 0.75]


def test_shoppers_without_a_pair_count() -> None:
    one = np.array([1.0])
    live, *_others = value_of_lists(ListPairs(np.array([0]), one, one, one, one), shoppers=4)
    assert live.value == 0.25


@pytest.mark.parametrize(("logged", "shoppers", "said"), [(2.0, 2, "between 0 and 1"), (1.0, 1, "2 or more")])
def test_impossible_logs_are_refused(logged: float, shoppers: int, said: str) -> None:
    one = np.array([1.0])
    with pytest.raises(ValueError, match=said):
        value_of_lists(ListPairs(np.array([0]), np.array([logged]), one, one, one), shoppers=shoppers)


def simulate(
    random: np.random.Generator, *, share: float = 0.2
) -> tuple[list[float], list[tuple[float, float]], float]:
    """Values, intervals and the truth of one shop: its shoppers like coupons unequally, and the model is wrong."""
    likes = random.beta(2, 8, size=(SHOPPERS, COUPONS))
    eligible = np.ones((SHOPPERS, COUPONS), dtype=bool)
    eligible[:, CERTAIN] = False
    chosen, chance = draw_last_places(
        Exploration(share, CHANCES, str(random.integers(2**62))),
        shopper_ids=[str(number) for number in range(SHOPPERS)],
        ordinary=np.full(SHOPPERS, ORDINARY),
        eligible=eligible,
    )
    logged = np.zeros((SHOPPERS, COUPONS))
    logged[:, CERTAIN] = 1
    logged[np.arange(SHOPPERS), chosen] = chance
    used = (random.random((SHOPPERS, COUPONS)) < likes) * (logged > 0)
    other = np.zeros((SHOPPERS, COUPONS))
    other[:, OTHERS] = 1
    pairs = ListPairs(
        shopper=np.repeat(np.arange(SHOPPERS), COUPONS),
        logged=logged.ravel(),
        outcome=used.astype(np.float64).ravel(),
        chance=other.ravel(),
        predicted=np.full(SHOPPERS * COUPONS, 0.3),
    )
    values = value_of_lists(pairs, shoppers=SHOPPERS)[1:]
    return [each.value for each in values], [each.interval() for each in values], 0.2 * len(OTHERS)


def test_values_of_lists_that_were_never_shown_are_right_on_average_and_hold_the_truth() -> None:
    """The truth is that of the shops' making, a use of 0.2 of each coupon, whose shoppers are drawn anew each time."""
    simulations = 2_000 if PROVE else 200
    found = [simulate(random) for random in generators(simulations, 21)]
    low, high = (0.93, 0.97) if PROVE else acceptance_band(simulations)
    for place in (0, 1):
        values = np.array([values[place] for values, _intervals, _true in found])
        true = found[0][2]
        assert abs(values.mean() - true) < 4 * values.std() / np.sqrt(simulations)
        held = np.mean([each[place][0] <= true <= each[place][1] for _values, each, _true in found])
        assert low <= held <= high
