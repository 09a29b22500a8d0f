"""How a campaign begins: proposals by the shop's clock, and copies."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignSegment,
    CampaignShopper,
    Coupon,
    Segment,
    Shop,
    Shopper,
)
from recommender.services.campaigns import (
    IdentifierTaken,
    duplicate_campaign,
    propose_campaign,
    propose_copy,
    propose_coupon,
)

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2024, 3, 2, 3, tzinfo=UTC)  # the evening of 1 March in New York

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop(db: None) -> None:
    Shop(time_zone="America/New_York").save()


@pytest.fixture
def campaign() -> Campaign:
    campaign = Campaign.objects.create(
        campaign_id="spring",
        name="Spring",
        kind="A",
        starts_at=datetime(2024, 2, 1, tzinfo=NEW_YORK),
        ends_at=datetime(2024, 2, 29, tzinfo=NEW_YORK),
        budget=Decimal("100.5"),
        holdout_percent=Decimal("12.5"),
        one_per_category=True,
    )
    for coupon_id in ("c2", "c1"):
        CampaignCoupon.objects.create(campaign=campaign, coupon=Coupon.objects.create(coupon_id=coupon_id))
    for name, excluded in (("Loyal", False), ("New", True)):
        CampaignSegment.objects.create(
            campaign=campaign,
            segment=Segment.objects.get(name=name),
            excluded=excluded,
            at_least_uses=None if excluded else 20,
        )
    CampaignShopper.objects.create(campaign=campaign, shopper=Shopper.objects.create(shopper_id="s1"))
    return campaign


def test_a_campaign_begins_on_the_next_full_day_of_the_shop() -> None:
    assert propose_campaign(now=NOW) == {
        "campaign_id": "campaign-2024-03-02",
        "name": "Campaign of March 2, 2024",
        "starts_at": datetime(2024, 3, 2, tzinfo=NEW_YORK),
        # The clock was put forward on 10 March: midnight all the same.
        "ends_at": datetime(2024, 3, 16, tzinfo=NEW_YORK),
    }


def test_identifiers_that_are_taken_are_counted_on() -> None:
    for number in ("", "-2"):
        Coupon.objects.create(coupon_id=f"coupon-2024-03-01{number}")
    assert propose_coupon(now=NOW) == {"coupon_id": "coupon-2024-03-01-3", "per_shopper_limit": 1}


def test_a_copy_starts_when_the_campaign_is_over_and_not_in_the_past(campaign: Campaign) -> None:
    assert propose_copy(campaign=campaign, now=NOW) == {
        "campaign_id": "spring-copy",
        "name": "Spring",
        "starts_at": datetime(2024, 3, 2, tzinfo=NEW_YORK),
    }
    assert propose_copy(campaign=campaign, now=NOW - timedelta(days=20))["starts_at"] == campaign.ends_at


def test_a_copy_has_all_but_the_shoppers(campaign: Campaign) -> None:
    starts_at = datetime(2024, 3, 2, tzinfo=NEW_YORK)
    copy = duplicate_campaign(campaign=campaign, campaign_id="next", name="Next", starts_at=starts_at)
    copy.refresh_from_db()
    assert (copy.campaign_id, copy.name, copy.kind, copy.budget, copy.holdout_percent, copy.one_per_category) == (
        "next",
        "Next",
        "A",
        Decimal("100.5"),
        Decimal("12.5"),
        True,
    )
    # 28 days by the clock on the wall, one of which has 23 hours.
    assert (copy.starts_at, copy.ends_at) == (starts_at, datetime(2024, 3, 30, tzinfo=NEW_YORK))
    assert list(copy.coupons.order_by("campaign_coupons__pk").values_list("coupon_id", flat=True)) == ["c2", "c1"]
    assert list(copy.campaign_segments.order_by("pk").values_list("segment__name", "excluded", "at_least_uses")) == [
        ("Loyal", False, 20),
        ("New", True, None),
    ]
    assert not copy.campaign_shoppers.exists()


def test_an_identifier_is_given_once(campaign: Campaign) -> None:
    with pytest.raises(IdentifierTaken):
        duplicate_campaign(campaign=campaign, campaign_id="spring", name="", starts_at=NOW)
    assert Campaign.objects.count() == 1
