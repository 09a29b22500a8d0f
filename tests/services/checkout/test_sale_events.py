"""Sale events at the checkout: when their coupons hold, what may be used beside them, money that comes by the hour."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import hypothesis.strategies as st
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings

from recommender.models import (
    Campaign,
    Coupon,
    Order,
    Redemption,
    Reservation,
    ReservationCoupon,
    SaleEvent,
    SaleEventCounter,
    SaleEventHour,
    Shop,
    Shopper,
)
from recommender.rules.pacing import room, spread
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused, RefusedCoupon
from recommender.services.checkout.reserving import LIFETIME, note_refused, reserve, validate
from recommender.services.checkout.settling import ReturnedLine, confirm, release, reverse
from recommender.services.counters import recount_all
from recommender.services.holding import release_overdue
from recommender.services.own_coupons import claim_coupon
from recommender.services.patience import Busy
from recommender.services.redemption import RedemptionRefused, redeem_coupon
from recommender.services.sale_events import PlanRefused, check_plan, count_orders_by_hour, plan_hours
from recommender.services.serving import offers_of
from tests.api.shop_rows import publish
from tests.services.checkout.shop import DAY, MINUTE, NOW, SECOND, basket, hold, make_coupon, make_shop

HOUR = timedelta(hours=1)
SHOPPERS = [f"s{number}" for number in range(24)]


def make_event(*, hours: int = 3, shoppers: Sequence[str] = ("anna", "ben"), **fields: Any) -> SaleEvent:
    """From ``NOW`` on, its coupon ``c`` takes off two; six for each of three hours."""
    campaign = make_shop(shoppers)
    event = SaleEvent.objects.create(
        name="11.11",
        **{
            "warm_up_at": NOW - DAY,
            "starts_at": NOW,
            "ends_at": NOW + hours * HOUR,
            "budget": Decimal(6 * hours),
            **fields,
        },
    )
    Campaign.objects.filter(pk=campaign.pk).update(sale_event=event)
    plan_hours(event=event, at=NOW - DAY)
    make_coupon(stackable=True)
    return event


def add_other(coupon_id: str, **fields: Any) -> Coupon:
    """A coupon of the shop's own, in a campaign of no event."""
    Campaign.objects.get_or_create(
        campaign_id="usual", defaults={"starts_at": NOW - 30 * DAY, "ends_at": NOW + 30 * DAY}
    )
    return make_coupon(coupon_id, campaign="usual", **{"stackable": True, **fields})


def refusals(
    *coupon_ids: str, shopper: str = "anna", at: datetime = NOW, lifetime: timedelta = DAY
) -> list[RefusedCoupon]:
    """Why a basket does not get coupons; what it gets is held for long."""
    asked = [Asked(coupon_id=coupon_id) for coupon_id in coupon_ids or ["c"]]
    told = validate(shopper_id=shopper, basket=basket(), asked=asked, at=at).refused
    try:
        refused = reserve(shopper_id=shopper, basket=basket(), asked=asked, at=at, lifetime=lifetime)[1].refused
    except CheckoutRefused as refusal:
        refused = refusal.coupons
    assert told == refused  # looking says what reserving does
    return refused


def hours_of(event: SaleEvent) -> list[tuple[Decimal | None, Decimal, int]]:
    return [(hour.planned, hour.spent, hour.uses) for hour in event.hours.order_by("starts_at")]


# Windows


@pytest.mark.django_db
def test_coupons_hold_from_the_start_to_the_end_and_no_longer() -> None:
    make_event()
    (early,) = refusals(at=NOW - SECOND)
    assert (early.code, early.facts) == ("sale_event_not_started", {"starts_at": NOW})
    assert refusals(at=NOW) == []
    assert refusals(at=NOW + 3 * HOUR - SECOND) == []
    (late,) = refusals(at=NOW + 3 * HOUR)
    assert (late.code, late.facts) == ("sale_event_ended", {"ended_at": NOW + 3 * HOUR})


