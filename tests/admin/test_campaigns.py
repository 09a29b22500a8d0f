"""Campaigns and coupons as staff write, copy and look at them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

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
from tests.admin.rows import START, add_rows

CALENDAR = "/admin/recommender/campaign/calendar/"
ADD = "/admin/recommender/campaign/add/"
ADD_COUPON = "/admin/recommender/coupon/add/"


@pytest.fixture
def campaign(db: None) -> Campaign:
    campaign = Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START + timedelta(days=30))
    CampaignCoupon.objects.create(campaign=campaign, coupon=Coupon.objects.create(coupon_id="c1"))
    return campaign


def action(name: str, campaign: Campaign) -> str:
    return reverse(f"admin:recommender_campaign_{name}", args=[campaign.pk])


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def campaign_form(**fields: str) -> dict[str, str]:
    return {
        "campaign_id": "summer",
        "starts_at_0": "2024-03-01",
        "starts_at_1": "00:00:00",
        "ends_at_0": "2024-03-15",
        "ends_at_1": "00:00:00",
        "holdout_percent": "10",
        "exploration_percent": "0",
        "campaign_coupons-TOTAL_FORMS": "0",
        "campaign_coupons-INITIAL_FORMS": "0",
        "campaign_segments-TOTAL_FORMS": "0",
        "campaign_segments-INITIAL_FORMS": "0",
        **fields,
    }


def coupon_form(**fields: str) -> dict[str, str]:
    return {"coupon_id": "new", "targets-TOTAL_FORMS": "0", "targets-INITIAL_FORMS": "0", **fields}


# Forms


def test_a_new_campaign_is_proposed_by_the_shops_clock(admin_client: Client) -> None:
    Shop(time_zone="America/New_York").save()
    initial = admin_client.get(ADD).context["adminform"].form.initial
    tomorrow = timezone.localtime(timezone.now(), Shop.current().zone).date() + timedelta(days=1)
    assert initial["campaign_id"] == f"campaign-{tomorrow}"
    assert initial["starts_at"] == datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=Shop.current().zone)


def test_a_new_coupon_is_proposed(admin_client: Client) -> None:
    initial = admin_client.get(ADD_COUPON).context["adminform"].form.initial
    assert (initial["coupon_id"], initial["per_shopper_limit"]) == (f"coupon-{timezone.now():%Y-%m-%d}", 1)


def test_a_campaign_is_saved_with_its_segments_and_remarks_follow(admin_client: Client) -> None:
    segments = {name: Segment.objects.get(name=name).pk for name in ("Loyal", "New")}
    chosen = {
        "campaign_segments-TOTAL_FORMS": "2",
        "campaign_segments-0-segment": str(segments["Loyal"]),
        "campaign_segments-1-segment": str(segments["New"]),
        "campaign_segments-1-excluded": "on",
    }
    answer = admin_client.post(ADD, campaign_form(**chosen), follow=True)
    campaign = Campaign.objects.get()
    assert list(campaign.campaign_segments.order_by("pk").values_list("segment__name", "excluded")) == [
        ("Loyal", False),
        ("New", True),
    ]
    assert campaign.holdout_percent == 10
    assert "The campaign has no coupon: there is nothing to recommend." in messages_of(answer)
    page = admin_client.get(reverse("admin:recommender_campaign_change", args=[campaign.pk]))
    assert page.context["remarks"][-1] == "The campaign has no coupon: there is nothing to recommend."
    assert page.context["audience"] == "Loyal, without New"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ends_at_0": "2024-02-01"}, {"ends_at": ["The campaign must end after it starts."]}),
        ({"budget": "-1"}, {"budget": ["A budget is not below 0."]}),
        ({"holdout_percent": "91"}, {"holdout_percent": ["Ensure this value is less than or equal to 90."]}),
        ({"holdout_percent": "-1"}, {"holdout_percent": ["Ensure this value is greater than or equal to 0."]}),
        ({"exploration_percent": "21"}, {"exploration_percent": ["Ensure this value is less than or equal to 20."]}),
    ],
)
def test_a_campaign_that_makes_no_sense_is_not_saved(
    fields: dict[str, str], told: dict[str, list[str]], admin_client: Client
) -> None:
    answer = admin_client.post(ADD, campaign_form(**fields))
    assert answer.context["adminform"].form.errors == told
    assert not Campaign.objects.exists()


def test_a_coupon_that_makes_no_sense_is_not_saved(admin_client: Client) -> None:
    answer = admin_client.post(ADD_COUPON, coupon_form(discount_type="percent", discount_value="120"))
    assert answer.context["adminform"].form.errors == {"discount_value": ["More than 100 percent cannot be taken off."]}
    assert not Coupon.objects.exists()


def test_a_coupon_for_the_whole_shop_is_saved_with_a_warning(admin_client: Client) -> None:
    answer = admin_client.post(ADD_COUPON, coupon_form(discount_type="percent", discount_value="12"), follow=True)
    assert Coupon.objects.get().discount_value == 12
    assert "The coupon has no target: it holds for the whole shop." in messages_of(answer)


# Whom it is for


def test_computing_is_confirmed_with_how_many_are_sent_it(admin_client: Client, campaign: Campaign) -> None:
    for number in range(10):
        Shopper.objects.create(shopper_id=str(number), opted_out=number == 0)
    Campaign.objects.update(holdout_percent=33)

    def facts() -> list[str]:
        shown = admin_client.get(action("recommend", campaign)).context["confirmation"].facts
        return [str(value) for _name, value in shown[-3:]]

    assert facts() == ["Everyone", "6", "3"]
    CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.get(name="New"))
    assert facts() == ["New", "0", "0"]
    CampaignShopper.objects.create(campaign=campaign, shopper=Shopper.objects.get(shopper_id="1"))
    assert facts() == ["The shoppers that the shop listed", "1", "0"]


def test_what_lists_keep_to_is_saved_and_told_before_computing(admin_client: Client, campaign: Campaign) -> None:
    assert [name for name, _value in rules_told(admin_client, campaign)] == []
    page = reverse("admin:recommender_campaign_change", args=[campaign.pk])
    promised = {
        "campaign_segments-TOTAL_FORMS": "1",
        "campaign_segments-0-campaign": str(campaign.pk),
        "campaign_segments-0-segment": str(Segment.objects.get(name="Loyal").pk),
        "campaign_segments-0-at_least_uses": "1200",
    }
    admin_client.post(
        page, campaign_form(campaign_id="spring", one_per_category="on", seller_floor_percent="0.5", **promised)
    )
    campaign.refresh_from_db()
    assert campaign.campaign_segments.get().at_least_uses == 1200
    assert campaign.one_per_category
    assert campaign.seller_floor_percent == Decimal("0.5")
    Shop(contact_most=2, contact_days=30).save()
    assert rules_told(admin_client, campaign) == [
        ("Kept to", "one coupon of a category on a list"),
        ("Kept to", "at least 0.50 % of all places for each seller"),
        ("Kept to", "at least 1,200 expected uses for “Loyal”"),
        ("Kept to", "at most 2 campaigns within 30 days for a shopper"),
    ]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"at_least_uses": "0"}, "Ensure this value is greater than or equal to 1."),
        ({"at_least_uses": "many"}, "Enter a whole number."),
        ({"at_least_uses": "5", "excluded": "on"}, "Whoever is left out uses nothing. Leave it empty."),
    ],
)
def test_a_promise_that_makes_no_sense_is_not_saved(fields: dict[str, str], told: str, admin_client: Client) -> None:
    chosen = {"segment": str(Segment.objects.get(name="Loyal").pk), **fields}
    rows = {f"campaign_segments-0-{name}": value for name, value in chosen.items()}
    answer = admin_client.post(ADD, campaign_form(**{"campaign_segments-TOTAL_FORMS": "1", **rows}))
    formset = next(
        each.formset for each in answer.context["inline_admin_formsets"] if each.formset.model is CampaignSegment
    )
    assert formset.errors == [{"at_least_uses": [told]}]
    assert not Campaign.objects.exists()


def test_who_may_only_look_changes_no_rule(client_with: Callable[..., Client], campaign: Campaign) -> None:
    CampaignSegment.objects.create(campaign=campaign, segment=Segment.objects.get(name="Loyal"), at_least_uses=5)
    client = client_with("view_campaign", "view_campaignsegment", "view_shop")
    page = reverse("admin:recommender_campaign_change", args=[campaign.pk])
    assert client.post(page, campaign_form(campaign_id="spring", one_per_category="on")).status_code == 403
    shop = reverse("admin:recommender_shop_change", args=[Shop.current().pk])
    assert client.post(shop, {"contact_most": "1", "contact_days": "1"}).status_code == 403
    campaign.refresh_from_db()
    assert (campaign.one_per_category, campaign.campaign_segments.get().at_least_uses) == (False, 5)
    assert Shop.current().contact_most is None


@pytest.mark.parametrize(
    ("percent", "told"),
    [
        ("0", "Ensure this value is greater than or equal to 0.01."),
        ("101", "Ensure this value is less than or equal to 100."),
        ("few", "Enter a number."),
    ],
)
def test_a_share_for_sellers_that_makes_no_sense_is_not_saved(percent: str, told: str, admin_client: Client) -> None:
    answer = admin_client.post(ADD, campaign_form(seller_floor_percent=percent))
    assert answer.context["adminform"].form.errors == {"seller_floor_percent": [told]}
    assert not Campaign.objects.exists()


def rules_told(client: Client, campaign: Campaign) -> list[tuple[str, str]]:
    facts = client.get(action("recommend", campaign)).context["confirmation"].facts
    return [(name, value) for name, value in facts if name == "Kept to"]


# Copies


def test_a_campaign_is_copied_once_it_was_confirmed(admin_client: Client, campaign: Campaign) -> None:
    asked = admin_client.get(action("duplicate", campaign))
    initial = asked.context["form"].initial
    assert initial["campaign_id"] == "spring-copy"
    assert Campaign.objects.count() == 1, "asking changes nothing"
    answer = admin_client.post(
        action("duplicate", campaign), {"campaign_id": "again", "name": "Again", "starts_at": "2031-05-01T00:00"}
    )
    copy = Campaign.objects.get(campaign_id="again")
    assert answer["Location"] == reverse("admin:recommender_campaign_change", args=[copy.pk])
    assert (copy.ends_at - copy.starts_at, copy.coupons.get().coupon_id) == (timedelta(days=30), "c1")

    refused = admin_client.post(
        action("duplicate", campaign), {"campaign_id": "again", "starts_at": "2031-05-01T00:00"}, follow=True
    )
    assert messages_of(refused)[-1] == "There is a campaign again already."
    unreadable = admin_client.post(action("duplicate", campaign), {"campaign_id": "x", "starts_at": "soon"})
    assert unreadable.context["form"].errors == {"starts_at": ["Enter a valid date/time."]}
    assert Campaign.objects.count() == 2


def test_who_may_not_add_campaigns_copies_none(client_with: Callable[..., Client], campaign: Campaign) -> None:
    client = client_with("view_campaign", "change_campaign")
    posted = {"campaign_id": "again", "starts_at": "2031-05-01T00:00"}
    assert client.get(action("duplicate", campaign)).status_code == 403
    assert client.post(action("duplicate", campaign), posted).status_code == 403
    assert Campaign.objects.count() == 1


# Calendar


@pytest.mark.parametrize(
    ("query", "heading", "days", "shown"),
    [
        ({"first": "2024-03-01"}, "March 2024", 31, ["spring"]),
        ({"first": "2024-03-17", "span": "quarter"}, "March 2024 – May 2024", 92, ["spring"]),
        ({"first": "2024-02-01"}, "February 2024", 29, []),
        ({"first": "0001-01-01"}, "January 1990", 31, []),
        ({"first": "9999-12-31", "span": "quarter"}, "December 2200 – February 2201", 90, []),
    ],
)
def test_the_calendar_shows(
    query: dict[str, str], heading: str, days: int, shown: list[str], admin_client: Client, campaign: Campaign
) -> None:
    page = admin_client.get(CALENDAR, query)
    assert (page.context["heading"], page.context["days"]) == (heading, days)
    assert sum(length for _day, length in page.context["weeks"]) == days
    assert [str(row["row"].campaign) for row in page.context["rows"]] == shown


@pytest.mark.parametrize("query", [{}, {"first": "nonsense", "span": "nonsense"}])
def test_the_calendar_begins_with_this_month(query: dict[str, str], admin_client: Client) -> None:
    page = admin_client.get(CALENDAR, query)
    assert page.status_code == 200
    assert page.context["days"] <= 31


def test_the_calendar_leads_to_earlier_and_later_times(admin_client: Client, campaign: Campaign) -> None:
    page = admin_client.get(CALENDAR, {"first": "2024-01-01", "span": "quarter"})
    assert page.context["before_url"] == f"{CALENDAR}?first=2023-10-01&span=quarter"
    assert page.context["after_url"] == f"{CALENDAR}?first=2024-04-01&span=quarter"
    assert page.context["latest_url"] == f"{CALENDAR}?first=2024-03-01&span=quarter"


def test_the_calendar_is_for_those_who_may_see_campaigns(client_with: Callable[..., Client]) -> None:
    add_rows(1)
    assert client_with("view_coupon").get(CALENDAR).status_code == 403
    page = client_with("view_campaign").get(CALENDAR)
    assert page.status_code == 200
    assert CALENDAR in page.content.decode(), "it is in the navigation"


def test_a_share_that_cannot_be_held_out_is_told_by_what_can(admin_client: Client) -> None:
    page = admin_client.post(reverse("admin:recommender_campaign_add"), {"campaign_id": "x", "holdout_percent": "150"})
    errors = page.context["adminform"].form.errors["holdout_percent"]
    assert errors == ["Ensure this value is less than or equal to 90."]


def test_recommending_says_first_what_deserves_a_second_look(admin_client: Client) -> None:
    now = timezone.now()
    over = Campaign.objects.create(campaign_id="over", starts_at=now - timedelta(days=9), ends_at=now)
    page = admin_client.get(reverse("admin:recommender_campaign_recommend", args=[over.pk]))
    told = [value for name, value in page.context["confirmation"].facts if name == "Worth a second look"]
    assert [text.partition(" on ")[0] for text in told] == [
        "The campaign ended",
        "The campaign has no coupon: there is nothing to recommend.",
    ]
