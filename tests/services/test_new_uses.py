"""Runs for incremental margin: what they are taught by, whom their lists are for, and where the past does not say."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Coupon,
    CouponTarget,
    Order,
    OrderLine,
    Product,
    Publication,
    Redemption,
    Run,
    Shop,
    Shopper,
)
from recommender.services.budgeting import Budget, BudgetRefused
from recommender.services.holdout import is_held_out
from recommender.services.new_uses import refuse_incremental_margin
from recommender.services.runs import compute_run, plan_run
from tests.services.small_shop import NOW, add_model_version, add_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

DAY = timedelta(days=1)
HALF = Decimal(50)
SHOPPERS = 900
PRICE, COST, OFF = 10, 4, 3
#: Who buys anyway, who buys because of a coupon, and who does neither.
LOYAL, CURIOUS, QUIET = (
    [number for number in range(SHOPPERS) if number % 5 in part] for part in ((0, 2), (1, 3), (4,))
)
Group, Origin = CampaignShopper.Group, CampaignShopper.Origin


@pytest.fixture
def shoppers() -> list[Shopper]:
    """All but the quiet often bought tea before any campaign, the curious with a coupon each time."""
    product = Product.objects.create(product_id="tea", cost=COST)
    coupon = Coupon.objects.create(coupon_id="tea", discount_type="amount", discount_value=OFF)
    CouponTarget.objects.create(coupon=coupon, product=product)
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"s{number}") for number in range(SHOPPERS))
    for week in range(5):
        at = NOW - timedelta(days=100 + 7 * week)
        buy([shoppers[number] for number in LOYAL], at)
        buy([shoppers[number] for number in CURIOUS], at, coupon=coupon)
    buy([shoppers[number] for number in QUIET], NOW - timedelta(days=130))
    return shoppers


@pytest.fixture
def campaign(shoppers: list[Shopper]) -> Campaign:
    """It is to come; two campaigns with holdouts are over."""
    hold(shoppers, "first", days_ago=90)
    hold(shoppers, "second", days_ago=45)
    buy(shoppers[:1], NOW - 5 * DAY)
    campaign = Campaign.objects.create(campaign_id="now", starts_at=NOW - DAY, ends_at=NOW + 20 * DAY)
    CampaignCoupon.objects.create(campaign=campaign, coupon=Coupon.objects.get())
    shop = Shop.current()
    shop.champion = add_model_version(learned_until=NOW - DAY)
    shop.save()
    return campaign


def buy(who: list[Shopper], at: Any, *, coupon: Coupon | None = None, campaign: Campaign | None = None) -> None:
    product, first = Product.objects.get(), Order.objects.count()
    orders = Order.objects.bulk_create(
        Order(order_id=f"o{first + number}", shopper=shopper, ordered_at=at) for number, shopper in enumerate(who)
    )
    off = 0 if coupon is None else OFF
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            position=0,
            product=product,
            quantity=1,
            amount=PRICE - off,
            coupon=coupon,
            coupon_discount=off,
        )
        for order in orders
    )
    if coupon is not None:
        Redemption.objects.bulk_create(
            Redemption(
                shopper=order.shopper,
                coupon=coupon,
                campaign=campaign,
                order=order,
                redeemed_at=at,
                discount_amount=off,
            )
            for order in orders
        )


def hold(shoppers: list[Shopper], campaign_id: str, *, days_ago: int, turned_round: bool = False) -> Campaign:
    """A campaign that half of the shoppers were held out of. Of those who were sent it the loyal use the coupon in what
    they buy anyway, and the curious buy because of it; the held out who are loyal buy without one. Turned round it is
    the curious who buy anyway."""
    begins = NOW - timedelta(days=days_ago)
    campaign = Campaign.objects.create(
        campaign_id=campaign_id,
        starts_at=begins,
        ends_at=begins + 28 * DAY,
        holdout_percent=HALF,
        assigned_at=begins,
    )
    coupon = Coupon.objects.get()
    CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    run = add_run(campaign, state=Run.State.SUPERSEDED)
    Publication.objects.create(campaign=campaign, run=run, published_at=begins, ended_at=campaign.ends_at)
    held_out = [is_held_out(campaign_id=campaign_id, shopper_id=each.shopper_id, percent=HALF) for each in shoppers]
    CampaignShopper.objects.bulk_create(
        CampaignShopper(
            campaign=campaign,
            shopper=shopper,
            origin=Origin.AUDIENCE,
            group=Group.CONTROL if is_out else Group.TREATMENT,
        )
        for shopper, is_out in zip(shoppers, held_out, strict=True)
    )
    buying = [*LOYAL, *CURIOUS]
    with_coupon = [shoppers[number] for number in buying if not held_out[number]]
    anyway = CURIOUS if turned_round else LOYAL
    buy(with_coupon, begins + DAY, coupon=coupon, campaign=campaign)
    buy([shoppers[number] for number in anyway if held_out[number]], begins + DAY)
    return campaign


def plan(campaign: Campaign, objective: Run.Objective = Run.Objective.INCREMENTAL_MARGIN) -> Run:
    return plan_run(campaign=campaign, as_of=NOW, top=1, budget=Budget(objective=objective))


def listed(run: Run) -> set[int]:
    """The numbers of the shoppers who have a list."""
    return {int(name[1:]) for name in run.recommendations.values_list("shopper__shopper_id", flat=True)}


def test_lists_are_for_whom_coupons_change(campaign: Campaign) -> None:
    run = compute_run(run=plan(campaign))
    terms = run.allocation_terms
    assert (terms["taught_by"], terms["lost_per_use"]) == ({"first": 0.5, "second": 0.5}, [OFF])
    assert terms["value_per_use"] == [PRICE - OFF - COST]
    assert run.objective == "incremental_margin"
    assert not listed(run) & set(LOYAL)
    assert listed(run) >= set(CURIOUS)

    by_margin = compute_run(run=plan(campaign, Run.Objective.MARGIN))
    assert listed(by_margin) >= set(LOYAL) | set(CURIOUS)
    assert (by_margin.allocation_terms["taught_by"], by_margin.allocation_terms["lost_per_use"]) == ({}, [])
    # It is that of the curious alone, and less than what all uses bring.
    assert 0 < run.allocation_value < by_margin.allocation_value


def test_what_a_seller_funds_loses_nothing(campaign: Campaign) -> None:
    Coupon.objects.update(funded_by="seller")
    terms = plan(campaign).allocation_terms
    assert (terms["lost_per_use"], terms["value_per_use"]) == ([0], [PRICE - COST])


def test_without_a_holdout_it_is_refused(campaign: Campaign) -> None:
    CampaignShopper.objects.filter(campaign__campaign_id="second").update(group=Group.TREATMENT)
    refuse(campaign, r"It takes 2 that are over, with 100 shoppers or more in both groups\. Choose margin for now")


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_at": NOW},
        {"holdout_percent": 0},
    ],
    ids=["is not known to be over", "drew nobody"],
)
def test_a_campaign_that_cannot_teach_is_left_out(campaign: Campaign, changes: dict[str, Any]) -> None:
    assert refuse_incremental_margin(at=NOW) is None
    Campaign.objects.filter(campaign_id="second").update(**changes)
    assert refuse_incremental_margin(at=NOW) is not None


def test_whom_the_shop_chose_to_hold_out_teaches_nothing(campaign: Campaign) -> None:
    CampaignShopper.objects.filter(campaign__campaign_id="first", group=Group.CONTROL).update(origin=Origin.SHOP)
    assert refuse_incremental_margin(at=NOW) is not None


def test_groups_that_may_not_be_compared_are_refused(campaign: Campaign) -> None:
    lost = CampaignShopper.objects.filter(campaign__campaign_id="second", group=Group.CONTROL)
    lost.filter(pk__in=list(lost.values_list("pk", flat=True)[::2])).delete()
    refuse(campaign, r"nobody used a coupon of second, or the groups differ in what they should not")


def test_what_does_not_hold_later_is_refused(shoppers: list[Shopper], campaign: Campaign) -> None:
    """In one campaign the curious bought because of it, in the next one the loyal did."""
    Campaign.objects.filter(campaign_id="first").update(holdout_percent=0)
    hold(shoppers, "third", days_ago=40, turned_round=True)
    refuse(campaign, r"do not surely tell who buys because of a coupon .*: second, third\.")


def refuse(campaign: Campaign, told: str) -> None:
    before = Run.objects.count()
    with pytest.raises(BudgetRefused, match=told):
        plan(campaign)
    assert Run.objects.count() == before
    assert compute_run(run=plan(campaign, Run.Objective.MARGIN)).state == Run.State.DRAFTED, "what it says to choose"
