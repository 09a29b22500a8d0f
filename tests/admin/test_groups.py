"""Open groups with their chances, whom to invite, and what came of groups."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import (
    Campaign,
    CampaignCoupon,
    Companion,
    Coupon,
    GroupBuy,
    GroupBuyMember,
    GroupModel,
    Shopper,
)
from recommender.services.checkout.groups import invite, join_group, start_group
from recommender.services.reporting import GroupFigures, report_campaign

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def campaign() -> Campaign:
    """Of four groups for two one filled after three hours, one failed, and two are open; two shoppers were invited, of
    whom one joined."""
    now = timezone.now()
    for name in ("anna", "ben", "cleo", "dan", "eve"):
        Shopper.objects.create(shopper_id=name)
    campaign = Campaign.objects.create(campaign_id="c", starts_at=now - 240 * HOUR, ends_at=now + 240 * HOUR)
    for coupon_id in ("tea", "milk"):
        coupon = Coupon.objects.create(
            coupon_id=coupon_id, group_size=2, group_hours=24, discount_type="amount", discount_value=1
        )
        CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    start_group(shopper_id="anna", coupon_id="tea", at=now - 50 * HOUR)
    filled = start_group(shopper_id="ben", coupon_id="tea", at=now - 20 * HOUR)
    invite(group_id=filled.group_id, shopper_ids=["cleo", "dan"], at=now - 19 * HOUR)
    join_group(shopper_id="cleo", group_id=filled.group_id, at=now - 17 * HOUR)
    start_group(shopper_id="dan", coupon_id="tea", at=now - HOUR)
    start_group(shopper_id="eve", coupon_id="milk", at=now - HOUR)
    return campaign


def test_the_results_tell_of_groups(campaign: Campaign, admin_client: Client) -> None:
    groups = report_campaign(campaign=campaign).groups
    assert groups.total == GroupFigures(
        started=4, filled=1, failed=1, open=2, members=5, hours_to_fill=3.0, invited=2, accepted=1
    )
    assert [(coupon.coupon_id, figures.started, figures.open) for coupon, figures in groups.by_coupon] == [
        ("tea", 3, 1),
        ("milk", 1, 1),
    ]
    assert sum(started for _day, started in groups.by_day) == 4
    page = admin_client.get(reverse("admin:recommender_campaign_results", args=[campaign.pk]))
    assert page.context["group_totals"]["fill_rate"] == "50.0 %"
    assert "Of these joined" in page.content.decode()
    other = Campaign.objects.create(campaign_id="d", starts_at=campaign.starts_at, ends_at=campaign.ends_at)
    page = admin_client.get(reverse("admin:recommender_campaign_results", args=[other.pk]))
    assert "Of these joined" not in page.content.decode()


def test_open_groups_and_what_their_chances_rest_on(campaign: Campaign, admin_client: Client) -> None:
    address = reverse("admin:recommender_groupbuy_outlook")
    page = admin_client.get(address)
    assert [group["joined"] for group in page.context["groups"]] == ["1 / 2", "1 / 2"]
    assert {group["chance"] for group in page.context["groups"]} == {"not known: no group ended yet"}
    half = {"ended": 2, "filled": 1, "joins": 1, "hours": 27.0}
    check = {
        **{"learned_from": 300, "checked_on": 100, "log_loss": 0.7, "base_log_loss": 0.6, "brier": 0.25},
        **{"base_brier": 0.2, "error": 0.3, "bins": [{"count": 100, "predicted": 0.9, "filled": 0.5}], "passed": False},
    }
    content = {"overall": half, "by_coupon": {}, "by_size": {"2": half}, "chance": None, "joining": None}
    GroupModel.objects.create(learned_until=timezone.now(), content={**content, "check": check})
    page = admin_client.get(address)
    assert {group["chance"] for group in page.context["groups"]} == {"50 %, as of past groups of its size"}
    assert "did no better on 100 of later ones" in page.content.decode()


def test_whom_to_invite(campaign: Campaign, admin_client: Client) -> None:
    group = GroupBuy.objects.get(coupon__coupon_id="milk")
    eve, anna, ben = (Shopper.objects.get(shopper_id=name) for name in ("eve", "anna", "ben"))
    for companion, together in ((anna, 1), (ben, 3)):
        Companion.objects.create(shopper=eve, companion=companion, groups_together=together, closeness=0.5, alike=0.1)
    address = reverse("admin:recommender_groupbuy_whom_to_invite", args=[group.pk])
    page = admin_client.get(address)
    assert [invitee["name"] for invitee in page.context["invitees"]] == ["ben", "anna"]
    assert "joined 3 groups together with its members before" in page.content.decode()
    assert not GroupBuyMember.objects.filter(group=group).exclude(shopper=eve).exists()

    GroupBuy.objects.update(closes_at=timezone.now())
    assert admin_client.get(address).status_code == 302
