"""What is tried on last places: how often each coupon, with which chance, and always the same for a shopper."""

from collections import Counter
from math import sqrt

import numpy as np
import pytest

from recommender.ml.exploration import EVEN_SHARE, Exploration, draw_last_places, thompson_chances

LISTS = 30_000
IDS = [f"shopper-{number}" for number in range(LISTS)]


def test_a_coupon_of_which_little_is_known_is_tried_more_often_than_one_that_proved_poor() -> None:
    good, poor, new = thompson_chances([1000, 1000, 0], [50, 10, 0])
    assert good > poor
    assert new > 2 * poor
    assert poor == pytest.approx(EVEN_SHARE / 3, abs=0.001), "hardly ever but for the even share"
    assert good + poor + new == pytest.approx(1)


def test_coupons_that_did_alike_are_tried_alike() -> None:
    chances = thompson_chances([200, 200, 200, 200], [8, 8, 8, 8])
    assert chances == pytest.approx([0.25] * 4, abs=0.02)
    assert chances.tolist() == thompson_chances([200, 200, 200, 200], [8, 8, 8, 8]).tolist()


def test_where_nothing_was_offered_all_are_tried() -> None:
    assert thompson_chances([0, 0], [0, 0]) == pytest.approx([0.5, 0.5], abs=0.02)
    assert thompson_chances([0], [0]) == pytest.approx([1])


@pytest.mark.parametrize(
    ("offers", "uses", "said"),
    [([], [], "1 or more"), ([1, 2], [1], "as many"), ([1], [2], "as often as it was offered"), ([1], [-1], "from 0")],
)
def test_counts_that_cannot_be_are_refused(offers: list[float], uses: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        thompson_chances(offers, uses)


def draw(share: float, eligible: list[bool], *, ordinary: int = 0, salt: str = "salt") -> tuple[np.ndarray, np.ndarray]:
    exploration = Exploration(share, np.array([0.4, 0.3, 0.2, 0.1]), salt)
    return draw_last_places(
        exploration,
        shopper_ids=IDS,
        ordinary=np.full(LISTS, ordinary),
        eligible=np.tile(eligible, (LISTS, 1)),
    )


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("eligible", [[True] * 4, [True, False, True, True], [True, True, False, False]])
def test_coupons_are_shown_as_often_as_is_put_down(share: float, eligible: list[bool]) -> None:
    """The chance that is logged beside each list is the one with which such lists come about."""
    chosen, chance = draw(share, eligible)
    counts = Counter(chosen.tolist())
    put_down = {coupon: set(chance[chosen == coupon].round(12)) for coupon in counts}
    assert all(len(each) == 1 for each in put_down.values()), "all these lists are alike"
    total = sum(weight for weight, may in zip([0.4, 0.3, 0.2, 0.1], eligible, strict=True) if may)
    for coupon in range(4):
        expected = share * [0.4, 0.3, 0.2, 0.1][coupon] / total * eligible[coupon] + (1 - share) * (coupon == 0)
        if not eligible[coupon]:
            assert counts[coupon] == 0
            continue
        [logged] = put_down[coupon]
        assert logged == pytest.approx(expected)
        assert abs(counts[coupon] - LISTS * expected) < 4 * sqrt(LISTS * expected * (1 - expected)) + 1


def test_a_shopper_is_drawn_the_same_again_and_another_salt_draws_others() -> None:
    first, second, other = draw(0.2, [True] * 4), draw(0.2, [True] * 4), draw(0.2, [True] * 4, salt="other")
    assert first[0].tolist() == second[0].tolist()
    together = np.mean((first[0] != 0) & (other[0] != 0))
    each = np.mean(first[0] != 0), np.mean(other[0] != 0)
    assert together == pytest.approx(each[0] * each[1], abs=0.005), "independently"


def test_without_a_share_nothing_is_tried() -> None:
    chosen, chance = draw(0.0, [True] * 4)
    assert set(chosen.tolist()) == {0}
    assert set(chance.tolist()) == {1.0}


def test_no_list_is_no_trouble() -> None:
    exploration = Exploration(0.1, np.array([0.5, 0.5]), "salt")
    empty = np.empty((0, 2), dtype=bool)
    chosen, chance = draw_last_places(exploration, shopper_ids=[], ordinary=np.empty(0, dtype=int), eligible=empty)
    assert (len(chosen), len(chance)) == (0, 0)