@pytest.mark.django_db
def test_a_use_without_a_basket_keeps_to_the_event_too() -> None:
    event = make_event(budget=3)

    def use(after: timedelta, amount: int = 1) -> object:
        moment = NOW + after
        return redeem_coupon(
            shopper_id="anna", coupon_id="c", redeemed_at=moment, at=moment, discount_amount=Decimal(amount)
        )

    for after in (-SECOND, 3 * HOUR):
        with pytest.raises(RedemptionRefused) as refusal:
            use(after)
        assert refusal.value.code == "sale_event_not_on"
    use(MINUTE)
    with pytest.raises(RedemptionRefused) as refusal:
        use(2 * MINUTE)
    assert refusal.value.code == "sale_event_hour_used_up"
    use(2 * HOUR, 2)
    with pytest.raises(RedemptionRefused) as refusal:
        use(2 * HOUR + MINUTE)
    assert refusal.value.code == "sale_event_budget_used_up"
    assert hours_of(event) == [(1, 1, 1), (1, 0, 0), (1, 2, 1)]
    assert recount_all(mend=False) == []


@pytest.mark.django_db
def test_what_is_told_late_is_held_to_the_money_of_its_own_hour() -> None:
    event = make_event()
    for _ in range(6):  # the second hour takes what the first left
        hold(at=NOW + HOUR)

    with pytest.raises(RedemptionRefused) as refusal:
        redeem_coupon(
            shopper_id="ben",
            coupon_id="c",
            redeemed_at=NOW + MINUTE,
            at=NOW + HOUR + MINUTE,
            discount_amount=Decimal(1),
        )

    assert refusal.value.code == "sale_event_hour_used_up"
    assert hours_of(event) == [(6, 0, 0), (6, 12, 6), (6, 0, 0)]


@pytest.mark.django_db
def test_the_warm_up_shows_and_lets_claim_what_does_not_hold_yet() -> None:
    event = make_event()
    anna, coupon = Shopper.objects.get(shopper_id="anna"), Coupon.objects.get()
    publish(Campaign.objects.get(), (anna, coupon, 0.5))

    def shown(at: Any) -> list[str]:
        return [coupon.coupon_id for coupon in offers_of(shopper_id="anna", at=at).coupons]

    assert shown(NOW - DAY - SECOND) == []
    assert shown(NOW - DAY) == ["c"]
    assert claim_coupon(shopper_id="anna", coupon_id="c", at=NOW - HOUR)[1]
    assert refusals(at=NOW - HOUR)[0].code == "sale_event_not_started"
    assert shown(NOW + 3 * HOUR - SECOND) == ["c"]
    assert shown(NOW + 3 * HOUR) == []
    # Without money for this hour it is shown, as there will be; without any at all it is not.
    SaleEventCounter.objects.filter(sale_event=event).update(spent=6, spent_ceiling=6)
    assert shown(NOW) == ["c"]
    SaleEventCounter.objects.filter(sale_event=event).update(spent=18, spent_ceiling=18)
    assert shown(NOW) == []


# What may be used together


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rule", "given", "refused"),
    [
        ({}, {"c", "d", "x", "y"}, {}),
        ({"most_coupons": 1}, {"d", "x", "y"}, {"c": ("too_many_of_sale_event", 1, ["d"])}),
        ({"most_others": 1}, {"c", "d", "y"}, {"x": ("too_many_beside_sale_event", 1, ["c", "d", "y"])}),
        (
            {"most_coupons": 1, "most_others": 1},
            {"d", "y"},
            {"c": ("too_many_of_sale_event", 1, ["d"]), "x": ("too_many_beside_sale_event", 1, ["d", "y"])},
        ),
        # Two of the shop's take off more than two of the event's.
        (
            {"most_others": 0},
            {"x", "y"},
            {name: ("too_many_beside_sale_event", 0, ["x", "y"]) for name in ("c", "d")},
        ),
    ],
)
def test_the_event_says_what_may_be_used_beside_its_coupons(
    rule: dict[str, int], given: set[str], refused: dict[str, tuple[str, int, list[str]]]
) -> None:
    make_event(**rule, budget=None)
    make_coupon("d", stackable=True, discount_value=Decimal("2.5"))
    add_other("x", discount_value=Decimal("2.25"))
    add_other("y", discount_value=Decimal("2.75"))
    asked = [Asked(coupon_id=name) for name in ("c", "d", "x", "y")]

    reservation, quote = reserve(shopper_id="anna", basket=basket(), asked=asked, at=NOW)

    assert {each.candidate.coupon.coupon_id for each in quote.given} == given
    assert {
        each.asked: (each.code, each.facts["most"], sorted(each.facts["others"])) for each in quote.refused
    } == refused
    assert set(reservation.coupons.values_list("coupon__coupon_id", flat=True)) == given


