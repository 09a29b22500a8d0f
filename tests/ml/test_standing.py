"""Where an affinity stands, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.ml.standing import AmongShoppers, rank_in_list, share_of_best

LISTS = arrays(np.float64, (3, 6), elements=st.integers(0, 4).map(float))


def test_ranks_by_hand() -> None:
    """The best is 0; the two that are equal share places 1 and 2; nothing bought at all is all equal."""
    affinity = np.array([[5.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])

    assert rank_in_list(affinity).tolist() == [[0.0, 1.5, 1.5, 3.0], [1.5, 1.5, 1.5, 1.5]]
    assert share_of_best(affinity).tolist() == [[1.0, 0.4, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0]]


@given(LISTS)
def test_ranks_of_a_list_add_up_and_go_against_the_affinity(affinity: np.ndarray) -> None:
    ranks = rank_in_list(affinity)

    np.testing.assert_allclose(ranks.sum(axis=1), 15.0)
    for row, its_ranks in zip(affinity, ranks, strict=True):
        assert all(
            (one > other) == (its_ranks[i] < its_ranks[j]) for i, one in enumerate(row) for j, other in enumerate(row)
        )


def test_standing_among_shoppers_by_hand() -> None:
    """Of four shoppers one has more than 2, and the one who has as much counts half."""
    among = AmongShoppers(np.array([[0.0], [1.0], [2.0], [9.0]]))

    assert among.per_mille_above(np.array([[2.0], [10.0], [-1.0]])).tolist() == [[375.0], [0.0], [1000.0]]


def test_nobody_to_stand_among() -> None:
    assert AmongShoppers(np.zeros((0, 2))).per_mille_above(np.ones((1, 2))).tolist() == [[1000.0, 1000.0]]


@pytest.mark.parametrize("coupons", [0, 1])
def test_short_lists(coupons: int) -> None:
    affinity = np.ones((2, coupons))

    assert rank_in_list(affinity).tolist() == [[0.0] * coupons] * 2
    assert share_of_best(affinity).tolist() == [[1.0] * coupons] * 2
