"""Lists that are longer than anybody pages through."""

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from recommender.admin import base, campaigns, long_lists
from recommender.models import (
    Campaign,
    CampaignShopper,
    Code,
    CodeBatch,
    Coupon,
    GroupBuy,
    Recommendation,
    Reservation,
    RunCorrection,
    RunCorrectionShopper,
    Shopper,
    WebhookDelivery,
)
from tests.admin.rows import START, add_rows
from tests.admin.test_pages import address


@pytest.fixture
def shoppers(db: None, monkeypatch: pytest.MonkeyPatch) -> list[Shopper]:
    """Of a hundred and twenty shoppers, a list counts a hundred."""
    for module in (long_lists, base, campaigns):
        monkeypatch.setattr(module, "MOST_COUNTED", 100)
    return Shopper.objects.bulk_create(Shopper(shopper_id=f"S{number:03}") for number in range(120))


def test_a_long_list_says_that_it_is_longer_than_its_pages(shoppers: list[Shopper], admin_client: Client) -> None:
    page = admin_client.get(address(Shopper, "changelist"))
    changelist = page.context["cl"]
    assert (changelist.result_count, changelist.paginator.num_pages, changelist.paginator.has_more) == (100, 2, True)
    text = " ".join(page.content.decode().split())
    assert "of more than 100 shoppers: search or filter for the others" in text
    assert "100 results" not in text
    last = admin_client.get(address(Shopper, "changelist"), {"p": 2}).context["cl"].result_list
    assert [shopper.shopper_id for shopper in last] == [f"S{number:03}" for number in range(69, 19, -1)]


def test_a_list_of_as_many_rows_as_are_counted_has_no_more(shoppers: list[Shopper], admin_client: Client) -> None:
    Shopper.objects.filter(pk__in=[shopper.pk for shopper in shoppers[:20]]).delete()
    page = admin_client.get(address(Shopper, "changelist"))
    assert page.context["cl"].result_count == 100
    assert "more than" not in page.content.decode()


def test_the_beginning_of_an_identifier_finds_what_no_page_shows(shoppers: list[Shopper], admin_client: Client) -> None:
    found = admin_client.get(address(Shopper, "changelist"), {"q": "S00"}).context["cl"]
    assert [shopper.shopper_id for shopper in found.result_list] == [f"S{number:03}" for number in range(9, -1, -1)]
    assert not found.paginator.has_more


def test_all_of_a_list_that_did_not_say_how_many_cannot_be_chosen(
    shoppers: list[Shopper], admin_client: Client
) -> None:
    everything = {"action": "delete_selected", "select_across": "1", "_selected_action": shoppers[0].pk, "post": "yes"}
    answer = admin_client.post(address(Shopper, "changelist"), everything, follow=True)
    expected = "Nothing was done: the list holds more than 100 rows. Narrow it down first."
    assert [str(message) for message in answer.context["messages"]] == [expected]
    assert Shopper.objects.count() == 120
    narrow = admin_client.post(f"{address(Shopper, 'changelist')}?q=S00", everything, follow=True)
    assert narrow.status_code == 200
    assert Shopper.objects.count() == 110


def test_a_large_campaign_shows_its_groups_as_they_were_counted(
    shoppers: list[Shopper], admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recommender.services import summaries

    campaign = Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START.replace(year=2030))
    CampaignShopper.objects.bulk_create(
        CampaignShopper(campaign=campaign, shopper=shopper, group="control" if number < 5 else "treatment")
        for number, shopper in enumerate(shoppers)
    )
    monkeypatch.setattr(summaries, "FEW", 100)

    def groups() -> dict[str, str]:
        return admin_client.get(address(Campaign, "change", campaign.pk)).context["groups"]

    assert groups() == {"sent": "more than 100", "held_out": "–"}
    summaries.UsesOfCampaigns().sum_up()
    assert groups() == {"sent": "115", "held_out": "5"}
    CampaignShopper.objects.filter(shopper__in=shoppers[:50]).delete()
    assert groups() == {"sent": "70", "held_out": "0"}


def test_lists_of_recommendations_are_the_newest_runs_first(admin_client: Client) -> None:
    for number in (1, 2, 3):
        add_rows(number)
    shown = admin_client.get(reverse("admin:recommender_recommendation_changelist")).context["cl"].result_list
    assert [row.pk for row in shown] == list(Recommendation.objects.order_by("-run_id").values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("model", "field"), [(Reservation, "reservation_id"), (GroupBuy, "group_id"), (WebhookDelivery, "message_id")]
)
def test_whole_identifiers_that_this_site_gave_find_their_row(
    model: type[Model], field: str, admin_client: Client
) -> None:
    for number in (1, 2):
        add_rows(number)
    row = model._default_manager.earliest("pk")

    def found(text: str) -> list[Any]:
        return list(admin_client.get(address(model, "changelist"), {"q": text}).context["cl"].result_list)

    assert found(str(getattr(row, field))) == [row]
    assert found("no such thing") == []


def test_used_codes_and_shoppers_of_a_correction_are_counted_as_far_as_a_list_is(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(1)
    batch, correction = CodeBatch.objects.get(), RunCorrection.objects.exclude(segment_name="").get()
    Code.objects.bulk_create(Code(code=f"USED{number}", batch=batch, uses=1) for number in range(2))
    RunCorrectionShopper.objects.create(correction=correction, shopper=Shopper.objects.create(shopper_id="other"))

    def told() -> tuple[bool, bool]:
        pages = [admin_client.get(address(type(row), "change", row.pk)).content.decode() for row in (batch, correction)]
        return tuple("more than 1" in page for page in pages)  # type: ignore[return-value]

    assert told() == (False, False)
    monkeypatch.setattr(long_lists, "MOST_COUNTED", 1)
    assert told() == (True, True)


def test_amounts_of_a_list_are_sorted_where_nothing_else_is_said(admin_client: Client) -> None:
    for number in (1, 2, 3):
        add_rows(number)
    for coupon, amount in zip(Coupon.objects.order_by("pk"), ("2.500", "10.000", "1.000"), strict=True):
        Coupon.objects.filter(pk=coupon.pk).update(discount_value=amount)
    page = admin_client.get(address(Coupon, "changelist"), {"o": "4"})
    assert [row.coupon_id for row in page.context["cl"].result_list] == ["coupon-3", "coupon-1", "coupon-2"]
    assert "?o=-4" in page.content.decode()