# Money that comes by the hour


@pytest.mark.django_db
def test_no_more_is_taken_off_in_an_hour_than_came_and_what_is_left_is_for_the_next() -> None:
    make_event()  # 6 an hour, 2 a use
    assert [refusals() for _ in range(3)] == [[], [], []]
    (refused,) = refusals(at=NOW + HOUR - SECOND)
    assert (refused.code, refused.facts) == ("sale_event_hour_used_up", {"again_at": NOW + HOUR})
    hold(at=NOW + HOUR, lifetime=DAY)
    # 4 are left of the second hour, so 10 can be had in the third.
    assert [refusals(at=NOW + 2 * HOUR) for _ in range(5)] == [[]] * 5
    (refused,) = refusals(at=NOW + 2 * HOUR)
    assert (refused.code, refused.facts) == ("sale_event_budget_used_up", {})


@pytest.mark.django_db
def test_an_hour_without_a_share_is_not_promised() -> None:
    event = make_event()
    event.hours.filter(starts_at=NOW + HOUR).update(planned=0)
    for _ in range(3):
        hold(lifetime=DAY)
    assert refusals()[0].facts == {"again_at": NOW + 2 * HOUR}
    assert refusals(at=NOW + HOUR)[0].facts == {"again_at": NOW + 2 * HOUR}


@pytest.mark.django_db
def test_several_campaigns_share_the_money_of_their_event() -> None:
    event = make_event()
    Campaign.objects.create(campaign_id="autumn", starts_at=NOW - DAY, ends_at=NOW + DAY, sale_event=event)
    make_coupon("d", campaign="autumn", stackable=True, discount_value=3)
    hold("d", lifetime=DAY)
    hold("d", "c", lifetime=DAY)
    assert refusals("c")[0].code == "sale_event_hour_used_up"
    hold("c", at=NOW + HOUR, lifetime=DAY)
    # Both cost 5 together; of less only the greater can be had.
    both = [Asked(coupon_id="c"), Asked(coupon_id="d")]
    for left, refused in ((5, []), (6, []), (4, ["c"])):
        with transaction.atomic():
            event.hours.filter(starts_at=NOW + HOUR).update(planned=left + 2)  # 8 are spent, and 6 came before
            quote = reserve(shopper_id="ben", basket=basket(), asked=both, at=NOW + HOUR + MINUTE)[1]
            assert [each.asked for each in quote.refused] == refused
            assert {each.code for each in quote.refused} <= {"sale_event_hour_used_up"}
            transaction.set_rollback(True)


@pytest.mark.django_db
def test_what_comes_back_comes_back_to_its_hour_and_carries_over() -> None:
    event = make_event()
    first, second, third = hold(), hold(), hold()
    confirm(reservation_id=first.reservation_id, order_id="o1", at=NOW + MINUTE)
    release(reservation_id=second.reservation_id, at=NOW + MINUTE)
    assert hours_of(event) == [(6, 4, 2), (6, 0, 0), (6, 0, 0)]
    assert refusals(at=NOW + LIFETIME - SECOND, lifetime=LIFETIME) == []  # what was released
    assert refusals(at=NOW + LIFETIME, lifetime=LIFETIME) == []  # what expired, unswept, of the third
    # Both hours' money, without the 4 that stay: the first's, and that of LIFETIME - SECOND, which is over by then.
    release_overdue(at=NOW + HOUR)
    assert hours_of(event) == [(6, 2, 1), (6, 0, 0), (6, 0, 0)]
    reverse(reservation_id=first.reservation_id, lines=[ReturnedLine("1", Decimal("0.5"))], at=NOW + HOUR)
    assert hours_of(event)[0] == (6, 1, 1)
    reverse(reservation_id=first.reservation_id, at=NOW + HOUR)
    assert hours_of(event)[0] == (6, 0, 0)
    # Confirmed late it counts in the hour in which it is.
    confirm(reservation_id=third.reservation_id, order_id="o3", at=NOW + 2 * HOUR)
    assert hours_of(event) == [(6, 0, 0), (6, 0, 0), (6, 2, 1)]
    assert recount_all(mend=False) == []


