"""Random baskets and coupons against a slow reference, and what holds of all of them."""

from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from recommender.rules.basket import Basket
from recommender.rules.offer import Offer
from recommender.rules.pricing import Outcome, price
from tests.rules import reference
from tests.rules.strategies import PROVE, checkouts, examples, offers

# `make prove` runs them again with more examples.
pytestmark = [pytest.mark.prove] if PROVE else []

Checkout = tuple[Basket, list[Offer]]


def in_units(outcome: Outcome, basket: Basket) -> int:
    return int(outcome.discount / basket.unit)


@given(checkouts())
@examples(80, 2000)
def test_what_the_reference_says(checkout: Checkout) -> None:
    basket, asked = checkout
    outcome = price(basket, asked)
    note(f"{outcome}")

    expected, total = reference.best_set(asked, basket)
    assert {applied.coupon_id for applied in outcome.applied} == expected
    assert in_units(outcome, basket) == total
    by_itself = {offer.coupon_id: reference.alone(offer, basket) for offer in asked}
    codes = {refusal.coupon_id: refusal.code for refusal in outcome.refused}
    assert {coupon for coupon, found in by_itself.items() if isinstance(found, str)} <= set(codes)
    for coupon_id, found in by_itself.items():
        if isinstance(found, str):
            assert codes[coupon_id] == found


@given(checkouts(most_coupons=1))
@examples(60, 1000)
def test_a_coupon_alone_takes_off_each_line_what_the_reference_says(checkout: Checkout) -> None:
    basket, asked = checkout
    for offer, applied in zip(asked, price(basket, asked).applied, strict=False):
        shares = {line_id: units * basket.unit for line_id, units in reference.alone(offer, basket).items() if units}
        assert {**applied.by_line} | ({"": applied.shipping_discount} if applied.shipping_discount else {}) == shares


@given(checkouts(most_coupons=4, most_lines=3, most=3))
@examples(30, 500)
def test_no_order_and_no_laying_gives_more(checkout: Checkout) -> None:
    basket, asked = checkout
    basket = replace(basket, lines=tuple(replace(line, quantity=Decimal(1)) for line in basket.lines))
    free = {"stackable": True, "exclusion_group": "", "campaign_id": "", "budget_left": None, "sale_event": None}
    asked = [replace(offer, **free) for offer in asked]
    usable = [offer for offer in asked if not isinstance(reference.alone(offer, basket), str)]

    total = in_units(price(basket, asked), basket)
    assert total == reference.most_by_any_laying(usable, basket)
    assert total >= reference.most_in_any_order(usable, basket)


@given(checkouts())
@examples(60, 1000)
def test_nothing_is_below_0_or_above_what_it_is_taken_off(checkout: Checkout) -> None:
    basket, asked = checkout
    outcome = price(basket, asked)
    by_id = {offer.coupon_id: offer for offer in asked}

    for applied in outcome.applied:
        offer = by_id[applied.coupon_id]
        assert applied.discount > 0
        assert applied.discount == sum(applied.by_line.values()) + applied.shipping_discount
        assert all(amount > 0 and amount % basket.unit == 0 for amount in applied.by_line.values())
        assert applied.shipping_discount % basket.unit == 0
        assert (applied.shipping_discount > 0) == (offer.discount_type == "free_shipping")
        assert offer.max_discount is None or applied.discount <= offer.max_discount
        assert offer.budget_left is None or applied.discount <= offer.budget_left
        for line in basket.lines:
            assert line.line_id not in applied.by_line or reference.is_for(offer, line)
    for line, amount in zip(basket.lines, basket.amounts, strict=True):
        taken = sum(applied.by_line.get(line.line_id, Decimal(0)) for applied in outcome.applied)
        assert 0 <= taken <= amount * basket.unit
    assert sum(applied.shipping_discount for applied in outcome.applied) <= basket.shipping
    for campaign_id in {offer.campaign_id for offer in asked} - {""}:
        (left,) = {offer.campaign_budget_left for offer in asked if offer.campaign_id == campaign_id}
        spent = sum(each.discount for each in outcome.applied if by_id[each.coupon_id].campaign_id == campaign_id)
        assert left is None or spent <= left


@given(checkouts())
@examples(60, 1000)
def test_every_coupon_is_applied_or_refused_and_those_applied_go_together(checkout: Checkout) -> None:
    basket, asked = checkout
    outcome = price(basket, asked)

    told = [each.coupon_id for each in (*outcome.applied, *outcome.refused)]
    assert sorted(told) == sorted(offer.coupon_id for offer in asked)
    applied = [offer for offer in asked if offer.coupon_id in {each.coupon_id for each in outcome.applied}]
    assert reference.may_be_together(applied, basket)


@given(checkouts(most_coupons=3), st.randoms(use_true_random=False))
@examples(30, 500)
def test_the_order_of_coupons_and_lines_changes_nothing(checkout: Checkout, random: st.DataObject) -> None:
    basket, asked = checkout
    outcome = price(basket, asked)
    for order in permutations(asked):
        shuffled = list(basket.lines)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert price(replace(basket, lines=tuple(shuffled)), order) == outcome


@given(st.data())
@examples(60, 1000)
def test_another_coupon_never_makes_the_shopper_worse_off(data: st.DataObject) -> None:
    basket, asked = data.draw(checkouts(most_coupons=4))
    another = data.draw(offers("another", basket.unit, 1200))
    assert price(basket, [*asked, another]).discount >= price(basket, asked).discount


@given(checkouts())
@examples(30, 500)
def test_what_was_applied_is_applied_again_without_the_refused(checkout: Checkout) -> None:
    basket, asked = checkout
    outcome = price(basket, asked)
    accepted = {applied.coupon_id for applied in outcome.applied}
    again = price(basket, [offer for offer in asked if offer.coupon_id in accepted])
    assert (again.applied, again.refused) == (outcome.applied, ())
