"""Which campaigns stand where in a span of days, and which of them meet."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from recommender.models import Campaign, CampaignCoupon, CampaignSegment, CampaignShopper, Coupon, Segment, Shopper
from recommender.services.calendar import CalendarRow, list_calendar

BERLIN = ZoneInfo("Europe/Berlin")

pytestmark = pytest.mark.django_db


def add_campaign(name: str, first: date, last: date) -> Campaign:
    """Whole days in Berlin."""
    return Campaign.objects.create(
        campaign_id=name,
        starts_at=datetime(first.year, first.month, first.day, tzinfo=BERLIN),
        ends_at=datetime(last.year, last.month, last.day, tzinfo=BERLIN) + timedelta(days=1),
    )


def march() -> list[CalendarRow]:
    return list_calendar(first=date(2024, 3, 1), until=date(2024, 4, 1), zone=BERLIN)


def places() -> list[tuple[str, int, int, int]]:
    return [(row.campaign.campaign_id, row.before, row.days, row.after) for row in march()]


def meetings() -> dict[str, list[tuple[str, int, list[str]]]]:
    return {
        row.campaign.campaign_id: [(str(one.campaign), one.days, one.in_common) for one in row.meetings]
        for row in march()
    }


def test_campaigns_stand_on_their_days_of_the_shops_clock() -> None:
    add_campaign("over", date(2024, 2, 1), date(2024, 2, 29))
    add_campaign("long", date(2024, 2, 1), date(2024, 5, 1))
    add_campaign("from before", date(2024, 2, 20), date(2024, 3, 1))
    add_campaign("within", date(2024, 3, 5), date(2024, 3, 6))
    add_campaign("into the next", date(2024, 3, 31), date(2024, 4, 2))
    add_campaign("to come", date(2024, 4, 1), date(2024, 4, 2))
    noon = datetime(2024, 3, 10, 11, tzinfo=UTC)
    Campaign.objects.create(campaign_id="noon to noon", starts_at=noon, ends_at=noon + timedelta(days=1))
    assert places() == [
        ("long", 0, 31, 0),
        ("from before", 0, 1, 30),
        ("within", 4, 2, 25),
        ("noon to noon", 9, 2, 20),
        ("into the next", 30, 1, 0),
    ]


def test_campaigns_meet_in_days_shoppers_and_coupons() -> None:
    first = add_campaign("first", date(2024, 3, 1), date(2024, 3, 10))
    second = add_campaign("second", date(2024, 3, 10), date(2024, 3, 20))
    add_campaign("alone", date(2024, 3, 21), date(2024, 3, 22))
    assert meetings() == {
        "first": [("second", 1, ["one of them is for everyone"])],
        "second": [("first", 1, ["one of them is for everyone"])],
        "alone": [],
    }
    coupon = Coupon.objects.create(coupon_id="c")
    for campaign, name in ((first, "New"), (second, "Loyal")):
        CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.get(name=name))
        CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    assert meetings()["first"][0][2] == ["different segments, which may share shoppers", "1 coupon is in both"]
    CampaignSegment.objects.create(campaign=second, segment=Segment.objects.get(name="New"))
    assert meetings()["first"][0][2] == ["both are for “New”", "1 coupon is in both"]
    CampaignShopper.objects.create(campaign=first, shopper=Shopper.objects.create(shopper_id="s"))
    assert meetings()["first"][0][2] == ["listed shoppers may get both", "1 coupon is in both"]


def test_campaigns_that_meet_in_the_day_but_not_in_the_hour_do_not_overlap() -> None:
    first = add_campaign("first", date(2024, 3, 1), date(2024, 3, 10))
    first.ends_at = datetime(2024, 3, 10, 11, tzinfo=UTC)
    first.save()
    Campaign.objects.create(campaign_id="second", starts_at=first.ends_at, ends_at=first.ends_at + timedelta(days=5))
    assert meetings() == {"first": [], "second": []}


def test_many_campaigns_take_as_many_queries_as_few() -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            march()
        return len(queries)

    for number in range(2):
        campaign = add_campaign(str(number), date(2024, 3, 1), date(2024, 3, 10))
        CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.get(name="New"))
    few = count()
    for number in range(2, 30):
        campaign = add_campaign(str(number), date(2024, 3, 1), date(2024, 3, 10))
        CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.get(name="New"))
    assert count() == few == 4
