"""What a campaign changed, in shops whose rows are known."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from recommender.ml.incrementality import Verdict
from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Category,
    Coupon,
    CouponTarget,
    Order,
    OrderLine,
    Product,
    Publication,
    Redemption,
    Run,
    Segment,
    SegmentCondition,
    Shopper,
)
from recommender.services.holdout import is_held_out
from recommender.services.incrementality import Change, Incrementality, has_holdout, measure_incrementality
from recommender.services.summaries import WhatChanged, find_incomparable
from tests.services.small_shop import add_run

pytestmark = pytest.mark.django_db

START = datetime(2024, 3, 1, tzinfo=UTC)
END = START + timedelta(days=28)
DAY = timedelta(days=1)
PERCENT = Decimal(30)
SHOPPERS = 500
Group, Origin = CampaignShopper.Group, CampaignShopper.Origin


def held_out(shopper_id: str, percent: Decimal = PERCENT) -> bool:
    return is_held_out(campaign_id="spring", shopper_id=shopper_id, percent=percent)


@pytest.fixture
def campaign() -> Campaign:
    """500 shoppers of whom 30 % are drawn to be held out, two products, and a coupon for each of them."""
    campaign = Campaign.objects.create(
        campaign_id="spring", starts_at=START, ends_at=END, holdout_percent=PERCENT, assigned_at=START
    )
    for name, cost in (("tea", 2), ("jam", 1)):
        product = Product.objects.create(product_id=name, cost=cost)
        coupon = Coupon.objects.create(coupon_id=name)
        CouponTarget.objects.create(coupon=coupon, product=product)
        CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    Product.objects.create(product_id="salt", cost=0)
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"s{number}") for number in range(SHOPPERS))
    CampaignShopper.objects.bulk_create(
        CampaignShopper(
            campaign=campaign,
            shopper=shopper,
            origin=Origin.AUDIENCE,
            group=Group.CONTROL if held_out(shopper.shopper_id) else Group.TREATMENT,
        )
        for shopper in shoppers
    )
    return campaign


def buy(
    who: Callable[[int, bool], bool],
    *lines: tuple[str, int],
    at: datetime = START + DAY,
    coupon: str = "",
    off: int = 0,
) -> None:
    """An order of each shopper whom ``who`` says, by number and whether they are held out; with a coupon, its use."""
    products = {product.product_id: product for product in Product.objects.all()}
    shoppers = {shopper.shopper_id: shopper for shopper in Shopper.objects.all()}
    buyers = [number for number in range(SHOPPERS) if who(number, held_out(f"s{number}"))]
    first = Order.objects.count()
    orders = Order.objects.bulk_create(
        Order(order_id=str(first + place), shopper=shoppers[f"s{number}"], ordered_at=at)
        for place, number in enumerate(buyers)
    )
    OrderLine.objects.bulk_create(
        OrderLine(order=order, position=position, product=products[product], quantity=1, amount=amount)
        for order in orders
        for position, (product, amount) in enumerate(lines)
    )
    if coupon:
        used, campaign = Coupon.objects.get(coupon_id=coupon), Campaign.objects.get()
        Redemption.objects.bulk_create(
            Redemption(
                shopper=order.shopper, coupon=used, campaign=campaign, order=order, redeemed_at=at, discount_amount=off
            )
            for order in orders
        )


def everybody(number: int, is_control: bool) -> bool:
    return True


def changes_of(found: Incrementality) -> dict[str, Change]:
    return {change.outcome: change for change in found.whole}


def test_a_campaign_that_brings_purchases(campaign: Campaign) -> None:
    """One of two buys tea anyway; every third of the treated buys it because of the coupon."""
    buy(lambda number, control: number % 2 == 0, ("tea", 10), ("salt", 1))
    buy(lambda number, control: not control and number % 3 == 0, ("tea", 8), coupon="tea", off=2)
    buy(everybody, ("salt", 5), at=END)  # the campaign is over

    found = measure_incrementality(campaign=campaign)

    treated = [number for number in range(SHOPPERS) if not held_out(f"s{number}")]
    assert (found.treated, found.held_out) == (len(treated), SHOPPERS - len(treated))
    assert (found.drawn, found.is_over, found.since, found.until) == (True, True, START, END)
    assert (found.expected_share, found.misplaced, found.comparable) == (0.3, 0, True)
    of_treated = sum((number % 2 == 0) + (number % 3 == 0) for number in treated) / len(treated)
    of_held_out = sum(number % 2 == 0 for number in range(SHOPPERS) if number not in treated) / found.held_out
    changes = changes_of(found)
    purchases = changes["purchases"]
    assert purchases.treated_mean == pytest.approx(of_treated)
    assert purchases.held_out_mean == pytest.approx(of_held_out)
    assert purchases.value == pytest.approx(len(treated) * (of_treated - of_held_out))
    assert purchases.low < len(treated) / 3 < purchases.high
    assert purchases.verdict == Verdict.MORE
    bought_extra = sum(number % 3 == 0 for number in treated)
    assert changes["uses"].value == pytest.approx(bought_extra)
    assert changes["revenue"].held_out_mean == pytest.approx(11 * of_held_out)
    assert changes["margin"].held_out_mean == pytest.approx(9 * of_held_out)
    assert found.anyway.whole == bought_extra
    assert found.anyway.low == 0
    assert found.discount_anyway.whole == 2 * bought_extra


def test_a_campaign_whose_coupons_are_used_by_those_who_buy_anyway(campaign: Campaign) -> None:
    buy(lambda number, control: number % 2 == 0 and control, ("tea", 10))
    buy(lambda number, control: number % 2 == 0 and not control, ("tea", 8), coupon="tea", off=2)

    found = measure_incrementality(campaign=campaign)

    changes = changes_of(found)
    assert changes["uses"].verdict == Verdict.MORE
    assert changes["purchases"].verdict == Verdict.NOT_ENOUGH
    assert changes["purchases"].low < 0 < changes["purchases"].high
    assert changes["margin"].value < 0
    assert found.anyway.low > 0.5 * found.anyway.whole
    assert found.anyway.high == pytest.approx(found.anyway.whole)
    assert found.discount_anyway.value == pytest.approx(2 * found.anyway.value)


def test_each_coupon_is_told_by_what_it_is_for(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10), ("salt", 3))
    buy(lambda number, control: not control, ("jam", 4), ("salt", 3), coupon="jam", off=1)

    found = measure_incrementality(campaign=campaign)

    assert [coupon.coupon_id for coupon, _changes in found.by_coupon] == ["jam", "tea"], "the most used first"
    jam, tea = ({change.outcome: change for change in changes} for _coupon, changes in found.by_coupon)
    assert (jam["purchases"].value, jam["revenue"].value) == (found.treated, 4 * found.treated)
    assert (jam["purchases"].treated_mean, jam["purchases"].held_out_mean) == (1, 0)
    assert (tea["purchases"].value, tea["revenue"].value) == (0, 0)
    assert (tea["revenue"].treated_mean, tea["revenue"].held_out_mean) == (10, 10)


def test_what_a_coupon_is_for_is_a_category_with_all_below_it_a_brand_or_the_whole_shop(campaign: Campaign) -> None:
    drinks = Category.objects.create(path="Drinks")
    Product.objects.filter(product_id="tea").update(
        category=Category.objects.create(path="Drinks / Hot", parent=drinks)
    )
    Product.objects.filter(product_id="salt").update(category=Category.objects.create(path="Drinks and more"))
    Product.objects.filter(product_id="jam").update(brand="Berry")
    CouponTarget.objects.all().delete()
    CouponTarget.objects.create(coupon=Coupon.objects.get(coupon_id="tea"), category=drinks)
    CouponTarget.objects.create(coupon=Coupon.objects.get(coupon_id="jam"), brand="Berry")
    whole = Coupon.objects.create(coupon_id="whole")
    buy(everybody, ("tea", 10), ("jam", 4), ("salt", 1))

    def paid() -> dict[str, float]:
        found = measure_incrementality(campaign=campaign)
        return {coupon.coupon_id: changes[1].treated_mean for coupon, changes in found.by_coupon}

    assert paid() == {"jam": 4, "tea": 10}
    CampaignCoupon.objects.create(campaign=campaign, coupon=whole)
    assert paid() == {"jam": 4, "tea": 10, "whole": 15}


def test_each_segment_is_told_by_its_members(campaign: Campaign) -> None:
    buy(lambda number, control: number < 100, ("salt", 1), at=START - DAY)
    buy(lambda number, control: not control and number < 100, ("tea", 10))
    segment = Segment.objects.create(name="buyers")
    SegmentCondition.objects.create(segment=segment, kind="orders", comparison="at_least", amount=1)
    Segment.objects.create(name="nobody")

    parts = {part.name: part for part in measure_incrementality(campaign=campaign).by_segment}

    assert "nobody" not in parts
    part = parts["buyers"]
    assert part.treated + part.held_out == 100
    assert [change.outcome for change in part.changes] == ["purchases", "revenue", "margin"]
    assert (part.changes[1].treated_mean, part.changes[1].held_out_mean) == (10, 0)


def test_an_unknown_cost_leaves_the_margin_out(campaign: Campaign) -> None:
    buy(everybody, ("salt", 5))
    assert "margin" in changes_of(measure_incrementality(campaign=campaign))
    Product.objects.filter(product_id="salt").update(cost=None)
    assert list(changes_of(measure_incrementality(campaign=campaign))) == ["uses", "purchases", "revenue"]


def test_a_discount_that_the_use_does_not_tell_is_that_of_the_order(campaign: Campaign) -> None:
    buy(lambda number, control: not control, ("tea", 8), coupon="tea", off=2)
    tea = Coupon.objects.get(coupon_id="tea")
    OrderLine.objects.update(coupon=tea, coupon_discount=3)
    treated = SHOPPERS - CampaignShopper.objects.filter(group=Group.CONTROL).count()

    assert measure_incrementality(campaign=campaign).discount_anyway.whole == 2 * treated
    Redemption.objects.update(discount_amount=None)
    assert measure_incrementality(campaign=campaign).discount_anyway.whole == 3 * treated


def test_what_was_spent_before_makes_it_surer(campaign: Campaign) -> None:
    for place in range(6):  # some buy much more than others, before and in the campaign
        buy(lambda number, control, place=place: number % 7 > place, ("tea", 10), at=START - DAY)
        buy(lambda number, control, place=place: number % 7 > place, ("tea", 10))
    buy(lambda number, control: not control and number % 2 == 0, ("tea", 10))
    surer = changes_of(measure_incrementality(campaign=campaign))["revenue"]
    assert surer.verdict == Verdict.MORE

    Order.objects.filter(ordered_at__lt=START).update(ordered_at=START - 29 * DAY)  # longer ago than the window is long
    plain = changes_of(measure_incrementality(campaign=campaign))["revenue"]
    assert plain.high - plain.low > 2 * (surer.high - surer.low)


# Looking early


def test_while_it_runs_intervals_are_those_that_hold_at_every_look(campaign: Campaign) -> None:
    buy(lambda number, control: number % 2 == 0, ("tea", 10))
    buy(lambda number, control: number == 0, ("salt", 1), at=START + 14 * DAY)  # as far as data go
    running = measure_incrementality(campaign=campaign)
    buy(lambda number, control: number == 0, ("salt", 1), at=END)
    over = measure_incrementality(campaign=campaign)

    assert (running.is_over, running.until) == (False, START + 14 * DAY + timedelta.resolution)
    assert over.is_over
    early, late = (changes_of(found)["purchases"] for found in (running, over))
    assert early.value == late.value
    assert (early.high - early.low) / (late.high - late.low) == pytest.approx(3.084 / 1.97, rel=0.005)


def test_before_anything_was_bought_there_is_nothing_to_say(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10), at=START - DAY)
    found = measure_incrementality(campaign=campaign)
    assert (found.whole, found.by_coupon, found.anyway, found.comparable) == ([], [], None, True)
    buy(everybody, ("tea", 10), at=START + DAY)
    assert measure_incrementality(campaign=campaign, now=START).whole == []


def test_what_was_bought_before_the_lists_were_published_is_the_time_before(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10), at=START + DAY)
    buy(everybody, ("tea", 7), at=START + 3 * DAY)
    run = add_run(campaign, state=Run.State.PUBLISHED)
    Publication.objects.create(campaign=campaign, run=run, published_at=START + 2 * DAY)

    found = measure_incrementality(campaign=campaign, now=END)

    assert found.since == START + 2 * DAY
    assert changes_of(found)["revenue"].treated_mean == 7


# Whether the groups may be compared


def test_without_a_holdout_nothing_is_claimed(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10))
    CampaignShopper.objects.update(group=Group.TREATMENT)

    found = measure_incrementality(campaign=campaign)

    assert not has_holdout(campaign=campaign)
    assert found == Incrementality(campaign, treated=SHOPPERS, held_out=0)


def test_whom_the_shop_held_out_is_compared_and_said_to_be(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10))
    CampaignShopper.objects.update(origin=Origin.SHOP)

    found = measure_incrementality(campaign=campaign)

    assert (found.drawn, found.expected_share, found.size_p_value, found.misplaced) == (False, None, None, 0)
    assert found.held_out > 100
    assert found.whole


def test_whom_the_shop_held_out_is_left_out_where_others_were_drawn(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10))
    drawn = measure_incrementality(campaign=campaign)
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"other{number}") for number in range(300))
    CampaignShopper.objects.bulk_create(
        CampaignShopper(campaign=campaign, shopper=shopper, group=Group.CONTROL, origin=Origin.SHOP)
        for shopper in shoppers
    )

    found = measure_incrementality(campaign=campaign)

    assert (found.treated, found.held_out, found.comparable) == (drawn.treated, drawn.held_out, True)
    assert found.whole == drawn.whole


def test_shoppers_lost_from_one_group_are_noticed(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10))
    lost = campaign.campaign_shoppers.filter(group=Group.CONTROL).order_by("pk").values_list("pk", flat=True)[:75]
    CampaignShopper.objects.filter(pk__in=list(lost)).delete()

    found = measure_incrementality(campaign=campaign)

    assert (found.misplaced, found.expected_share) == (0, 0.3)
    assert found.size_p_value < 0.001
    assert found.sizes_mismatch
    assert not found.comparable


def test_a_shopper_who_passed_to_the_other_group_is_noticed(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10))
    moved = campaign.campaign_shoppers.filter(group=Group.CONTROL).order_by("pk")[:2]
    CampaignShopper.objects.filter(pk__in=[row.pk for row in moved]).update(group=Group.TREATMENT)

    found = measure_incrementality(campaign=campaign)

    assert (found.misplaced, found.expected_share, found.comparable) == (2, 0.3, False)


@pytest.mark.parametrize("now", [0, 5, 60])
def test_a_share_that_was_changed_after_the_groups_were_fixed_is_no_mismatch(campaign: Campaign, now: int) -> None:
    buy(everybody, ("tea", 10))
    Campaign.objects.update(holdout_percent=now)
    campaign.refresh_from_db()

    found = measure_incrementality(campaign=campaign)

    assert found.misplaced == 0
    assert found.expected_share == pytest.approx(0.3, abs=0.02)
    assert found.comparable


def test_groups_that_differed_before_the_campaign_are_noticed(campaign: Campaign) -> None:
    buy(lambda number, control: number % (5 if control else 2) == 0, ("tea", 10), at=START - DAY)
    buy(everybody, ("tea", 10))

    found = measure_incrementality(campaign=campaign)

    assert not found.sizes_mismatch
    assert found.before_p_value < 0.001
    assert found.differed_before
    assert not found.comparable


def test_the_latest_campaigns_that_cannot_be_compared_are_found(campaign: Campaign) -> None:
    buy(everybody, ("tea", 10), at=START + DAY)
    assert find_incomparable() == []
    WhatChanged(campaign).sum_up()
    assert find_incomparable() == [], "it is long over"

    now = datetime.now(tz=UTC)
    Campaign.objects.update(starts_at=now - 3 * DAY, ends_at=now + DAY)
    Order.objects.update(ordered_at=now - DAY)
    campaign.refresh_from_db()
    WhatChanged(campaign).sum_up()
    assert find_incomparable() == []

    row = campaign.campaign_shoppers.filter(group=Group.CONTROL).first()
    CampaignShopper.objects.filter(pk=row.pk).update(group=Group.TREATMENT)
    WhatChanged(campaign).sum_up()
    [found] = find_incomparable()
    assert (found.campaign, found.misplaced) == (campaign, 1)
