"""Each reason that the moment and the shopper give, and where it begins and ends."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from recommender.rules.eligibility import GroupState, Situation, Uses, refusal
from recommender.rules.offer import Limits, Offer
from recommender.rules.periods import Period, first_day, next_start
from recommender.rules.refusal import Refusal, RefusalCode
from tests.rules.shop import amount, buy_get, offer, percent

NOW = datetime(2024, 3, 6, 12, tzinfo=UTC)  # a Wednesday
TICK = timedelta(microseconds=1)
ZONE = ZoneInfo("Asia/Shanghai")
GOOD = percent("c1", "10")
HERE = Situation(NOW, ZONE)


def after(**terms: Any) -> Offer:
    return replace(GOOD, **terms)


def test_a_coupon_without_conditions_is_accepted() -> None:
    assert refusal(GOOD, HERE) is None


@pytest.mark.parametrize(
    ("asked", "situation", "code", "facts"),
    [
        (after(active=False), HERE, "coupon_not_active", {}),
        (after(starts_at=NOW + TICK), HERE, "coupon_not_started", {"starts_at": NOW + TICK}),
        (after(ends_at=NOW), HERE, "coupon_ended", {"ended_at": NOW}),
        (after(campaign_starts_at=NOW + TICK), HERE, "campaign_not_started", {"starts_at": NOW + TICK}),
        (after(campaign_ends_at=NOW), HERE, "campaign_ended", {"ended_at": NOW}),
        (GOOD, replace(HERE, opted_out=True), "shopper_opted_out", {}),
        (after(segment_id="members"), replace(HERE, segment_ids=frozenset({"new"})), "not_in_segment", {}),
        (after(first_order_only=True), replace(HERE, ordered_before=True), "not_first_order", {}),
        (after(limits=Limits(shopper=2)), replace(HERE, uses=Uses(shopper=2)), "shopper_limit_reached", {"limit": 2}),
        (after(limits=Limits(total=0)), HERE, "total_limit_reached", {"limit": 0}),
        (after(limits=Limits(total=9)), replace(HERE, uses=Uses(total=10)), "total_limit_reached", {"limit": 9}),
        (
            after(limits=Limits(day=1)),
            replace(HERE, uses=Uses(day=1)),
            "day_limit_reached",
            {"limit": 1, "again_at": datetime(2024, 3, 7, tzinfo=ZONE)},
        ),
        (
            after(limits=Limits(week=1)),
            replace(HERE, uses=Uses(week=1)),
            "week_limit_reached",
            {"limit": 1, "again_at": datetime(2024, 3, 11, tzinfo=ZONE)},
        ),
        (
            after(limits=Limits(month=1)),
            replace(HERE, uses=Uses(month=1)),
            "month_limit_reached",
            {"limit": 1, "again_at": datetime(2024, 4, 1, tzinfo=ZONE)},
        ),
        (after(group_size=3), HERE, "group_not_joined", {"size": 3}),
        (
            after(group_size=3),
            replace(HERE, group=GroupState(1, NOW + TICK)),
            "group_not_full",
            {"missing": 2, "closes_at": NOW + TICK},
        ),
        (
            after(group_size=3),
            replace(HERE, group=GroupState(2, NOW)),
            "group_not_filled_in_time",
            {"size": 3, "closed_at": NOW},
        ),
        (after(budget_left=Decimal(0)), HERE, "budget_used_up", {}),
        (after(campaign_budget_left=Decimal(-1)), HERE, "campaign_budget_used_up", {}),
    ],
)
def test_refused(asked: Offer, situation: Situation, code: str, facts: dict[str, Any]) -> None:
    assert refusal(asked, situation) == Refusal("c1", RefusalCode(code), facts)


@pytest.mark.parametrize(
    ("asked", "situation"),
    [
        (after(starts_at=NOW, ends_at=NOW + TICK), HERE),
        (after(campaign_starts_at=NOW, campaign_ends_at=NOW + TICK), HERE),
        (after(segment_id="members"), replace(HERE, segment_ids=frozenset({"new", "members"}))),
        (after(first_order_only=True), HERE),
        (after(limits=Limits(9, 5, 2, 3, 4)), replace(HERE, uses=Uses(8, 4, 1, 2, 3))),
        (after(group_size=3), replace(HERE, group=GroupState(3, NOW + TICK))),
        (after(group_size=3), replace(HERE, group=GroupState(3, NOW - TICK))),  # it was full when it closed
        (after(budget_left=Decimal("0.001"), campaign_budget_left=Decimal("0.001")), HERE),
    ],
)
def test_accepted(asked: Offer, situation: Situation) -> None:
    assert refusal(asked, situation) is None


@pytest.mark.parametrize(
    ("asked", "has_terms"),
    [
        (offer("c1", None, "10"), False),
        (percent("c1", "100"), True),
        (percent("c1", "100.001"), False),
        (percent("c1", "0"), False),
        (offer("c1", GOOD.discount_type), False),
        (amount("c1", "0.001"), True),
        (amount("c1", "0"), False),
        (buy_get("c1", 1, 1), True),
        (buy_get("c1", 1, 1, "50"), True),
        (buy_get("c1", 1, 1, "101"), False),
        (buy_get("c1", None, 1), False),
        (buy_get("c1", 1, 0), False),
    ],
)
def test_history_may_hold_coupons_that_do_not_say_what_they_take_off(asked: Offer, has_terms: bool) -> None:
    assert refusal(asked, HERE) == (None if has_terms else Refusal("c1", RefusalCode.TERMS_UNKNOWN))


def test_of_several_reasons_the_first_of_the_list_is_told() -> None:
    asked = after(ends_at=NOW, limits=Limits(total=0, month=0, day=0), budget_left=Decimal(0))
    told = []
    for terms in (
        {},
        {"ends_at": None},
        {"limits": Limits(total=0, day=0)},
        {"limits": Limits(total=0)},
        {"limits": Limits()},
    ):
        asked = replace(asked, **terms)
        found = refusal(asked, HERE)
        assert found is not None
        told.append(found.code)
    assert told == ["coupon_ended", "month_limit_reached", "day_limit_reached", "total_limit_reached", "budget_used_up"]
    assert [list(RefusalCode).index(code) for code in told] == sorted(list(RefusalCode).index(code) for code in told)


@pytest.mark.parametrize(
    ("period", "first", "following"),
    [
        (Period.DAY, date(2024, 3, 31), datetime(2024, 4, 1)),
        (Period.WEEK, date(2024, 3, 25), datetime(2024, 4, 1)),
        (Period.MONTH, date(2024, 3, 1), datetime(2024, 4, 1)),
    ],
)
def test_periods_are_those_of_the_shops_clock(period: Period, first: date, following: datetime) -> None:
    """On that night clocks go forward in Berlin, and it is the day before in New York."""
    berlin = ZoneInfo("Europe/Berlin")
    moment = datetime(2024, 3, 31, 3, 30, tzinfo=UTC)
    assert first_day(period, moment, berlin) == first
    start = next_start(period, moment, berlin)
    assert start == following.replace(tzinfo=berlin)
    assert first_day(period, start - TICK, berlin) == first
    assert first_day(period, start, berlin) > first
    assert first_day(Period.DAY, moment, ZoneInfo("America/New_York")) == date(2024, 3, 30)


@pytest.mark.parametrize("day", [1, 31])
def test_the_month_after(day: int) -> None:
    moment = datetime(2024, 1, day, tzinfo=UTC)
    assert next_start(Period.MONTH, moment, ZoneInfo("UTC")) == datetime(2024, 2, 1, tzinfo=UTC)


def test_a_moment_has_a_time_zone() -> None:
    with pytest.raises(ValueError, match="moment: expected a moment with a time zone"):
        Situation(datetime(2024, 3, 1), ZONE)


@pytest.mark.parametrize("name", ["America/Santiago", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Pacific/Apia"])
def test_a_period_ends_where_the_next_begins_where_clocks_change_at_midnight(name: str) -> None:
    """There a day has no midnight, or two, or (Apia, in 2011) is left out."""
    zone = ZoneInfo(name)
    moment = datetime(2011 if name == "Pacific/Apia" else 2026, 1, 1, tzinfo=UTC)
    for _step in range(366 * 4):
        moment += timedelta(hours=6, minutes=1)
        for period in Period:
            following = next_start(period, moment, zone).astimezone(UTC)
            assert moment < following
            assert first_day(period, following - TICK, zone) == first_day(period, moment, zone)
            assert first_day(period, following, zone) > first_day(period, moment, zone)
