"""What a campaign's report counts, on rows small enough to count by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Coupon,
    Event,
    Order,
    OrderLine,
    Product,
    Publication,
    Recommendation,
    Redemption,
    Run,
    Segment,
    SegmentCondition,
    Shop,
    Shopper,
)
from recommender.services.reporting import Day, Figures, Funnel, Money, report_campaign
from tests.services.small_shop import add_run

pytestmark = pytest.mark.django_db

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def campaign() -> Campaign:
    """Two coupons, three shoppers who are sent them (s1, s2, s3) and one who is held out (s4)."""
    campaign = Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START + 30 * DAY)
    for coupon_id in ("c1", "c2"):
        CampaignCoupon.objects.create(campaign=campaign, coupon=Coupon.objects.create(coupon_id=coupon_id))
    for number in (1, 2, 3, 4):
        group = CampaignShopper.Group.CONTROL if number == 4 else CampaignShopper.Group.TREATMENT
        shopper = Shopper.objects.create(shopper_id=f"s{number}")
        CampaignShopper.objects.create(campaign=campaign, shopper=shopper, group=group)
    return campaign


def add_event(kind: str, shopper: str, coupon: str, *, at: datetime = START, campaign: str = "spring") -> None:
    Event.objects.create(
        event_key=str(Event.objects.count()),
        kind=kind,
        shopper=Shopper.objects.get(shopper_id=shopper),
        coupon=Coupon.objects.get(coupon_id=coupon),
        campaign=Campaign.objects.get(campaign_id=campaign),
        occurred_at=at,
    )


def add_use(
    shopper: str, coupon: str, *, order: Order | None = None, at: datetime = START, discount: str | None = None
) -> None:
    Redemption.objects.create(
        shopper=Shopper.objects.get(shopper_id=shopper),
        coupon=Coupon.objects.get(coupon_id=coupon),
        campaign=Campaign.objects.get(campaign_id="spring"),
        order=order,
        redeemed_at=at,
        discount_amount=None if discount is None else Decimal(discount),
    )


def add_order(shopper: str, *lines: tuple[str, str | None, str], at: datetime = START) -> Order:
    """An order with lines, each an amount, the coupon that it names and that coupon's discount."""
    order = Order.objects.create(
        order_id=str(Order.objects.count()), shopper=Shopper.objects.get(shopper_id=shopper), ordered_at=at
    )
    product, _ = Product.objects.get_or_create(product_id="p")
    for position, (amount, coupon, discount) in enumerate(lines):
        OrderLine.objects.create(
            order=order,
            position=position,
            product=product,
            quantity=1,
            amount=Decimal(amount),
            coupon=coupon and Coupon.objects.get(coupon_id=coupon),
            coupon_discount=Decimal(discount),
        )
    return order


def publish(campaign: Campaign, *lists: tuple[str, str], excluded: tuple[tuple[str, str], ...] = ()) -> Run:
    run = add_run(campaign, state=Run.State.PUBLISHED)
    Publication.objects.filter(campaign=campaign).update(ended_at=START + DAY)
    Publication.objects.create(campaign=campaign, run=run, published_at=START)
    for rank, (shopper, coupon) in enumerate([*lists, *excluded], start=1):
        Recommendation.objects.create(
            run=run,
            shopper=Shopper.objects.get(shopper_id=shopper),
            coupon=Coupon.objects.get(coupon_id=coupon),
            rank=rank,
            score=0.5,
            excluded=(shopper, coupon) in excluded,
        )
    return run


def test_an_offer_counts_once_at_each_stage_however_often_it_gets_there(campaign: Campaign) -> None:
    for at in (START + 2 * DAY, START + DAY, START + 3 * DAY):  # the earlier one came in late
        add_event("impression", "s1", "c1", at=at)
    add_event("impression", "s1", "c2")
    add_event("impression", "s2", "c1")
    add_event("click", "s1", "c1")
    add_event("claim", "s1", "c1")
    add_event("dismiss", "s2", "c1")
    add_use("s1", "c1", at=START + 4 * DAY)
    add_use("s1", "c1", at=START + 5 * DAY)

    report = report_campaign(campaign=campaign)

    assert report.total.offers == Funnel(sent=6, seen=3, clicked=1, claimed=1, redeemed=1)
    assert report.shoppers == Funnel(sent=3, seen=2, clicked=1, claimed=1, redeemed=1)
    assert report.total.money.uses == 2
    assert report.by_day == [
        Day(date(2024, 3, 1), seen=2, clicked=1, claimed=1),
        Day(date(2024, 3, 2), seen=1),
        Day(date(2024, 3, 5), redeemed=1),
    ]


def test_what_happens_at_the_same_moment_twice_counts_once(campaign: Campaign) -> None:
    add_event("click", "s1", "c1")
    add_event("click", "s1", "c1")
    assert report_campaign(campaign=campaign).total.offers == Funnel(sent=6, clicked=1)


