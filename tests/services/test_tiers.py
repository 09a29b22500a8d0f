"""Tiers of shoppers: four segments whose numbers follow from the shop's own history."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

import hypothesis.strategies as st
import pytest
from django.db import transaction
from hypothesis import given, settings

from recommender.models import Order, OrderLine, Product, SaleEvent, Segment, SegmentCondition, Shopper
from recommender.services.segments import find_shoppers
from recommender.services.tiers import (
    DAYS,
    NEW_DAYS,
    Cuts,
    NoHistory,
    measure_cuts,
    quantile,
    reckon_tiers,
    reckon_tiers_by_night,
)

NOW = datetime(2026, 11, 8, tzinfo=UTC)
DAY = timedelta(days=1)


def add_shopper(name: str, *days: int, amount: int = 10, now: datetime = NOW) -> None:
    """Whose orders were so many days ago."""
    shopper = Shopper.objects.create(shopper_id=name)
    product, _is_new = Product.objects.get_or_create(product_id="of the history")
    for number, ago in enumerate(days):
        order = Order.objects.create(order_id=f"{name}-{number}", shopper=shopper, ordered_at=now - ago * DAY)
        OrderLine.objects.create(order=order, position=0, product=product, quantity=1, amount=amount)


def members(tier: str, at: datetime = NOW + timedelta(seconds=1)) -> set[str]:
    segment = Segment.objects.get(tier=tier)
    return set(find_shoppers(segment=segment, at=at).values_list("shopper_id", flat=True))


def make_history(now: datetime = NOW) -> None:
    add_shopper("often", 0, 10, 20, 30, 40, now=now)
    add_shopper("dear", 5, 100, amount=90, now=now)
    add_shopper("cheap", 8, 100, amount=1, now=now)
    add_shopper("seldom", 9, 200, now=now)
    add_shopper("gone", 90, 100, 110, now=now)
    add_shopper("going", 60, 70, now=now)
    add_shopper("young", 3, 29, now=now)
    add_shopper("lost", 400, 500, now=now)
    add_shopper("never", now=now)


@pytest.mark.django_db
def test_shoppers_are_cut_where_the_shops_own_quantiles_are() -> None:
    make_history()

    cuts = reckon_tiers(at=NOW + timedelta(seconds=1))

    # Six who are not new ordered within the year: 0, 5, 8, 9, 60 and 90 days ago; 5, 2, 2, 2, 3 and 2 times.
    assert cuts == Cuts(shoppers=6, recent_days=9, often=3, much=Decimal(20))
    assert {tier: members(tier) for tier in Segment.Tier.values} == {
        "frequent": {"often"},
        "loyal": {"dear", "seldom"},
        "lapsing": {"gone", "going"},
        "new": {"young"},
    }


@pytest.mark.django_db
def test_tiers_are_reckoned_anew_into_the_same_segments() -> None:
    make_history()
    reckon_tiers(at=NOW + timedelta(seconds=1))
    before = dict(Segment.objects.exclude(tier="").values_list("tier", "pk"))
    Segment.objects.filter(tier="new").update(name="Newcomers", match="any")
    later = NOW + 40 * DAY
    Order.objects.create(order_id="late", shopper=Shopper.objects.get(shopper_id="going"), ordered_at=later)

    cuts = reckon_tiers(at=later + timedelta(seconds=1))

    assert cuts.shoppers == 7  # the young one is new no longer
    assert dict(Segment.objects.exclude(tier="").values_list("tier", "pk")) == before
    assert list(Segment.objects.filter(tier="new").values_list("name", "match")) == [("Newcomers", "all")]
    assert SegmentCondition.objects.exclude(segment__tier="").count() == 3 + 4 + 3 + 1
    assert members("new", later + timedelta(seconds=1)) == set()


@pytest.mark.django_db
def test_without_history_nothing_is_changed() -> None:
    add_shopper("young", 3)
    with pytest.raises(NoHistory, match="Nobody has ordered who did so before the last 30 days"):
        reckon_tiers(at=NOW)
    assert not Segment.objects.exclude(tier="").exists()


@pytest.mark.django_db
def test_a_name_that_is_taken_is_not_taken_again() -> None:
    make_history()
    Segment.objects.create(name="new shoppers")
    reckon_tiers(at=NOW + timedelta(seconds=1))
    assert Segment.objects.get(tier="new").name == "new shoppers 2"


@pytest.mark.django_db
def test_by_night_only_what_is_there_is_reckoned_and_not_while_an_event_is_near() -> None:
    make_history()
    at = NOW + timedelta(seconds=1)
    assert reckon_tiers_by_night(at=at) is None
    assert not Segment.objects.exclude(tier="").exists()
    reckon_tiers(at=at)
    event = SaleEvent.objects.create(name="11.11", warm_up_at=at, starts_at=at + 3 * DAY, ends_at=at + 4 * DAY)
    assert reckon_tiers_by_night(at=at - timedelta(microseconds=1)) is not None
    for near in (event.warm_up_at, event.starts_at, event.ends_at, event.ends_at + DAY - timedelta(seconds=1)):
        assert reckon_tiers_by_night(at=near) is None
    assert reckon_tiers_by_night(at=event.ends_at + DAY) is not None


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3, 1, 2], Fraction(2, 3), 2),
        ([1], Fraction(1, 2), 1),
        ([1, 2, 3, 4], Fraction(3, 4), 3),
        ([5, 5], Fraction(1), 5),
    ],
)
def test_quantiles(values: list[int], share: Fraction, expected: int) -> None:
    assert quantile(values, share) == expected


HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(0, 420), st.integers(0, 60)), min_size=1, max_size=5), min_size=1, max_size=9
)


@pytest.mark.django_db
@given(HISTORIES)
@settings(max_examples=25, derandomize=True, deadline=None, database=None)
def test_each_tier_is_what_it_says_and_nobody_is_in_two(histories: Sequence[list[tuple[int, int]]]) -> None:
    """Against the rule spelled out on plain numbers."""
    with transaction.atomic():
        tea = Product.objects.create(product_id="tea")
        for number, orders in enumerate(histories):
            shopper = Shopper.objects.create(shopper_id=str(number))
            for place, (ago, amount) in enumerate(orders):
                # No two moments lie whole days apart, so that nobody is just on the edge.
                moment = NOW - ago * DAY - timedelta(seconds=7 * number + place)
                order = Order.objects.create(order_id=f"{number}-{place}", shopper=shopper, ordered_at=moment)
                OrderLine.objects.create(order=order, position=0, product=tea, quantity=1, amount=amount)
        at = NOW + timedelta(seconds=1)
        latest = max(Order.objects.values_list("ordered_at", flat=True))
        told = {}
        for number in range(len(histories)):
            own = [
                ((latest - order.ordered_at) / DAY, order.lines.get().amount)
                for order in Order.objects.filter(shopper__shopper_id=str(number))
            ]
            within = [each for each in own if each[0] <= DAYS]
            told[str(number)] = (
                max(ago for ago, _amount in own) <= NEW_DAYS,
                min((ago for ago, _amount in within), default=None),
                len(within),
                sum((amount for _ago, amount in within), Decimal(0)),
            )
        known = [(last, times, spent) for new, last, times, spent in told.values() if not new and last is not None]
        if not known:
            with pytest.raises(NoHistory):
                measure_cuts(at=at)
            transaction.set_rollback(True)
            return
        lasts, counts, sums = (sorted(column) for column in zip(*known, strict=True))
        recent = max(1, ceil(lasts[ceil(2 * len(known) / 3) - 1]))
        often = max(2, counts[ceil(3 * len(known) / 4) - 1])
        much = sums[ceil(len(known) / 2) - 1]

        reckon_tiers(at=at)

        expected: dict[str, set[str]] = {tier: set() for tier in Segment.Tier.values}
        for name, (new, last, times, spent) in told.items():
            if new:
                expected["new"].add(name)
            elif last is not None and last > recent:
                expected["lapsing"].add(name)
            elif last is not None and times >= often:
                expected["frequent"].add(name)
            elif last is not None and spent >= much:
                expected["loyal"].add(name)
        assert {tier: members(tier, at) for tier in Segment.Tier.values} == expected
        transaction.set_rollback(True)
