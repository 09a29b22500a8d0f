"""Events are kept once, and what cannot be kept is refused without harm to the rest."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from recommender.models import Campaign, Coupon, Event, Product, Shopper
from recommender.services.event_key import event_key
from recommender.services.feedback import NewEvent, RecordedEvents, record_events
from tests.api.shop_rows import make_campaign

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CLICK = NewEvent(shopper_id="anna", kind="click", occurred_at=NOON, coupon_id="tea", campaign_id="spring")


@pytest.fixture(autouse=True)
def shop() -> None:
    Shopper.objects.create(shopper_id="anna")
    Product.objects.create(product_id="green tea")
    make_campaign("spring", Coupon.objects.create(coupon_id="tea"))


def record(*events: NewEvent) -> RecordedEvents:
    return record_events(events=dict(enumerate(events)))


def test_an_event_lands_in_the_table_with_what_it_names() -> None:
    event = NewEvent(
        shopper_id="anna",
        kind="view",
        occurred_at=NOON,
        event_id="e1",
        coupon_id="tea",
        product_id="green tea",
        campaign_id="spring",
        value=2.5,
    )
    assert record(event) == RecordedEvents(accepted=1)
    assert Event.objects.values(
        "event_key", "shopper__shopper_id", "kind", "occurred_at", "coupon", "product", "campaign", "value"
    ).get() == {
        "event_key": "id:e1",
        "shopper__shopper_id": "anna",
        "kind": "view",
        "occurred_at": NOON,
        "coupon": Coupon.objects.get().pk,
        "product": Product.objects.get().pk,
        "campaign": Campaign.objects.get().pk,
        "value": 2.5,
    }


def test_what_an_event_does_not_name_stays_empty() -> None:
    record(NewEvent(shopper_id="anna", kind="usage", occurred_at=NOON, product_id="green tea"))
    row = Event.objects.get()
    assert (row.coupon, row.campaign, row.value) == (None, None, None)
    assert row.event_key == event_key(
        event_id=None, shopper_id="anna", kind="usage", occurred_at=NOON, product_id="green tea"
    )


def test_the_same_content_twice_is_one_event() -> None:
    there = CLICK.occurred_at.astimezone(timezone(timedelta(hours=8)))
    elsewhere = NewEvent(shopper_id="anna", kind="click", occurred_at=there, coupon_id="tea", campaign_id="spring")
    assert record(CLICK) == RecordedEvents(accepted=1)
    assert record(CLICK, elsewhere) == RecordedEvents(duplicates=2)
    assert Event.objects.count() == 1


def test_the_same_identifier_twice_is_one_event_and_the_first_stays() -> None:
    first = NewEvent(shopper_id="anna", kind="click", occurred_at=NOON, coupon_id="tea", event_id="e1")
    second = NewEvent(shopper_id="anna", kind="claim", occurred_at=NOON, coupon_id="tea", event_id="e1")
    assert record(first) == RecordedEvents(accepted=1)
    assert record(second) == RecordedEvents(duplicates=1)
    assert Event.objects.get().kind == "click"


def test_twice_in_one_list_is_one_event() -> None:
    assert record(CLICK, CLICK, CLICK) == RecordedEvents(accepted=1, duplicates=2)
    assert Event.objects.count() == 1


@pytest.mark.parametrize("column", ["shopper_id", "coupon_id", "product_id", "campaign_id"])
def test_an_event_that_names_what_is_not_there_is_refused_and_the_others_kept(column: str) -> None:
    wrong = NewEvent(**{"shopper_id": "anna", "kind": "click", "occurred_at": NOON, column: "nothing"})
    recorded = record_events(events={3: CLICK, 7: wrong})
    assert recorded.accepted == 1
    assert recorded.refused == {7: {column: [f"There is no {column.removesuffix('_id')} nothing."]}}
    assert Event.objects.get().event_key == CLICK.key


def test_every_wrong_name_of_an_event_is_told() -> None:
    wrong = NewEvent(shopper_id="x", kind="click", occurred_at=NOON, coupon_id="y", campaign_id="spring")
    assert set(record(wrong).refused[0]) == {"shopper_id", "coupon_id"}
    assert not Event.objects.exists()


def test_no_events_are_no_work() -> None:
    assert record() == RecordedEvents()


def test_the_number_of_queries_does_not_grow_with_the_list() -> None:
    events = [
        NewEvent(shopper_id="anna", kind="click", occurred_at=NOON + timedelta(seconds=n), coupon_id="tea")
        for n in range(50)
    ]
    with CaptureQueriesContext(connection) as queries:
        assert record(*events).accepted == 50
    # shoppers, coupons, known events, two savepoints with their ends, and the rows
    assert len(queries) == 8, "\n".join(str(query["sql"]) for query in queries)


def test_an_event_that_somebody_else_brings_meanwhile_is_a_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    other = NewEvent(shopper_id="anna", kind="usage", occurred_at=NOON, product_id="green tea")
    begin = transaction.atomic

    def begin_late() -> transaction.Atomic:
        monkeypatch.setattr(transaction, "atomic", begin)
        record(CLICK)
        return begin()

    monkeypatch.setattr(transaction, "atomic", begin_late)
    assert record(CLICK, other) == RecordedEvents(accepted=1, duplicates=1)
    assert Event.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_same_events_at_once_are_kept_and_counted_once() -> None:
    events = [
        NewEvent(shopper_id="anna", kind="click", occurred_at=NOON + timedelta(seconds=n), coupon_id="tea")
        for n in range(40)
    ]

    def post(some: Iterable[NewEvent]) -> RecordedEvents:
        try:
            return record(*some)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(post, [events, events[::-1], events[:30], events[10:]]))
    assert Event.objects.count() == 40
    assert sum(answer.accepted for answer in answers) == 40
    assert sum(answer.duplicates for answer in answers) == 40 + 40 + 30 + 30 - 40
