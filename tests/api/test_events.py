"""Events as they are posted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from recommender.api import events
from recommender.models import Event

Call = Callable[..., HttpResponse]
CLICK = {"kind": "click", "shopper_id": "anna", "coupon_id": "tea-spring", "occurred_at": "2026-03-10T20:00:00+08:00"}
VIEW = {"kind": "view", "shopper_id": "anna", "product_id": "green tea", "occurred_at": "2026-03-10T12:00:00Z"}


@pytest.mark.parametrize("kind", ["impression", "click", "claim", "dismiss"])
def test_events_about_coupons(kind: str, call: Call) -> None:
    assert call("POST", "events", {**CLICK, "kind": kind, "campaign_id": "spring"}).status_code == 200
    row = Event.objects.select_related("shopper", "coupon", "campaign").get()
    assert (row.kind, row.shopper.shopper_id, row.coupon.coupon_id) == (kind, "anna", "tea-spring")  # type: ignore[union-attr]
    assert row.campaign.campaign_id == "spring"  # type: ignore[union-attr]
    assert row.occurred_at == datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["view", "usage"])
def test_events_about_products(kind: str, call: Call) -> None:
    assert call("POST", "events", {**VIEW, "kind": kind, "value": 2.5}).status_code == 200
    row = Event.objects.select_related("product").get()
    assert (row.kind, row.product.product_id, row.value) == (kind, "green tea", 2.5)  # type: ignore[union-attr]


def test_a_list_with_bad_ones_in_it(call: Call, golden: Callable[..., None]) -> None:
    posted = [
        CLICK,
        {**CLICK, "kind": "glance"},
        VIEW,
        {**CLICK, "coupon_id": None},
        {**VIEW, "product_id": "nothing"},
        "click",
        CLICK,
        {**VIEW, "occurred_at": "2026-03-10T12:00:00"},
    ]
    response = call("POST", "events", posted)
    assert response.status_code == 200
    golden(response, "events_with_refused")
    assert sorted(Event.objects.values_list("kind", flat=True)) == ["click", "view"]


def test_sent_again_it_is_a_duplicate(call: Call, golden: Callable[..., None]) -> None:
    golden(call("POST", "events", CLICK), "event_accepted")
    golden(call("POST", "events", CLICK), "event_duplicate")
    golden(call("POST", "events", CLICK, caller="own shopper"), "event_duplicate")
    assert Event.objects.count() == 1


def test_a_shoppers_token_says_whose_event_it_is(call: Call) -> None:
    event = {name: value for name, value in CLICK.items() if name != "shopper_id"}
    assert call("POST", "events", event, caller="other shopper").status_code == 200
    assert Event.objects.get().shopper.shopper_id == "ben"


def test_now_by_default(call: Call) -> None:
    before = timezone.now()
    call("POST", "events", {**CLICK, "occurred_at": None})
    assert before <= Event.objects.get().occurred_at <= timezone.now()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "glance"}, "kind"),
        ({"kind": None}, "kind"),
        ({"shopper_id": None}, "shopper_id"),
        ({"shopper_id": ""}, "shopper_id"),
        ({"shopper_id": "nobody"}, "shopper_id"),
        ({"shopper_id": "x" * 65}, "shopper_id"),
        ({"shopper_id": "a\x00b"}, "shopper_id"),
        ({"shopper_id": {}}, "shopper_id"),
        ({"event_id": "x" * 65}, "event_id"),
        ({"event_id": ""}, "event_id"),
        ({"coupon_id": None}, "coupon_id"),
        ({"coupon_id": "nothing"}, "coupon_id"),
        ({"kind": "view"}, "product_id"),
        ({"product_id": "nothing"}, "product_id"),
        ({"campaign_id": "nothing"}, "campaign_id"),
        ({"occurred_at": "2026-03-10T12:00:00"}, "occurred_at"),
        ({"occurred_at": "2026-03-10"}, "occurred_at"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": 1773144000}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-10:00"}, "occurred_at"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at"),
        ({"value": "much"}, "value"),
        ({"value": "inf"}, "value"),
        ({"value": 10**400}, "value"),
    ],
)
def test_one_malformed_event(changes: dict[str, Any], field: str, call: Call) -> None:
    response = call("POST", "events", {**CLICK, **changes})
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"  # type: ignore[attr-defined]
    assert list(response.json()["errors"]) == [field]  # type: ignore[attr-defined]
    assert not Event.objects.exists()


def test_the_answer_to_a_malformed_event(call: Call, golden: Callable[..., None]) -> None:
    golden(call("POST", "events", {**CLICK, "occurred_at": "2026-03-10", "coupon_id": ""}), "event_malformed")


def test_a_clock_may_be_five_minutes_ahead(call: Call) -> None:
    now = timezone.now()
    ahead = [(now + timedelta(minutes=4)).isoformat(), (now + timedelta(minutes=6)).isoformat()]
    answers = [call("POST", "events", {**CLICK, "occurred_at": moment}).status_code for moment in ahead]
    assert answers == [200, 400]
    assert Event.objects.count() == 1


def test_five_thousand_events_are_taken_with_few_queries_and_one_more_is_refused(call: Call) -> None:
    posted = [{**CLICK, "event_id": str(number)} for number in range(5001)]
    assert call("POST", "events", posted).status_code == 400
    assert not Event.objects.exists()
    with CaptureQueriesContext(connection) as queries:
        response = call("POST", "events", posted[:5000])
    assert response.json() == {"accepted": 5000, "duplicates": 0, "refused": []}  # type: ignore[attr-defined]
    # the key, shoppers, coupons, known events, two savepoints with their ends, and the rows
    assert len(queries) == 9, "\n".join(str(one["sql"])[:200] for one in queries)


def test_an_empty_list_is_no_event(call: Call) -> None:
    assert call("POST", "events", []).json() == {"accepted": 0, "duplicates": 0, "refused": []}  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", ["click", 7, True])
def test_what_is_no_event_at_all(body: object, call: Call) -> None:
    response = call("POST", "events", body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["non_field_errors"]  # type: ignore[attr-defined]


PLAIN = {**CLICK, "event_id": "e1", "occurred_at": "2026-03-10T20:00:00.25+08:00", "value": 2.5}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"event_id": None},
        {"value": None},
        {"value": 2},
        {"value": True},
        {"value": 1e999},
        {"value": "2"},
        {"kind": []},
        {"kind": {"a": 1}},
        {"kind": "glance"},
        {"shopper_id": " anna "},
        {"shopper_id": "安娜"},
        {"shopper_id": "\ud800"},
        {"shopper_id": 7},
        {"coupon_id": ["tea-spring"]},
        {"coupon_id": None},
        {"occurred_at": None},
        {"occurred_at": "2026-03-10T12:00:00"},
        {"occurred_at": "2026-03-10T12:00:00.1234567Z"},
        {"occurred_at": "2026-03-10 12:00:00Z"},
        {"occurred_at": "20260310T120000Z"},
        {"occurred_at": "2026-02-30T12:00:00Z"},
        {"occurred_at": "2026-03-10T24:00:00Z"},
        {"occurred_at": "2026-03-10T12:00:00+24:00"},
        {"occurred_at": "2026-03-10T12:00:00+08"},
        {"occurred_at": "２026-03-10T12:00:00Z"},
        {"occurred_at": "2099-01-01T00:00:00Z"},
        {"something": "else"},
    ],
)
def test_the_quick_way_of_reading_says_the_same_as_the_thorough_one(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = [json.loads(json.dumps({**PLAIN, **changes}).replace("Infinity", "1e999"))]
    quick = events._read(posted, None)
    monkeypatch.setattr(events, "_read_plain", lambda *arguments: None)
    thorough = events._read(posted, None)
    if changes.get("occurred_at", 1) is None:  # now, at two moments
        assert quick[0].keys() == thorough[0].keys()
    else:
        assert quick == thorough


def test_what_is_plain_is_read_the_quick_way() -> None:
    now = timezone.now()
    assert events._read_plain(PLAIN, None, now) is not None
    assert events._read_plain({**PLAIN, "shopper_id": None}, "anna", now) is not None
    assert events._read_plain({**PLAIN, "shopper_id": None}, None, now) is None
