"""The results of campaigns: a list, a report, a file."""

import csv
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from recommender.admin.incrementality import describe_change
from recommender.admin.spreadsheet import harmless
from recommender.admin.summed_up import Shown
from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Job,
    Order,
    OrderLine,
    Product,
    Publication,
    Redemption,
    Segment,
    SegmentCondition,
    Shopper,
)
from recommender.services.incrementality import Incrementality
from recommender.services.summaries import WhatChanged
from tests.admin.rows import add_rows

LIST = "admin:recommender_campaign_results_list"
MAY_SEE = ("view_campaign", "view_redemption")


def report(campaign: Campaign) -> str:
    return reverse("admin:recommender_campaign_results", args=[campaign.pk])


def export(campaign: Campaign) -> str:
    return reverse("admin:recommender_campaign_results_export", args=[campaign.pk])


@pytest.fixture
def campaign(db: None) -> Campaign:
    add_rows(1)
    return Campaign.objects.get()


def test_campaigns_are_listed_the_latest_first_with_what_was_used(client_with: Callable[..., Client]) -> None:
    for number in (1, 2):
        add_rows(number)
    Redemption.objects.filter(campaign__campaign_id="campaign-2").delete()
    rows = client_with(*MAY_SEE).get(reverse(LIST)).context["rows"]
    assert [(str(row["campaign"]), row["counts"]) for row in rows] == [
        ("campaign-2", ["1", "0", "0"]),
        ("campaign-1", ["1", "1", "1"]),
    ]


def test_the_list_takes_as_many_queries_for_many_campaigns_as_for_few(admin_client: Client) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(reverse(LIST)).status_code == 200
        return len(queries)

    add_rows(1)
    count_queries()
    few = count_queries()
    for number in range(2, 40):
        add_rows(number)
    assert count_queries() == few
    assert len(admin_client.get(reverse(LIST), {"p": 2}).context["rows"]) == 39 - 25


def test_a_report_shows_how_far_the_offers_went(client_with: Callable[..., Client], campaign: Campaign) -> None:
    answer = client_with(*MAY_SEE).get(report(campaign))
    assert answer.status_code == 200
    assert [(str(stage["title"]), stage["offers"], stage["share"]) for stage in answer.context["stages"]] == [
        ("Sent", "1", "100.0 %"),
        ("Seen", "0", "0.0 %"),
        ("Clicked", "0", "0.0 %"),
        ("Claimed", "0", "0.0 %"),
        ("Redeemed", "1", "100.0 %"),
    ]
    assert answer.context["money"] == {
        "uses": "1",
        "revenue": "2.00 USD",
        "discount": "1.00 USD",
        "without_order": "",
        "unknown": "",
    }
    [drawn] = answer.context["days"].columns
    assert (drawn.column.label, drawn.column.value, drawn.height) == ("March 2, 2024", 1, "200.00")


def test_a_report_takes_as_many_queries_for_many_coupons_as_for_few(admin_client: Client, campaign: Campaign) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(report(campaign)).status_code == 200
        return len(queries)

    Publication.objects.exclude(replaces=None).delete()
    Publication.objects.all().delete()  # all that it holds was sent to all who are listed
    count_queries()
    few = count_queries()
    campaign.coupons.add(*Coupon.objects.bulk_create(Coupon(coupon_id=f"more {number}") for number in range(60)))
    assert count_queries() == few
    answer = admin_client.get(report(campaign))
    assert (len(answer.context["coupons"]), answer.context["more_coupons"]) == (50, 11)


def test_what_is_not_known_is_no_zero(admin_client: Client, campaign: Campaign) -> None:
    Redemption.objects.update(order=None, discount_amount=None)
    money = admin_client.get(report(campaign)).context["money"]
    assert money == {"uses": "1", "revenue": "unknown", "discount": "unknown", "without_order": "1", "unknown": "1"}