@pytest.mark.django_db
def test_what_was_promised_in_time_is_confirmed_after_the_event_while_there_is_money() -> None:
    event = make_event(hours=1)
    end = NOW + HOUR
    late = [hold(at=end - MINUTE, lifetime=SECOND) for _ in range(3)]
    taken = [hold(at=end - SECOND) for _ in range(2)]
    confirm(reservation_id=taken[0].reservation_id, order_id="t0", at=end)
    release_overdue(at=end)
    confirm(reservation_id=late[0].reservation_id, order_id="l0", at=end + MINUTE)
    with pytest.raises(CheckoutRefused) as refusal:
        confirm(reservation_id=late[1].reservation_id, order_id="l1", at=end + MINUTE)
    assert refusal.value.code == "sale_event_budget_used_up"
    assert hours_of(event) == [(6, 6, 3)]
    assert recount_all(mend=False) == []


@pytest.mark.django_db
def test_refusals_for_money_are_counted_by_the_hour() -> None:
    event = make_event()
    add_other("x")
    for _ in range(3):
        hold()
    reserve(shopper_id="ben", basket=basket(), asked=[Asked(coupon_id="c"), Asked(coupon_id="x")], at=NOW + MINUTE)
    assert list(event.hours.values_list("refused", flat=True)) == [1, 0, 0]
    note_refused(refusals(at=NOW + MINUTE), at=NOW + MINUTE)  # as whoever answers does, when all of it is undone
    note_refused(refusals(at=NOW - SECOND), at=NOW - SECOND)  # too early, not too dear
    assert list(event.hours.values_list("refused", flat=True)) == [2, 0, 0]


@pytest.mark.django_db
def test_without_a_budget_hours_only_count() -> None:
    event = make_event(budget=None)
    for _ in range(9):
        hold(at=NOW + HOUR)
    assert hours_of(event) == [(None, 0, 0), (None, 18, 9), (None, 0, 0)]


@pytest.mark.django_db
def test_an_event_without_a_plan_gives_nothing() -> None:
    event = make_event()
    event.hours.all().delete()
    event.counter.delete()
    assert refusals()[0].code == "sale_event_budget_used_up"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (SaleEventCounter.objects, {"spent": "6.001"}),
        (SaleEventHour.objects.filter(starts_at=NOW), {"spent": "6.001"}),
        (SaleEventHour.objects.filter(starts_at=NOW), {"spent": "-0.001"}),
    ],
)
def test_the_database_itself_refuses_what_has_not_come(rows: Any, changes: dict[str, str]) -> None:
    make_event()
    hold()
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(**changes)


# The plan


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "planned"),
    [
        ({"pacing": "even", "budget": 10}, ["3.34", "3.33", "3.33"]),
        ({"pacing": "at_once", "budget": 10}, ["10", "0", "0"]),
        ({"pacing": "even", "budget": 7, "ends_at": NOW + 2 * HOUR + 30 * MINUTE}, ["2.8", "2.8", "1.4"]),
        ({"pacing": "past_orders", "budget": 9}, ["6", "0", "3"]),
        ({"pacing": "past_orders", "budget": 9, "starts_at": NOW + 30 * MINUTE}, ["0", "9", "0"]),
        ({"pacing": "even", "budget": None}, [None, None, None]),
    ],
)
def test_the_budget_comes_by_the_hour_to_the_last_cent(fields: dict[str, Any], planned: list[str | None]) -> None:
    event = make_event()
    shopper = Shopper.objects.get(shopper_id="anna")
    for number, at in enumerate((NOW - DAY, NOW - 2 * DAY + 20 * MINUTE, NOW - DAY + 2 * HOUR, NOW - 60 * DAY)):
        Order.objects.create(order_id=f"o{number}", shopper=shopper, ordered_at=at)
    for name, value in fields.items():
        setattr(event, name, value)
    event.save()

    plan_hours(event=event, at=NOW - HOUR)

    hours = list(event.hours.order_by("starts_at"))
    assert [hour.starts_at - event.starts_at for hour in hours] == [number * HOUR for number in range(3)]
    assert [hour.planned for hour in hours] == [None if each is None else Decimal(each) for each in planned]


