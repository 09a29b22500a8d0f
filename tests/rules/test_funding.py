"""Who pays what a coupon takes off: exactly all of it, nobody more than their part."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.rules.funding import part_of_seller

CENT = Decimal("0.01")


@pytest.mark.parametrize(
    ("discount", "percent", "unit", "expected"),
    [
        ("2", 50, "0.01", "1"),
        ("0.01", 50, "0.01", "0.01"),
        ("0.03", 50, "0.01", "0.02"),
        ("1", 33, "0.01", "0.33"),
        ("0.01", 49, "0.01", "0"),
        ("101", 50, "1", "51"),
        ("0.333", 100, "0.01", "0.333"),
        ("0.008", 99, "0.01", "0.008"),
        ("5", 0, "0.01", "0"),
    ],
)
def test_halves_are_rounded_up_and_never_above_the_discount(
    discount: str, percent: int, unit: str, expected: str
) -> None:
    part = part_of_seller(discount=Decimal(discount), percent=percent, unit=Decimal(unit))
    assert part == Decimal(expected)


@given(st.integers(0, 10**8), st.integers(0, 100), st.sampled_from([Decimal("0.001"), CENT, Decimal(1)]))
def test_both_parts_come_to_the_discount(units: int, percent: int, unit: Decimal) -> None:
    discount = units * unit
    part = part_of_seller(discount=discount, percent=percent, unit=unit)

    assert 0 <= part <= discount
    assert part % unit == 0
    assert abs(Fraction(part) - Fraction(discount) * percent / 100) <= Fraction(unit) / 2
    assert part + (discount - part) == discount
