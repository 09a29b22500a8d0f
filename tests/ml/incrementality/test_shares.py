"""The test of the sizes of several arms: by hand, and what it refuses."""

from math import lgamma, log

import pytest

from recommender.ml.incrementality import check_shares


def test_it_is_one_over_the_bayes_factor() -> None:
    """Of 130 and 70 shoppers at even shares, with a prior of a hundred."""
    evidence = lgamma(100) - lgamma(300) + lgamma(180) + lgamma(120) - 2 * lgamma(50) - 200 * log(0.5)
    assert check_shares([130, 70], [0.5, 0.5]) == pytest.approx(2.718281828459045**-evidence)
    assert check_shares([130, 70], [0.5, 0.5]) < 0.01


def test_arms_as_they_should_be_raise_nothing() -> None:
    assert check_shares([0, 0], [0.5, 0.5]) == 1
    assert check_shares([1000, 1000], [0.5, 0.5]) == 1
    assert check_shares([333, 334, 333], [0.333, 0.334, 0.333]) == 1


def test_more_shoppers_tell_more() -> None:
    few, many = (check_shares([55 * times, 45 * times], [0.5, 0.5]) for times in (1, 100))
    assert many < 0.001 < few


@pytest.mark.parametrize(
    ("counts", "shares", "said"),
    [
        ([1], [1.0], "expected as many"),
        ([1, 2, 3], [0.5, 0.5], "expected as many"),
        ([1, -1], [0.5, 0.5], "0 or more"),
        ([1, 1], [0.5, 0.4], "1 in all"),
        ([1, 1], [1.0, 0.0], "each above 0"),
    ],
)
def test_what_is_no_split_is_refused(counts: list[int], shares: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_shares(counts, shares)