@pytest.mark.django_db
def test_hours_are_those_of_the_shops_clock() -> None:
    Shop.objects.update_or_create(defaults={"time_zone": "Asia/Kolkata"})  # half an hour off
    anna = Shopper.objects.create(shopper_id="anna")
    Order.objects.create(order_id="o", shopper=anna, ordered_at=NOW - DAY)
    assert count_orders_by_hour(at=NOW) == {17: 1}
    assert count_orders_by_hour(minute=30, at=NOW) == {17: 1}
    assert count_orders_by_hour(minute=45, at=NOW) == {16: 1}


@pytest.mark.django_db
def test_during_the_event_only_what_has_not_come_yet_is_planned_anew() -> None:
    event = make_event()
    hold()
    now = NOW + HOUR + MINUTE
    event.budget, event.ends_at = Decimal(32), NOW + 4 * HOUR
    check_plan(event=event, at=now)
    event.save()
    plan_hours(event=event, at=now)
    assert hours_of(event) == [(6, 2, 1), (6, 0, 0), (10, 0, 0), (10, 0, 0)]
    event.budget = Decimal(11)
    for refuse in (check_plan, plan_hours):
        with pytest.raises(PlanRefused, match=r"^12 came of the budget already"):
            refuse(event=event, at=now)
    assert hours_of(event) == [(6, 2, 1), (6, 0, 0), (10, 0, 0), (10, 0, 0)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("at", "fields", "field"),
    [
        (NOW - HOUR, {"starts_at": NOW - 2 * HOUR}, "starts_at"),
        (NOW + MINUTE, {"starts_at": NOW + HOUR}, "starts_at"),
        (NOW + HOUR, {"ends_at": NOW + HOUR}, "ends_at"),
        (NOW + 3 * HOUR, {"ends_at": NOW + 9 * HOUR}, "ends_at"),
        (NOW + 3 * HOUR, {"budget": Decimal(99)}, "budget"),
        (NOW + MINUTE, {"budget": Decimal(5)}, "budget"),
    ],
)
def test_what_has_happened_is_not_planned_otherwise(at: Any, fields: dict[str, Any], field: str) -> None:
    event = make_event()
    check_plan(event=event, at=at if at != NOW - HOUR else NOW - DAY)
    for name, value in fields.items():
        setattr(event, name, value)
    with pytest.raises(PlanRefused) as refusal:
        check_plan(event=event, at=at)
    assert refusal.value.field == field


# What holds of all of them

MONEY = st.integers(0, 50)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_a_plan_comes_to_the_budget_in_proportion(total: int, weights: list[int]) -> None:
    shares = spread(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    exact = [total * weight / whole if whole else total / len(weights) for weight in weights]
    assert all(abs(share - due) < 1.001 for share, due in zip(shares, exact, strict=True))


@given(st.lists(st.tuples(MONEY, MONEY), min_size=1, max_size=12), st.data())
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_room_is_the_most_that_keeps_every_hour_to_what_had_come(hours: list[tuple[int, int]], data: Any) -> None:
    planned, spent = ([Decimal(each) for each in column] for column in zip(*hours, strict=True))
    hour = data.draw(st.integers(0, len(hours) - 1))

    def keeps(amount: int) -> bool:
        took = [each + (amount if place == hour else 0) for place, each in enumerate(spent)]
        return all(sum(took[: end + 1]) <= sum(planned[: end + 1]) for end in range(hour, len(hours)))

    left = int(room(planned, spent, hour))
    assert left < 0 or keeps(left)
    assert not keeps(left + 1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "confirm", "release", "reverse", "sweep", "late", "raise"]),
        st.integers(0, 5),
        st.sampled_from([1, 20, 70]),
    ),
    min_size=4,
    max_size=18,
)