def test_a_day_leads_to_its_redemptions(admin_client: Client, campaign: Campaign) -> None:
    [drawn] = admin_client.get(report(campaign)).context["days"].columns
    assert admin_client.get(drawn.column.url).context["cl"].result_count == 1
    Redemption.objects.update(redeemed_at=campaign.ends_at)
    assert admin_client.get(drawn.column.url).context["cl"].result_count == 0


def test_the_file_says_the_same_and_runs_no_formula(admin_client: Client, campaign: Campaign) -> None:
    Coupon.objects.update(coupon_id="=HYPERLINK(1)")
    Segment.objects.exclude(name__in=["Frequent", "segment-1"]).delete()
    SegmentCondition.objects.filter(segment__name="segment-1").update(amount=0)
    answer = admin_client.get(export(campaign))
    assert answer.streaming
    assert answer["Content-Disposition"] == 'attachment; filename="results-campaign-1.csv"'
    text = b"".join(answer).decode("utf-8-sig")  # type: ignore[arg-type]
    head, *rows = csv.reader(StringIO(text))
    assert head[:3] == ["part", "name", "sent"]
    assert rows == [
        ["campaign", "campaign-1", "1", "0", "0", "0", "1", "1", "2.000", "0", "1.000", "0"],
        ["coupon", "'=HYPERLINK(1)", "1", "0", "0", "0", "1", "1", "2.000", "0", "1.000", "0"],
        ["group", "Frequent", *"000000", "0.000", "0", "0.000", "0"],
        ["group", "segment-1", "1", "0", "0", "0", "1", "1", "2.000", "0", "1.000", "0"],
        ["day", "2024-03-02", "", "0", "0", "0", "1", *[""] * 5],
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_that_begins_like_a_formula_is_made_harmless(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless(f"a{text}") == f"a{text}"


def test_a_number_stays_a_number() -> None:
    assert harmless(-1) == -1


@pytest.mark.parametrize("permission", MAY_SEE)
def test_results_are_for_who_may_see_campaigns_and_redemptions(
    permission: str, client_with: Callable[..., Client], campaign: Campaign
) -> None:
    client = client_with(permission)
    for address in (reverse(LIST), report(campaign), export(campaign)):
        assert client.get(address).status_code == 403
        assert Client().get(address).status_code == 302
    navigation = client.get(reverse("admin:index")).context["sidebar_navigation"]
    assert "Results of campaigns" not in [item["title"] for group in navigation for item in group["items"]]


def test_a_campaign_leads_to_its_results(admin_client: Client, campaign: Campaign) -> None:
    page = admin_client.get(reverse("admin:recommender_campaign_change", args=[campaign.pk]))
    assert report(campaign) in page.content.decode()


def test_a_campaign_that_is_not_there_has_no_results(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:recommender_campaign_results", args=[9])).status_code == 404


# What the campaign changed


def hold_out(campaign: Campaign, *, shoppers: int = 40) -> None:
    """Every second of so many shoppers, each of whom buys for 2 while the campaign runs; the others use its coupon."""
    coupon, product = Coupon.objects.get(), Product.objects.get(product_id="product-1")
    for number in range(shoppers):
        shopper = Shopper.objects.create(shopper_id=f"more-{number}")
        group = CampaignShopper.Group.CONTROL if number % 2 else CampaignShopper.Group.TREATMENT
        CampaignShopper.objects.create(campaign=campaign, shopper=shopper, group=group)
        order = Order.objects.create(order_id=f"more-{number}", shopper=shopper, ordered_at=campaign.starts_at)
        OrderLine.objects.create(order=order, position=0, product=product, quantity=1, amount=2)
        if group == CampaignShopper.Group.TREATMENT:
            Redemption.objects.create(
                shopper=shopper,
                coupon=coupon,
                campaign=campaign,
                order=order,
                redeemed_at=campaign.starts_at,
                discount_amount=1,
            )
    Publication.objects.update(published_at=campaign.starts_at)
    Order.objects.create(order_id="last", shopper=Shopper.objects.first(), ordered_at=campaign.ends_at)


def test_without_a_holdout_a_report_says_that_nothing_can_be_claimed(admin_client: Client, campaign: Campaign) -> None:
    answer = admin_client.get(report(campaign))
    assert answer.context["change"]["held_out"] is False
    assert b"so nobody can say what it changed" in answer.content
    assert b"A shopper held out" not in answer.content
    assert not Job.objects.filter(kind=Job.Kind.SUM_UP).exists()


def test_a_report_says_what_the_campaign_changed_once_it_is_summed_up(
    client_with: Callable[..., Client], campaign: Campaign
) -> None:
    hold_out(campaign)
    client = client_with(*MAY_SEE)
    answer = client.get(report(campaign))
    assert "rows" not in answer.context["change"]
    assert Job.objects.get(kind=Job.Kind.SUM_UP).arguments == {"topic": f"incrementality:{campaign.pk}"}

    WhatChanged(campaign).sum_up()
    answer = client.get(report(campaign))

    change = answer.context["change"]
    assert (change["held_out"], change["measured"], change["warnings"]) == (True, True, [])
    rows = [(str(row["outcome"]), row["value"], row["treated"], row["held_out"]) for row in change["rows"]]
    assert rows == [
        ("Coupons used, of any campaign", "21", "1.00", "0.00"),
        ("Orders of what the coupons are for", "0", "1.00", "1.00"),
        ("Revenue", "0.00 USD", "2.00 USD", "2.00 USD"),
    ]
    assert {str(row["verdict"]) for row in change["rows"]} == {"Not enough data yet"}, "40 shoppers say little"
    assert [len(part["rows"]) for part in change["coupons"]] == [2]
    assert change["anyway"].startswith("Of 21 uses of its coupons, about 21 (95 % interval ")
    assert change["anyway"].endswith(" of 21.00 USD.")
    assert b"The shop chose whom to hold out." in answer.content
    assert b"The campaign is over" in answer.content
    assert b"desk-alarm" not in answer.content


def test_groups_that_cannot_be_compared_are_an_alarm_on_the_report_and_on_the_first_page(
    client_with: Callable[..., Client], campaign: Campaign
) -> None:
    hold_out(campaign)
    now = timezone.now()
    Campaign.objects.update(starts_at=now - timedelta(days=20), ends_at=now - timedelta(days=1), holdout_percent=50)
    campaign.refresh_from_db()
    Order.objects.exclude(order_id="last").update(ordered_at=now - timedelta(days=10))
    CampaignShopper.objects.update(origin=CampaignShopper.Origin.AUDIENCE)  # whom the digest would have put elsewhere
    WhatChanged(campaign).sum_up()

    client = client_with(*MAY_SEE)
    answer = client.get(report(campaign))
    [warning] = answer.context["change"]["warnings"]
    assert "are recorded in another group than the one that was drawn." in warning
    assert b"desk-alarm" in answer.content
    assert {str(row["verdict"]) for row in answer.context["change"]["rows"]} == {"Not to be believed"}
    assert answer.context["change"]["anyway"] == ""

    home = client.get(reverse("admin:index"))
    assert home.context["incomparable"] == [{"url": report(campaign), "campaign": campaign}]
    assert b"desk-alarm" in home.content
    assert b"desk-alarm" not in client_with("view_campaign").get(reverse("admin:index")).content


@pytest.mark.parametrize(
    ("found", "warning"),
    [
        (
            {"size_p_value": 0.0001, "expected_share": 0.125},
            "80 of 1,080 shoppers are held out, and 12.5 % were to be. By chance that happens less than once in 1,000 "
            "campaigns: shoppers were lost from one group only.",
        ),
        (
            {"before_p_value": 0.0001},
            "Already before the campaign, those whom it was sent to did not spend what those who are held out did. By "
            "chance that happens less than once in 1,000 campaigns.",
        ),
        ({"misplaced": 1}, "1 shopper is recorded in another group than the one that was drawn."),
    ],
)
def test_each_alarm_says_what_is_wrong(found: dict[str, float], warning: str, campaign: Campaign) -> None:
    content = Incrementality(campaign, treated=1_000, held_out=80, **found)
    assert describe_change(Shown(content))["warnings"] == [warning]
