"""The form of a segment: what may be saved, and who would belong to it before anything is."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from recommender.models import Campaign, CampaignSegment, Category, Order, Segment, SegmentCondition, Shopper
from tests.admin.rows import START

ADD = "/admin/recommender/segment/add/"
PREVIEW = "/admin/recommender/segment/preview/"


def form(*conditions: dict[str, Any], name: str = "mine", match: str = "all", saved: int = 0) -> dict[str, Any]:
    posted: dict[str, Any] = {
        "name": name,
        "match": match,
        "conditions-TOTAL_FORMS": len(conditions),
        "conditions-INITIAL_FORMS": saved,
    }
    for number, condition in enumerate(conditions):
        posted |= {f"conditions-{number}-{field}": value for field, value in condition.items()}
    return posted


def preview_of(segment: Segment) -> str:
    return reverse("admin:recommender_segment_preview_of", args=[segment.pk])


RECENT = {"kind": "orders", "comparison": "at_least", "amount": "1", "days": "30"}


@pytest.fixture
def shoppers(db: None) -> None:
    """Twelve who ordered, two of them opted out, and one who never did."""
    for number in range(13):
        shopper = Shopper.objects.create(shopper_id=f"s{number:02}", opted_out=number in (0, 1))
        if number < 12:
            Order.objects.create(order_id=f"o{number}", shopper=shopper, ordered_at=START)


def test_a_segment_is_saved_with_its_conditions(admin_client: Client) -> None:
    answer = admin_client.post(ADD, form(RECENT, {"kind": "attribute", "comparison": "is", "attribute": "a"}))
    assert answer.status_code == 302
    segment = Segment.objects.get(name="mine")
    assert list(segment.conditions.order_by("pk").values_list("kind", "amount", "days", "attribute", "value")) == [
        ("orders", 1, 30, "", ""),
        ("attribute", None, None, "a", ""),
    ]


@pytest.mark.parametrize(
    "posted",
    [
        form(),
        form({**RECENT, "amount": ""}),
        form({**RECENT, "comparison": "is"}),
        form({**RECENT, "attribute": "a"}),
        form(RECENT, match="none"),
        form(RECENT, name="Frequent"),
    ],
)
def test_a_segment_that_makes_no_sense_is_not_saved(posted: dict[str, Any], admin_client: Client) -> None:
    before = Segment.objects.count()
    answer = admin_client.post(ADD, posted)
    assert answer.status_code == 200
    assert answer.context["errors"]
    assert Segment.objects.count() == before


@pytest.mark.usefixtures("shoppers")
def test_the_preview_counts_and_names_ten_and_saves_nothing(admin_client: Client) -> None:
    before = (Segment.objects.count(), SegmentCondition.objects.count())
    answer = admin_client.post(PREVIEW, form(RECENT, name=""), headers={"X-Fragment": "1"})
    assert answer.status_code == 200
    assert (answer.context["addressable"], answer.context["opted_out"]) == ("10", "2")
    assert [row["shopper"].shopper_id for row in answer.context["shoppers"]] == [f"s{n:02}" for n in range(2, 12)]
    assert b"<html" not in answer.content
    assert (Segment.objects.count(), SegmentCondition.objects.count()) == before


@pytest.mark.usefixtures("shoppers")
def test_without_a_script_the_preview_is_a_page(admin_client: Client) -> None:
    answer = admin_client.post(PREVIEW, form({**RECENT, "comparison": "at_most", "amount": "0"}))
    assert b"<html" in answer.content
    assert [row["shopper"].shopper_id for row in answer.context["shoppers"]] == ["s12"]


@pytest.mark.usefixtures("shoppers")
def test_the_preview_of_a_saved_segment_follows_what_is_changed_in_its_form(admin_client: Client) -> None:
    segment = Segment.objects.get(name="Frequent")
    key = segment.conditions.get().pk
    changed = {**RECENT, "id": key, "segment": segment.pk}
    answer = admin_client.post(preview_of(segment), form(changed, name="Frequent", saved=1))
    assert answer.context["addressable"] == "10"
    taken_out = form({**changed, "DELETE": "on"}, {**RECENT, "amount": "2"}, name="Frequent", saved=1)
    assert admin_client.post(preview_of(segment), taken_out).context["addressable"] == "0"
    assert segment.conditions.get().amount == 4, "nothing was saved"


def test_the_preview_says_what_is_missing(admin_client: Client) -> None:
    answer = admin_client.post(PREVIEW, form({**RECENT, "amount": ""}), headers={"X-Fragment": "1"})
    assert answer.context["errors"] == ["Condition 1, Amount: “number of orders” needs this."]
    assert "preview" not in answer.context
    empty = admin_client.post(PREVIEW, form(), headers={"X-Fragment": "1"})
    assert len(empty.context["errors"]) == 1


def test_the_preview_is_asked_by_a_form_alone(admin_client: Client) -> None:
    assert admin_client.get(PREVIEW).status_code == 405


def test_who_may_only_look_neither_counts_nor_changes(client_with: Callable[..., Client]) -> None:
    segment = Segment.objects.get(name="Frequent")
    client = client_with("view_segment", "view_segmentcondition")
    page = client.get(reverse("admin:recommender_segment_change", args=[segment.pk]))
    assert page.status_code == 200
    assert b"data-segment-preview" not in page.content
    assert client.post(PREVIEW, form(RECENT)).status_code == 403
    assert client.post(preview_of(segment), form(RECENT)).status_code == 403
    assert client.post(ADD, form(RECENT)).status_code == 403
    assert not Segment.objects.filter(name="mine").exists()


def test_a_segment_in_use_is_not_deleted(admin_client: Client) -> None:
    segment = Segment.objects.get(name="Loyal")
    campaign = Campaign.objects.create(campaign_id="c", starts_at=START, ends_at=START.replace(day=9))
    CampaignSegment.objects.create(campaign=campaign, segment=segment)
    admin_client.post(reverse("admin:recommender_segment_delete", args=[segment.pk]), {"post": "yes"})
    assert Segment.objects.filter(pk=segment.pk).exists()


def test_the_list_tells_the_conditions_in_words(admin_client: Client) -> None:
    segment = Segment.objects.create(name="words")
    category = Category.objects.create(path="Food / Ice")
    for fields in (
        {"kind": "category", "comparison": "at_most", "amount": 1500, "category": category},
        {"kind": "last_order", "comparison": "at_least", "days": 60},
        {"kind": "attribute", "comparison": "is_not", "attribute": "age", "value": "30"},
    ):
        SegmentCondition.objects.create(segment=segment, **fields)
    page = admin_client.get(reverse("admin:recommender_segment_changelist"), {"q": "words"})
    every = admin_client.get(reverse("admin:recommender_segment_changelist")).content.decode()
    told = (
        "orders from “Food / Ice” at most 1,500; days since the last order at least 60; age is not “30”",
        "number of orders at least 4 in 90 days",
    )
    assert told[0] in page.content.decode()
    assert told[1] in every
    assert "any of: days since joining at most 30; days since the first order at most 30" in every
