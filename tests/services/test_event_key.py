"""The key of an event: stable, the same at every door, and never shared by two events."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from recommender.services.event_key import event_key

FACTS = {
    "event_id": None,
    "shopper_id": "s1",
    "kind": "view",
    "occurred_at": datetime(2024, 3, 1, 13, tzinfo=UTC),
    "coupon_id": "c1",
    "product_id": "p1",
    "campaign_id": "m1",
    "value": 2.0,
}


def test_an_identifier_is_the_key() -> None:
    assert event_key(**{**FACTS, "event_id": "e1"}) == "id:e1"


def test_an_identifier_of_a_shoppers_own_is_that_shoppers() -> None:
    own = event_key(**{**FACTS, "event_id": "e1"}, by_shopper=True)
    assert own == "shopper:a0c24e2727c25be3491f1916143863e85796741d6dc0a9bcc706b0ff110f1f8a"
    assert own not in {
        event_key(**{**FACTS, **other}, by_shopper=True)
        for other in ({"event_id": "e2"}, {"event_id": "e1", "shopper_id": "s2"})
    }


def test_without_an_identifier_the_facts_are() -> None:
    """Keys are stored: another value here would let every old event in a second time."""
    assert event_key(**FACTS) == "sha256:58b5bc2885b62af84d3221492d5b6c7704d942948a5bfd273e681728ba23b534"


@pytest.mark.parametrize(
    "same",
    [
        {"event_id": ""},
        {"value": 2},
        {"occurred_at": datetime(2024, 3, 1, 15, tzinfo=timezone(timedelta(hours=2)))},
    ],
)
def test_the_same_facts_give_the_same_key(same) -> None:
    assert event_key(**{**FACTS, **same}) == event_key(**FACTS)


@pytest.mark.parametrize(
    "other",
    [
        {"shopper_id": "s2"},
        {"kind": "usage"},
        {"occurred_at": datetime(2024, 3, 1, 13, 0, 0, 1, tzinfo=UTC)},
        {"coupon_id": None},
        {"coupon_id": "p1", "product_id": "c1"},
        {"product_id": None},
        {"campaign_id": "m2"},
        {"value": None},
        {"value": 2.5},
    ],
)
def test_another_fact_gives_another_key(other) -> None:
    assert event_key(**{**FACTS, **other}) != event_key(**FACTS)


def test_the_longest_identifier_fits_the_column() -> None:
    assert len(event_key(**{**FACTS, "event_id": "x" * 64})) <= 80
    assert len(event_key(**FACTS)) <= 80