def test_a_day_begins_by_the_clock_of_the_shop(campaign: Campaign) -> None:
    Shop.current()
    Shop.objects.update(time_zone="Asia/Shanghai")
    add_event("click", "s1", "c1", at=datetime(2024, 3, 1, 15, 59, tzinfo=UTC))
    add_event("click", "s2", "c1", at=datetime(2024, 3, 1, 16, 0, tzinfo=UTC))
    days = report_campaign(campaign=campaign).by_day
    assert days == [Day(date(2024, 3, 1), clicked=1), Day(date(2024, 3, 2), clicked=1)]


@pytest.mark.parametrize("published", [False, True])
def test_who_is_held_out_is_sent_nothing_whatever_lists_and_events_say(campaign: Campaign, published: bool) -> None:
    if published:
        publish(campaign, ("s1", "c1"), ("s4", "c1"))
    add_event("impression", "s4", "c1")
    add_use("s4", "c1", order=add_order("s4", ("9", None, "0")), discount="2")

    report = report_campaign(campaign=campaign)

    assert report.total == Figures(Funnel(sent=1 if published else 6), Money())
    assert (report.shoppers.sent, report.held_out, report.other_uses) == (1 if published else 3, 1, 1)
    assert report.by_day == []


def test_what_was_published_is_what_was_sent(campaign: Campaign) -> None:
    publish(campaign, ("s1", "c1"), ("s2", "c1"))
    publish(campaign, ("s1", "c1"), ("s1", "c2"), excluded=(("s3", "c2"),))
    for shopper, coupon in (("s1", "c1"), ("s2", "c1"), ("s3", "c2"), ("s2", "c2")):
        add_event("click", shopper, coupon)
        add_use(shopper, coupon)

    report = report_campaign(campaign=campaign)

    assert report.total.offers == Funnel(sent=3, clicked=2, redeemed=2)
    assert report.shoppers == Funnel(sent=2, clicked=2, redeemed=2)
    assert report.other_uses == 2, "of what staff had taken out, and of what nobody offered"


def test_an_order_brings_its_revenue_once_and_to_each_of_its_coupons(campaign: Campaign) -> None:
    both = add_order("s1", ("10.50", "c1", "1.25"), ("4.25", None, "0"))
    add_order("s1", ("100", None, "0"))  # without a coupon
    add_use("s1", "c1", order=both)
    add_use("s1", "c1", order=both, at=START + DAY)
    add_use("s1", "c2", order=both, discount="0.75")
    add_use("s2", "c2")

    report = report_campaign(campaign=campaign)

    assert report.total.money == Money(
        uses=4, revenue=Decimal("14.75"), without_order=1, discount=Decimal("2.00"), unknown_discounts=1
    )
    assert [(coupon.coupon_id, figures) for coupon, figures in report.by_coupon] == [
        ("c2", Figures(Funnel(sent=3, redeemed=2), Money(2, Decimal("14.75"), 1, Decimal("0.75"), 1))),
        ("c1", Figures(Funnel(sent=3, redeemed=1), Money(2, Decimal("14.75"), 0, Decimal("1.25"), 0))),
    ]


def test_other_campaigns_do_not_count(campaign: Campaign) -> None:
    other = Campaign.objects.create(campaign_id="autumn", starts_at=START, ends_at=START + DAY)
    add_event("click", "s1", "c1", campaign="autumn")
    Redemption.objects.create(
        shopper=Shopper.objects.get(shopper_id="s1"),
        coupon=Coupon.objects.get(coupon_id="c1"),
        campaign=other,
        redeemed_at=START,
    )
    report = report_campaign(campaign=campaign)
    assert (report.total, report.other_uses) == (Figures(Funnel(sent=6)), 0)


def test_shoppers_are_told_apart_by_the_segments_they_were_in_when_it_began(campaign: Campaign) -> None:
    Segment.objects.all().delete()  # those to start with
    for name, comparison in (("Frequent", "at_least"), ("Rare", "at_most")):
        segment = Segment.objects.create(name=name)
        SegmentCondition.objects.create(segment=segment, kind="orders", comparison=comparison, amount=5, days=84)
    for number in range(6):
        add_order("s1", at=START - (number + 1) * DAY)
        add_order("s2", at=START + number * DAY)
        add_order("s3", at=START - (number + 90) * DAY)
    add_use("s1", "c1")
    add_use("s3", "c2")
    assert report_campaign(campaign=campaign).by_group == [
        ("Frequent", Figures(Funnel(sent=2, redeemed=1), Money(uses=1, without_order=1, unknown_discounts=1))),
        ("Rare", Figures(Funnel(sent=4, redeemed=1), Money(uses=1, without_order=1, unknown_discounts=1))),
    ]


def test_groups_can_be_given(campaign: Campaign) -> None:
    publish(campaign, ("s1", "c1"), ("s2", "c1"))
    add_event("click", "s2", "c1")
    report = report_campaign(campaign=campaign, groups={"new": Shopper.objects.filter(shopper_id="s2")})
    assert report.by_group == [("new", Figures(Funnel(sent=1, clicked=1)))]


def test_a_campaign_that_sent_nothing_has_a_report() -> None:
    empty = Campaign.objects.create(campaign_id="empty", starts_at=START, ends_at=START + DAY)
    report = report_campaign(campaign=empty)
    assert (report.total, report.shoppers, report.by_coupon, report.by_day) == (Figures(), Funnel(), [], [])
