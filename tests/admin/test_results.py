"""The results of campaigns: a list, a report, a file."""

import csv
from collections.abc import Callable
from io import StringIO

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from recommender.admin.spreadsheet import harmless
from recommender.models import Campaign, Coupon, Publication, Redemption, Segment, SegmentCondition
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
