"""What is said of campaigns and coupons that may not be meant so."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignSegment,
    CampaignShopper,
    Category,
    Coupon,
    CouponTarget,
    Product,
    Publication,
    Segment,
    Shopper,
)
from recommender.services.remarks import remark_on_campaign, remark_on_coupon
from tests.services.small_shop import add_run

NOW = datetime(2024, 3, 2, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


@pytest.fixture
def campaign(db: None) -> Campaign:
    return Campaign.objects.create(campaign_id="spring", starts_at=day(1), ends_at=day(11))


def add_coupon(campaign: Campaign | None = None, *targets: Product | Category | str, **fields: Any) -> Coupon:
    coupon = Coupon.objects.create(coupon_id=f"c{Coupon.objects.count() + 1}", **fields)
    if campaign is not None:
        CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    for target in targets:
        kind = {Product: "product", Category: "category"}.get(type(target), "brand")
        CouponTarget.objects.create(coupon=coupon, **{kind: target})
    return coupon


def of_campaign(campaign: Campaign) -> list[str]:
    return remark_on_campaign(campaign=campaign, now=NOW)


def of_coupon(coupon: Coupon) -> list[str]:
    return remark_on_coupon(coupon=coupon, now=NOW)


def test_nothing_is_said_of_what_is_in_order(campaign: Campaign) -> None:
    coupon = add_coupon(campaign, "brand", discount_type="percent", discount_value=10, budget=100)
    add_coupon(campaign, "other brand", discount_type="amount", discount_value=3, starts_at=day(0), ends_at=day(20))
    assert of_campaign(campaign) == []
    assert of_coupon(coupon) == []


def test_a_campaign_that_is_over_and_has_no_coupon(campaign: Campaign) -> None:
    campaign.starts_at, campaign.ends_at = day(-10), day(-1)
    assert of_campaign(campaign) == [
        "The campaign ended on March 1, 2024.",
        "The campaign has no coupon: there is nothing to recommend.",
    ]


def test_coupons_that_hold_at_other_times(campaign: Campaign) -> None:
    add_coupon(campaign, "a", ends_at=day(1), title="Early")
    add_coupon(campaign, "b", starts_at=day(11), title="Late")
    add_coupon(campaign, "c", starts_at=day(2), title="Partly")
    add_coupon(campaign, "d", active=False, title="Off")
    assert of_campaign(campaign) == [
        "Outside the window of the campaign, so that nobody gets them: Early, Late.",
        "They hold for a part of the campaign only: Partly.",
        "Not active, so that nobody gets them: Off.",
    ]


def test_many_coupons_are_counted(campaign: Campaign) -> None:
    for number in range(5):
        add_coupon(campaign, f"brand {number}", active=False)
    assert of_campaign(campaign) == ["Not active, so that nobody gets them: c1, c2, c3 and 2 others."]


def test_a_budget_below_a_single_use(campaign: Campaign) -> None:
    campaign.budget = 5
    add_coupon(campaign, "a", discount_type="amount", discount_value=6)
    add_coupon(campaign, "b", discount_type="percent", discount_value=6)
    add_coupon(campaign, "c", discount_type="percent", discount_value=6, max_discount=7)
    assert of_campaign(campaign) == ["The budget of the campaign does not pay for a single use of: c1, c3."]


def test_coupons_that_cannot_be_combined(campaign: Campaign) -> None:
    product, category = Product.objects.create(product_id="p"), Category.objects.create(path="Food")
    add_coupon(campaign, product, category)
    add_coupon(campaign, product, category, "brand")
    add_coupon(campaign, product, "brand", stackable=True)
    shared = "2 products, categories or brands have several coupons each that cannot be combined: "
    assert of_campaign(campaign) == [shared + "a shopper must choose one."]
    add_coupon(campaign)
    assert of_campaign(campaign)[0] == "Without a target, so that they hold for the whole shop: c4."
    assert of_campaign(campaign)[2].startswith("A coupon for the whole shop cannot be combined with the others")


def test_segments_that_are_not_used(campaign: Campaign) -> None:
    add_coupon(campaign, "brand")
    CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.get(name="New"))
    assert of_campaign(campaign) == []
    CampaignShopper.objects.create(campaign=campaign, shopper=Shopper.objects.create(shopper_id="s1"))
    Publication.objects.create(campaign=campaign, run=add_run(campaign), published_at=NOW)
    assert [remark.split(":")[0] for remark in of_campaign(campaign)] == [
        "The shop listed who gets this campaign",
        "Something of it was published",
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ends_at": day(0)}, "The coupon ended on March 2, 2024."),
        ({"active": False}, "The coupon is not active: it is neither recommended nor accepted."),
        (
            {"discount_value": None},
            "The discount is not known: what the coupon costs can be told from past uses only, and it cannot be used "
            "at the checkout.",
        ),
        (
            {"discount_type": "buy_x_get_y"},
            "How many to buy and to get is not known: the coupon cannot be used at the checkout.",
        ),
        (
            {"per_week_limit": 3, "per_shopper_limit": 2},
            "A limit per shopper is above that over a longer time and never reached.",
        ),
        (
            {"exclusion_group": "spring"},
            "“Only one of” changes nothing: a coupon that is not stackable is used alone anyway.",
        ),
        (
            {"group_size": 5, "group_hours": 24, "total_limit": 4},
            "The total limit is below the size of a group: not all of its shoppers can use the coupon.",
        ),
        (
            {"discount_type": "free_shipping", "discount_value": None, "max_discount": 4, "budget": 3},
            "The budget does not pay for a single use, which may take off 4.",
        ),
        ({"budget": 1}, "The budget does not pay for a single use, which may take off 3."),
        (
            {"per_shopper_limit": 3, "total_limit": 2},
            "The limit per shopper is above the total limit and never reached.",
        ),
    ],
)
def test_a_coupon(fields: dict[str, Any], expected: str) -> None:
    coupon = add_coupon(None, "brand", **{"discount_type": "amount", "discount_value": 3, **fields})
    assert of_coupon(coupon) == [expected]


def test_a_coupon_of_campaigns_at_other_times(campaign: Campaign) -> None:
    coupon = add_coupon(campaign, discount_type="free_shipping", starts_at=day(11))
    assert of_coupon(coupon) == [
        "The coupon has no target: it holds for the whole shop.",
        "It does not hold while these campaigns of it run: spring.",
    ]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"discount_type": "percent", "discount_value": 101},
            {"discount_value": ["More than 100 percent cannot be taken off."]},
        ),
        ({"discount_type": "amount", "discount_value": 101}, {}),
        ({"discount_value": -1}, {"discount_value": ["A discount is not below 0."]}),
        ({"starts_at": day(2), "ends_at": day(2)}, {"ends_at": ["The coupon must end after it starts."]}),
        (
            {"discount_type": "amount", "max_discount": 1},
            {"max_discount": ["“amount off” takes off what it says and has no maximum. Leave it empty."]},
        ),
        ({"discount_type": "buy_x_get_y", "max_discount": 1}, {}),
        ({"discount_type": "buy_x_get_y", "buy_quantity": 2, "get_quantity": 1, "discount_value": 100}, {}),
        (
            {"discount_type": "buy_x_get_y", "discount_value": 101},
            {"discount_value": ["More than 100 percent cannot be taken off."]},
        ),
        (
            {"discount_type": "buy_x_get_y", "buy_quantity": 2},
            {"get_quantity": ["Say how many to buy and how many to get, each from 1 up."]},
        ),
        (
            {"discount_type": "buy_x_get_y", "buy_quantity": 0, "get_quantity": 0},
            {
                "buy_quantity": ["Say how many to buy and how many to get, each from 1 up."],
                "get_quantity": ["Say how many to buy and how many to get, each from 1 up."],
            },
        ),
        (
            {"discount_type": "percent", "get_quantity": 1},
            {"get_quantity": ["Only “buy some, get some” uses this. Leave it empty."]},
        ),
        ({"min_spend": -1}, {"min_spend": ["An amount is not below 0."]}),
        ({"budget": -1}, {"budget": ["An amount is not below 0."]}),
        ({"group_size": 2, "group_hours": 1}, {}),
        ({"group_size": 3}, {"group_hours": ["A group has from 1 hour to a year to fill."]}),
        (
            {"group_hours": 8785},
            {
                "group_size": ["A group has at least 2 shoppers."],
                "group_hours": ["A group has from 1 hour to a year to fill."],
            },
        ),
        ({"discount_type": "percent", "max_discount": 1}, {}),
    ],
)
def test_what_a_coupon_cannot_be(fields: dict[str, Any], told: dict[str, list[str]]) -> None:
    coupon = Coupon(coupon_id="c", **fields)
    try:
        coupon.full_clean()
    except ValidationError as refusal:
        assert refusal.message_dict == told
    else:
        assert told == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"discount_type": "percent", "discount_value": 101},
        {"min_spend": -1},
        {"max_discount": -1},
        {"budget": -1},
        {"buy_quantity": 1},
        {"get_quantity": 1},
        {"buy_quantity": 0, "get_quantity": 1},
        {"group_size": 2},
        {"group_hours": 1},
        {"group_size": 1, "group_hours": 1},
        {"group_size": 2, "group_hours": 0},
        {"group_size": 2, "group_hours": 8785},
    ],
)
def test_the_database_refuses_it_too(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Coupon.objects.create(coupon_id="c", **fields)
    assert not Coupon.objects.exists()


@pytest.mark.parametrize("chosen", [{}, {"brand": "b", "product": True}])
def test_a_target_is_one_thing(chosen: dict[str, Any]) -> None:
    if "product" in chosen:
        chosen = chosen | {"product": Product.objects.create(product_id="p")}
    target = CouponTarget(coupon=add_coupon(), **chosen)
    with pytest.raises(ValidationError) as refusal:
        target.full_clean()
    assert refusal.value.message_dict == {"product": ["Choose one of product, category and brand, and one only."]}
