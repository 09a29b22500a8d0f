"""What a basket and a coupon may hold, and what is said of what they may not."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from recommender.rules.basket import MOST_LINES, Basket, BasketLine
from recommender.rules.currency import smallest_unit
from recommender.rules.offer import Offer, Targets
from tests.rules.shop import basket, line


def test_amounts_are_whole_units_with_a_half_rounded_up() -> None:
    made = basket(line("b", "1.25", "0.5"), line("a", "0.333", "3"), line("c", "1.24", "0.5"), shipping="4.995")
    assert [(each.line_id, amount) for each, amount in zip(made.lines, made.amounts, strict=True)] == [
        *(("a", 100), ("b", 63), ("c", 62))
    ]
    assert made.shipping_units == 500
    assert basket(line("a", "2.5"), unit=Decimal(1)).amounts == (3,)
    assert basket(line("a", "1.234"), unit=Decimal("0.001")).amounts == (1234,)


def test_the_longest_numbers_are_exact() -> None:
    long = basket(line("a", "99999999.999", "999.999"), unit=Decimal("0.001"))
    assert long.amounts == (99_999_899_999_000,)  # 99,999,899,999.000001


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"quantity": Decimal("-1")}, "line l1, quantity: expected a number from 0 up, not -1"),
        ({"quantity": Decimal("NaN")}, "line l1, quantity: expected a number, not NaN"),
        ({"unit_price": Decimal("Infinity")}, "line l1, unit_price: expected a number, not Infinity"),
        ({"unit_price": Decimal("-0.01")}, "line l1, unit_price: expected a number from 0 up"),
        ({"unit_price": Decimal("0.0001")}, "line l1, unit_price: expected at most 3 digits after the decimal point"),
        ({"unit_price": Decimal(10) ** 11}, "line l1, unit_price: expected at most 11 digits before the decimal point"),
        ({"quantity": 1.5}, "line l1, quantity: expected a Decimal, not float"),
    ],
)
def test_a_line_that_cannot_be(fields: dict[str, Any], problem: str) -> None:
    good = {"quantity": Decimal(1), "unit_price": Decimal(1)}
    with pytest.raises(ValueError, match=problem):
        BasketLine("l1", "p1", frozenset(), "", **{**good, **fields})


@pytest.mark.parametrize(
    ("lines", "shipping", "unit", "problem"),
    [
        ([line("l1", "1"), line("l1", "2")], "0", "0.01", "line l1, line_id: expected once in a basket, not 2 times"),
        ([line("l1", "99999999999", "2")], "0", "0.01", "line l1, quantity × unit_price: expected at most 11 digits"),
        ([], "-1", "0.01", "shipping: expected a number from 0 up"),
        ([], "0", "0.05", "unit: expected 1, 0.1, 0.01 or 0.001, not 0.05"),
        ([line(f"l{n}", "1") for n in range(MOST_LINES + 1)], "0", "1", "lines: expected at most 500, not 501"),
    ],
)
def test_a_basket_that_cannot_be(lines: list[BasketLine], shipping: str, unit: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Basket(tuple(lines), Decimal(shipping), Decimal(unit))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"discount_value": Decimal(-1)}, "coupon c1, discount_value: expected a number from 0 up"),
        ({"max_discount": Decimal("NaN")}, "coupon c1, max_discount: expected a number"),
        ({"min_spend": Decimal("0.0001")}, "coupon c1, min_spend: expected at most 3 digits after"),
        ({"budget_left": Decimal("NaN")}, "coupon c1, budget_left: expected a number"),
        ({"ends_at": datetime(2024, 3, 1)}, "coupon c1, ends_at: expected a moment with a time zone"),
    ],
)
def test_a_coupon_that_cannot_be(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Offer("c1", **fields)


@pytest.mark.parametrize(
    ("targets", "held"),
    [
        (Targets(), "abc"),
        (Targets(products=frozenset({"a", "z"})), "a"),
        (Targets(categories=frozenset({"food"})), "ab"),
        (Targets(categories=frozenset({"ice"})), "a"),
        (Targets(brands=frozenset({"polar"})), "b"),
        (Targets(brands=frozenset({""})), ""),
        (Targets(frozenset({"c"}), frozenset({"ice"}), frozenset({"polar"})), "abc"),
    ],
)
def test_what_a_coupon_is_for(targets: Targets, held: str) -> None:
    lines = (line("a", "1", categories="food ice"), line("b", "1", categories="food", brand="polar"), line("c", "1"))
    assert "".join(each.line_id for each in lines if targets.hold(each)) == held


@pytest.mark.parametrize(
    ("currency", "unit"),
    [("EUR", "0.01"), ("USD", "0.01"), ("CNY", "0.01"), ("JPY", "1"), ("KWD", "0.001"), ("CLF", "0.001")],
)
def test_the_smallest_unit_of_a_currency(currency: str, unit: str) -> None:
    assert str(smallest_unit(currency)) == unit


@pytest.mark.parametrize("currency", ["EURO", "eur", "", "ZZZ"])
def test_no_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="Expected an ISO 4217 code such as EUR"):
        smallest_unit(currency)