@pytest.mark.django_db(transaction=True)
@given(steps=STEPS)
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_until_the_end_of_no_hour_more_is_spent_than_came(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is done in whatever order, by the rows themselves; and what is refused would have been too much."""
    with transaction.atomic():
        event = make_event(hours=4, budget=Decimal(17))
        now, held = NOW, []
        for what, which, minutes in steps:
            now += minutes * MINUTE
            one = held[which % len(held)] if held else None
            try:
                if what == "reserve" and now < event.ends_at:
                    held.append(hold(at=now, lifetime=30 * MINUTE))
                elif what == "late" and now < event.ends_at:
                    told = max(NOW, now - 90 * MINUTE)
                    redeem_coupon(
                        shopper_id="ben", coupon_id="c", redeemed_at=told, at=now, discount_amount=Decimal(1 + which)
                    )
                elif what == "raise" and now < event.ends_at:
                    event.budget = event.budget + 1
                    event.save()
                    plan_hours(event=event, at=now)
                elif what == "sweep":
                    release_overdue(at=now)
                elif one is not None and what == "confirm":
                    confirm(reservation_id=one.reservation_id, order_id=f"o{one.pk}", at=now)
                elif one is not None and what in ("release", "reverse"):
                    (release if what == "release" else reverse)(reservation_id=one.reservation_id, at=now)
            except (CheckoutRefused, RedemptionRefused) as refusal:
                if what == "reserve":
                    assert spent_by_rows(event, now)[-1] + 2 > came_until(event, now), refusal.coupons  # type: ignore[union-attr]
            check(event)
        transaction.set_rollback(True)


def came_until(event: SaleEvent, at: Any) -> Decimal:
    return sum((hour.planned for hour in event.hours.all() if hour.starts_at <= at), Decimal(0))


def spent_by_rows(event: SaleEvent, overdue_at: Any = None) -> list[Decimal]:
    """What the rows of uses come to until the end of each hour, without what is overdue."""
    rows = ReservationCoupon.objects.filter(sale_event=event)
    if overdue_at is not None:
        rows = rows.exclude(reservation__in=Reservation.objects.overdue_at(overdue_at))
    uses = [*rows.values_list("counted_at", "held_amount")]
    told = Redemption.objects.filter(reservation_coupon__isnull=True)
    uses += told.values_list("redeemed_at", "discount_amount")
    hours = list(event.hours.order_by("starts_at").values_list("starts_at", flat=True))
    ends = [*hours[1:], NOW + 1000 * DAY]
    return [sum((amount for at, amount in uses if at < end), Decimal(0)) for end in ends]


def check(event: SaleEvent) -> None:
    planned = list(event.hours.order_by("starts_at").values_list("planned", flat=True))
    spent = spent_by_rows(event)
    assert all(gone <= sum(planned[: end + 1]) for end, gone in enumerate(spent)), (planned, spent)
    assert spent[-1] == SaleEventCounter.objects.get().spent
    assert spent[-1] == event.hours.aggregate(spent=Sum("spent"))["spent"]
    assert recount_all(mend=False) == []


# All at once


@pytest.mark.real
@pytest.mark.django_db(transaction=True)
def test_the_money_of_an_hour_that_all_want_at_once() -> None:
    """Many threads want the hour's money while others give theirs back: never a cent more than came, by the rows."""
    event = make_event(shoppers=SHOPPERS, budget=Decimal(42), hours=3)  # 14 an hour: 7 uses
    start = Barrier(len(SHOPPERS))

    def go(shopper: str) -> str:
        dice = random.Random(shopper)
        outcomes = []
        start.wait()
        try:
            for _turn in range(6):
                try:
                    held = hold(shopper=shopper, at=NOW + dice.choice([0, 1]) * HOUR)
                    outcomes.append("reserved")
                    if dice.random() < 0.5:
                        release(reservation_id=held.reservation_id, at=NOW + HOUR)
                except CheckoutRefused as refusal:
                    outcomes.append(refusal.coupons[0].code)
                except Busy:  # on SQLite, where all of them write
                    outcomes.append("busy")
        finally:
            connection.close()
        return " ".join(outcomes)

    with ThreadPoolExecutor(len(SHOPPERS)) as pool:
        outcomes = " ".join(pool.map(go, SHOPPERS)).split()

    assert set(outcomes) <= {"reserved", "sale_event_hour_used_up", "busy"}
    assert outcomes.count("reserved") > 7
    check(event)
    if connection.vendor == "postgresql":
        assert "busy" not in outcomes
        assert "sale_event_hour_used_up" in outcomes
    # To the last use that the two hours pay for, and no further.
    taken = sum(hour.uses for hour in event.hours.all())
    for _ in range(14 - taken):
        hold(at=NOW + HOUR, shopper="s0")
    with pytest.raises(CheckoutRefused):
        hold(at=NOW + HOUR, shopper="s0")
    check(event)
    assert spent_by_rows(event)[1:] == [28, 28]
