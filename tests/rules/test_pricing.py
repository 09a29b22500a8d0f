"""Examples of docs/coupon-rules.md, worked out by hand."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from recommender.rules.basket import Basket
from recommender.rules.offer import Offer, Targets
from recommender.rules.pricing import MOST_COUPONS, price
from recommender.rules.refusal import Refusal, RefusalCode
from tests.rules.shop import amount, basket, buy_get, free_shipping, line, offer, percent, products

THREE = basket(line("a", "10.00"), line("b", "20.00"), line("c", "0.03"), shipping="4.90")


def applied(of: Basket, *asked: Offer) -> dict[str, dict[str, str]]:
    """What each coupon takes off by line; "" is the shipping."""
    outcome = price(of, asked)
    told = {}
    for each in outcome.applied:
        shares = dict(each.by_line) | ({"": each.shipping_discount} if each.shipping_discount else {})
        assert each.discount == sum(shares.values())
        told[each.coupon_id] = {line_id: str(share) for line_id, share in shares.items()}
    return told


def refused(of: Basket, *asked: Offer) -> dict[str, tuple[str, dict[str, Any]]]:
    return {each.coupon_id: (str(each.code), dict(each.facts)) for each in price(of, asked).refused}


# One coupon


def test_percent_of_what_it_is_for() -> None:
    assert applied(THREE, percent("p", "12.5")) == {"p": {"a": "1.25", "b": "2.50"}}
    assert applied(THREE, percent("p", "10", targets=products("a", "elsewhere"))) == {"p": {"a": "1.00"}}
    assert applied(THREE, percent("p", "100")) == {"p": {"a": "10.00", "b": "20.00", "c": "0.03"}}


def test_the_total_is_rounded_half_up_and_shared_out_by_largest_remainder() -> None:
    """15 % of 3 × 0.10 is 0.045: 0.05, of which a third is 0.0166…: two lines have 0.02, the last 0.01."""
    thirds = basket(line("c", "0.10"), line("a", "0.10"), line("b", "0.10"))
    assert applied(thirds, percent("p", "15")) == {"p": {"a": "0.02", "b": "0.02", "c": "0.01"}}
    assert applied(thirds, percent("p", "14.999")) == {"p": {"a": "0.02", "b": "0.01", "c": "0.01"}}
    uneven = basket(line("a", "1.00"), line("b", "0.01"), line("c", "0.02"))
    assert applied(uneven, amount("m", "0.50")) == {"m": {"a": "0.49", "c": "0.01"}}


@pytest.mark.parametrize(("unit", "expected"), [("1", "2"), ("0.1", "1.5"), ("0.01", "1.50"), ("0.001", "1.500")])
def test_rounding_is_to_the_unit_of_the_currency(unit: str, expected: str) -> None:
    assert applied(basket(line("a", "15"), unit=Decimal(unit)), percent("p", "10")) == {"p": {"a": expected}}


def test_an_amount_is_shared_out_by_what_lines_cost_and_stops_there() -> None:
    assert applied(THREE, amount("m", "6.00", targets=products("a", "b"))) == {"m": {"a": "2.00", "b": "4.00"}}
    assert applied(THREE, amount("m", "50")) == {"m": {"a": "10.00", "b": "20.00", "c": "0.03"}}
    assert applied(THREE, amount("m", "0.005")) == {"m": {"b": "0.01"}}
    assert refused(THREE, amount("m", "0.004")) == {"m": ("nothing_to_take_off", {})}


def test_no_more_than_the_maximum() -> None:
    assert applied(THREE, percent("p", "50", max_discount="9.999", targets=products("a", "b"))) == {
        "p": {"a": "3.33", "b": "6.66"}
    }
    assert applied(THREE, free_shipping("f", max_discount="4.50")) == {"f": {"": "4.50"}}
    assert applied(THREE, buy_get("g", 1, 1, max_discount="5", targets=products("a", "b"))) == {"g": {"a": "5.00"}}
    assert refused(THREE, percent("p", "50", max_discount="0")) == {"p": ("nothing_to_take_off", {})}


def test_free_shipping() -> None:
    assert applied(THREE, free_shipping("f")) == {"f": {"": "4.90"}}
    assert applied(THREE, free_shipping("f", targets=products("a"))) == {"f": {"": "4.90"}}
    assert refused(THREE, free_shipping("f", targets=products("z"))) == {"f": ("nothing_it_is_for", {})}
    assert refused(basket(line("a", "1")), free_shipping("f")) == {"f": ("nothing_to_take_off", {})}


@pytest.mark.parametrize(
    ("buy", "get", "value", "expected"),
    [
        (1, 1, None, {"b": "3.00", "d": "1.00"}),  # 4 3 3 | 1: (4 3) (3 1)
        (2, 1, None, {"b": "3.00"}),
        (3, 1, None, {"d": "1.00"}),
        (1, 2, None, {"b": "6.00"}),  # (4 3 3) (1)
        (2, 2, None, {"b": "3.00", "d": "1.00"}),
        (1, 9, None, {"b": "6.00", "d": "1.00"}),  # a group that gets fewer
        (1, 1, "50", {"b": "1.50", "d": "0.50"}),
        (2, 1, "33.333", {"b": "1.00"}),
    ],
)
def test_buy_some_get_some(buy: int, get: int, value: str | None, expected: dict[str, str]) -> None:
    """Items of 4, 3, 3 and 1; what is sold by weight counts by whole pieces."""
    made = basket(line("d", "1.00", "1.999"), line("b", "3.00", "2"), line("a", "4.00"))
    assert applied(made, buy_get("g", buy, get, value)) == {"g": expected}


def test_buy_some_get_some_needs_more_than_what_is_bought() -> None:
    made = basket(line("a", "4.00"), line("b", "3.00", "1.5"), line("c", "1.00", "5"))
    assert refused(made, buy_get("g", 2, 1, targets=products("a", "b"))) == {
        "g": ("too_few_items", {"needed": 3, "items": 2})
    }


def test_a_million_items_are_not_counted_one_by_one() -> None:
    made = basket(line("a", "0.02", "900000000"), line("b", "0.01", "300000000"))
    assert applied(made, buy_get("g", 2, 1)) == {"g": {"a": "6000000.00", "b": "1000000.00"}}


def test_what_has_no_quantity_is_not_in_the_basket() -> None:
    assert refused(basket(line("a", "5", "0")), percent("p", "10")) == {"p": ("nothing_it_is_for", {})}
    assert refused(basket(), percent("p", "10")) == {"p": ("nothing_it_is_for", {})}
    assert refused(basket(line("a", "0")), percent("p", "10")) == {"p": ("nothing_to_take_off", {})}


def test_the_minimum_counts_what_the_coupon_is_for_before_any_coupon() -> None:
    on_a = {"targets": products("a"), "stackable": True}
    assert applied(THREE, percent("p", "10", min_spend="10.00", **on_a)) == {"p": {"a": "1.00"}}
    assert refused(THREE, percent("p", "10", min_spend="10.001", **on_a)) == {
        "p": (
            "minimum_spend_not_reached",
            {"min_spend": Decimal("10.01"), "spend": Decimal("10.00"), "missing": Decimal("0.01")},
        )
    }
    assert applied(THREE, percent("p", "10", min_spend="10", **on_a), amount("m", "9", **on_a)) == {
        "m": {"a": "9.00"},
        "p": {"a": "1.00"},
    }


@pytest.mark.parametrize(
    ("left", "code"), [("budget_left", "budget_used_up"), ("campaign_budget_left", "campaign_budget_used_up")]
)
def test_a_budget_that_does_not_pay_the_whole_refuses(left: str, code: str) -> None:
    assert applied(THREE, amount("m", "6", campaign_id="spring", **{left: "6.00"})) == {"m": {"a": "2.00", "b": "4.00"}}
    assert refused(THREE, amount("m", "6", campaign_id="spring", **{left: "5.999"})) == {"m": (code, {})}


def test_terms_that_are_not_known() -> None:
    assert refused(THREE, offer("o", None)) == {"o": ("terms_unknown", {})}


# Several


def test_a_coupon_that_is_not_stackable_is_used_alone_if_that_saves_more() -> None:
    made = basket(line("a", "10.00"))
    big, one, two = amount("big", "5"), amount("one", "2", stackable=True), amount("two", "2", stackable=True)
    assert applied(made, one, big, two) == {"big": {"a": "5.00"}}
    assert refused(made, one, big, two) == {
        "one": ("not_combinable", {"others": ["big"]}),
        "two": ("not_combinable", {"others": ["big"]}),
    }
    three = amount("three", "2", stackable=True)
    assert applied(made, one, big, two, three) == {name: {"a": "2.00"} for name in ("one", "three", "two")}
    assert refused(made, one, big, two, three) == {"big": ("not_combinable", {"others": ["one", "three", "two"]})}


def test_percents_are_of_the_price_before_any_coupon() -> None:
    made = basket(line("a", "10.00"))
    half, also = percent("half", "50", stackable=True), percent("also", "40", stackable=True)
    assert applied(made, half, also) == {"also": {"a": "4.00"}, "half": {"a": "5.00"}}
    assert applied(made, half, also, amount("m", "3", stackable=True)) == {
        "also": {"a": "4.00"},
        "half": {"a": "5.00"},
        "m": {"a": "1.00"},
    }


def test_coupons_together_take_no_more_than_a_line_or_the_shipping_costs() -> None:
    made = basket(line("a", "10.00"), line("b", "10.00"), shipping="4.90")
    whole, on_b = percent("whole", "60", stackable=True), percent("x", "70", stackable=True, targets=products("b"))
    assert applied(made, whole, on_b) == {"whole": {"a": "6.00", "b": "6.00"}, "x": {"b": "4.00"}}
    got = buy_get("got", 1, 1, stackable=True)
    assert applied(made, whole, got) == {"got": {"b": "10.00"}, "whole": {"a": "6.00"}}
    parts = [free_shipping(name, max_discount="3", stackable=True) for name in ("f", "g", "h")]
    assert applied(made, *parts) == {"f": {"": "3.00"}, "g": {"": "1.90"}}
    assert refused(made, *parts) == {"h": ("nothing_left_to_take_off", {"others": ["f", "g"]})}


def test_each_kind_in_its_turn() -> None:
    """Three for two, then 10 % of the prices, then an amount, then the shipping."""
    made = basket(line("a", "6.00", "2"), line("b", "3.00"), shipping="2.50")
    asked = [
        free_shipping("w", stackable=True),
        amount("x", "4", stackable=True),
        percent("y", "10", stackable=True),
        buy_get("z", 2, 1, stackable=True),
    ]
    assert applied(made, *asked) == {
        "w": {"": "2.50"},
        "x": {"a": "4.00"},
        "y": {"a": "1.20"},
        "z": {"b": "3.00"},
    }


def test_of_amounts_those_for_the_least_come_first() -> None:
    made = basket(line("a", "10.00"), line("b", "10.00"))
    wide, narrow = amount("1", "8", stackable=True), amount("2", "6", stackable=True, targets=products("a"))
    assert applied(made, wide, narrow) == {"1": {"a": "2.29", "b": "5.71"}, "2": {"a": "6.00"}}


def test_an_amount_gives_way_to_one_that_has_no_other_line() -> None:
    """By proportion alone the narrower would leave 2 on b, and 12 for the other. It takes 1 more of c instead."""
    made = basket(line("a", "10.00"), line("b", "10.00"), line("c", "5.00"))
    narrower = amount("narrower", "12", stackable=True, targets=products("b", "c"))
    assert applied(made, narrower) == {"narrower": {"b": "8.00", "c": "4.00"}}
    other = amount("other", "13", stackable=True, targets=products("a", "b"))
    assert applied(made, other, narrower) == {
        "narrower": {"b": "7.00", "c": "5.00"},
        "other": {"a": "10.00", "b": "3.00"},
    }


def test_of_a_group_the_one_that_saves_more() -> None:
    of_group = {"stackable": True, "exclusion_group": "welcome"}
    made = basket(line("a", "10.00"))
    asked = [amount("one", "2", **of_group), amount("two", "3", **of_group), amount("free", "1", stackable=True)]
    assert applied(made, *asked) == {"free": {"a": "1.00"}, "two": {"a": "3.00"}}
    assert refused(made, *asked) == {"one": ("one_of_its_group", {"others": ["two"]})}


def test_coupons_of_a_campaign_share_its_budget() -> None:
    shared = {"stackable": True, "campaign_id": "spring", "campaign_budget_left": "5"}
    made = basket(line("a", "10.00"))
    asked = [amount("one", "2", **shared), amount("two", "3", **shared), amount("three", "1", **shared)]
    assert applied(made, *asked) == {"one": {"a": "2.00"}, "two": {"a": "3.00"}}
    assert refused(made, *asked) == {"three": ("campaign_budget_used_up", {})}


def test_a_coupon_that_adds_nothing_is_kept_for_another_time() -> None:
    made = basket(line("a", "10.00"))
    asked = [percent("all", "100", stackable=True), amount("more", "5", stackable=True)]
    assert applied(made, *asked) == {"all": {"a": "10.00"}}
    assert refused(made, *asked) == {"more": ("nothing_left_to_take_off", {"others": ["all"]})}


def test_of_sets_that_save_the_same_the_one_of_fewest_coupons() -> None:
    made = basket(line("a", "10.00"))
    small = [amount(f"s{number}", "2", stackable=True) for number in range(6)]
    assert list(applied(made, *small)) == ["s0", "s1", "s2", "s3", "s4"]
    assert list(applied(made, *small, amount("half", "6", stackable=True))) == ["half", "s0", "s1"]
    group = {"stackable": True, "exclusion_group": "g"}
    pair = [amount("x", "7", **group), amount("y", "6", **group)]
    assert list(applied(made, *small[:5], *pair)) == ["s0", "s1", "x"]
    assert list(applied(made, *small, amount("z", "10"))) == ["z"]


def test_of_equals_the_one_that_ends_sooner_then_the_first_by_its_identifier() -> None:
    made = basket(line("a", "10.00"))
    soon, later = (datetime(2024, 3, day, tzinfo=UTC) for day in (1, 2))
    asked = [amount("a", "5"), amount("b", "5", ends_at=later), amount("d", "5", ends_at=soon)]
    assert list(applied(made, *asked, amount("c", "5", ends_at=soon))) == ["c"]
    assert list(applied(made, *asked)) == ["d"]
    assert list(applied(made, *asked[:2])) == ["b"]
    assert list(applied(made, amount("b", "5"), amount("a", "5"))) == ["a"]


def test_as_many_as_may_be_asked_for() -> None:
    made = basket(*(line(f"l{number}", "1.00") for number in range(MOST_COUPONS)))
    asked = [amount(f"c{number}", "0.50", stackable=True) for number in range(MOST_COUPONS)]
    assert price(made, asked).discount == Decimal("4.00")
    with pytest.raises(ValueError, match="coupons: expected at most 8, not 9"):
        price(made, [*asked, amount("c8", "1")])
    with pytest.raises(ValueError, match="coupon c0: expected once, not twice"):
        price(made, [asked[0], asked[0]])


def test_nothing_asked_is_nothing_given() -> None:
    outcome = price(THREE, [])
    assert (outcome.applied, outcome.refused, outcome.discount) == ((), (), 0)


def test_a_refusal_is_of_its_coupon() -> None:
    assert price(THREE, [percent("p", "10", targets=Targets(brands=frozenset({"polar"})))]).refused == (
        Refusal("p", RefusalCode.NO_TARGET),
    )
