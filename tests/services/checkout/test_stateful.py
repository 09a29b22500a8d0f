"""The life of coupons against a model of it that is a list of who holds what."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from recommender.models import CampaignCounter, Coupon, Redemption, Reservation
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused
from recommender.services.checkout.reserving import validate
from recommender.services.checkout.settling import CONFIRMED_LATE_WITHIN, ReturnedLine, confirm, release, reverse
from recommender.services.counters import recount_all
from recommender.services.holding import release_overdue
from recommender.services.redemption import RedemptionRefused, redeem_coupon
from tests.services.checkout.shop import NOW, basket, count_by_sql, hold, make_coupon, make_shop

SHOPPERS = ("anna", "ben", "cleo")
#: Uses in all, uses a shopper may have, uses a shopper may have in a day, budget.
RULES: dict[str, tuple[int | None, int | None, int | None, Decimal | None]] = {
    "few": (3, None, None, None),
    "own": (None, 2, 1, None),
    "money": (None, None, None, Decimal(7)),
}
CAMPAIGN_BUDGET = Decimal(11)
OFF = Decimal(2)
LIFETIME = timedelta(minutes=10)


@dataclass
class Held:
    """What the model knows of a reservation: of two pieces that take off 1 each."""

    shopper: str
    coupon: str
    until: datetime
    counted: datetime
    state: str = "reserved"
    amount: Decimal = OFF
    returned: int = 0
    counts: bool = True


class Life(RuleBasedStateMachine):
    """Time goes on, and what is over stays held until somebody wants it or the sweep comes."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model: dict[Reservation, Held] = {}
        self.direct: list[Held] = []
        self.limits = dict(RULES)
        make_shop(SHOPPERS, budget=CAMPAIGN_BUDGET)
        for coupon_id, (total, own, daily, budget) in RULES.items():
            make_coupon(coupon_id, total_limit=total, per_shopper_limit=own, per_day_limit=daily, budget=budget)

    # The model

    def counting(self) -> list[Held]:
        return [held for held in (*self.model.values(), *self.direct) if held.counts]

    def refusal(self, shopper: str, coupon: str, amount: Decimal) -> str | None:
        """Why a use is refused, in the order in which reasons are told, by those that count and are not over."""
        now = [held for held in self.counting() if held.state != "reserved" or held.until > self.now]
        of_coupon = [held for held in now if held.coupon == coupon]
        own = [held for held in of_coupon if held.shopper == shopper]
        today = [held for held in own if held.counted.date() == self.now.date()]
        total, each, daily, budget = self.limits[coupon]
        if each is not None and len(own) >= each:
            return "shopper_limit_reached"
        if daily is not None and len(today) >= daily:
            return "day_limit_reached"
        if total is not None and len(of_coupon) >= total:
            return "total_limit_reached"
        if budget is not None and sum(held.amount for held in of_coupon) + amount > budget:
            return "budget_used_up"
        if sum(held.amount for held in now) + amount > CAMPAIGN_BUDGET:
            return "campaign_budget_used_up"
        return None

    def expire(self) -> None:
        """Those that are over end: whoever wants one wants money of the budget that all of them share."""
        for held in self.model.values():
            if held.state == "reserved" and held.until <= self.now:
                held.state, held.counts = "expired", False

    # What can happen

    @rule(minutes=st.sampled_from([1, 9, 11, 60, 24 * 60]))
    def time_goes_on(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(target=reservations, shopper=st.sampled_from(SHOPPERS), coupon=st.sampled_from(sorted(RULES)))
    def reserve(self, shopper: str, coupon: str) -> object:
        self.now += timedelta(seconds=1)
        expected = self.refusal(shopper, coupon, OFF)
        try:
            reservation = hold(coupon, shopper=shopper, at=self.now, lifetime=LIFETIME, of=basket(("tea", "2", "10")))
        except CheckoutRefused as refused:
            assert [each.code for each in refused.coupons] == [expected]
            return multiple()
        assert expected is None
        self.expire()
        self.model[reservation] = Held(shopper, coupon, self.now + LIFETIME, self.now)
        return reservation

    @rule(shopper=st.sampled_from(SHOPPERS), coupon=st.sampled_from(sorted(RULES)))
    def validate(self, shopper: str, coupon: str) -> None:
        quote = validate(shopper_id=shopper, basket=basket(), asked=[Asked(coupon_id=coupon)], at=self.now)
        expected = self.refusal(shopper, coupon, OFF)
        assert [each.code for each in quote.refused] == ([] if expected is None else [expected])

    @rule(shopper=st.sampled_from(SHOPPERS), coupon=st.sampled_from(sorted(RULES)))
    def redeem(self, shopper: str, coupon: str) -> None:
        """At a till that knows nothing of reservations."""
        self.now += timedelta(seconds=1)
        expected = self.refusal(shopper, coupon, Decimal(1))
        use = {"shopper_id": shopper, "coupon_id": coupon, "discount_amount": Decimal(1)}
        try:
            redeem_coupon(**use, redeemed_at=self.now, at=self.now)
        except RedemptionRefused:
            assert expected is not None  # of several reasons another may be told than at the reservation
        else:
            assert expected is None
            self.expire()
            self.direct.append(Held(shopper, coupon, self.now, self.now, "confirmed", Decimal(1)))

    @rule(reservation=reservations)
    def confirm(self, reservation: Reservation) -> None:
        held = self.model[reservation]
        self.now += timedelta(seconds=1)
        expected: str | None = None
        if held.state in ("released", "reversed"):
            expected = f"reservation_{held.state}"
        elif held.state == "expired":
            if self.now > held.until + CONFIRMED_LATE_WITHIN:
                expected = "reservation_expired"
            else:
                expected = self.refusal(held.shopper, held.coupon, OFF)
        code = self.outcome_of(lambda: confirm(**named(reservation), order_id=f"o{reservation.pk}", at=self.now))
        if held.state == "expired" and expected is not None and expected != "reservation_expired":
            assert code is not None  # of several reasons another may be told than at the reservation
        else:
            assert code == expected
        if code is None:
            if held.state == "expired":
                self.expire()
                held.counted, held.counts = self.now, True
            held.state = "confirmed"

    @rule(reservation=reservations)
    def release(self, reservation: Reservation) -> None:
        held = self.model[reservation]
        code = self.outcome_of(lambda: release(**named(reservation), at=self.now))
        if held.state in ("confirmed", "reversed"):
            assert code == f"reservation_{held.state}"
            return
        assert code is None
        if held.state == "reserved":
            held.state, held.counts = "released", False

    @rule(reservation=reservations, pieces=st.sampled_from([1, 2, None]))
    def reverse(self, reservation: Reservation, pieces: int | None) -> None:
        held = self.model[reservation]
        lines = None if pieces is None else [ReturnedLine("1", Decimal(pieces))]
        code = self.outcome_of(lambda: reverse(**named(reservation), lines=lines, at=self.now))
        if held.state == "reversed":
            assert code == (None if pieces is None else "more_than_is_left")
        elif held.state != "confirmed":
            assert code == "not_confirmed"
        elif pieces is not None and held.returned + pieces > 2:
            assert code == "more_than_is_left"
        else:
            assert code is None
            held.returned = 2 if pieces is None else held.returned + pieces
            held.amount = OFF - held.returned
            if held.returned == 2:
                held.state, held.counts = "reversed", False

    @rule()
    def sweep(self) -> None:
        release_overdue(at=self.now)
        self.expire()

    @rule(limit=st.sampled_from([0, 1, 3, None]))
    def staff_change_a_limit(self, limit: int | None) -> None:
        Coupon.objects.filter(coupon_id="few").update(total_limit=limit)
        self.limits["few"] = (limit, *self.limits["few"][1:])

    def outcome_of(self, step: object) -> str | None:
        try:
            step()  # type: ignore[operator]
        except CheckoutRefused as refused:
            return refused.code
        return None

    # What always holds

    @invariant()
    def what_counts_is_what_the_model_says(self) -> None:
        counts = count_by_sql()
        for coupon in RULES:
            of_coupon = [held for held in self.counting() if held.coupon == coupon]
            assert counts[coupon] == (len(of_coupon), sum(held.amount for held in of_coupon)), coupon
        spent = sum(held.amount for held in self.counting())
        counter = CampaignCounter.objects.first()
        assert (counter.spent if counter else 0) == spent <= CAMPAIGN_BUDGET
        states = {reservation.pk: held.state for reservation, held in self.model.items()}
        assert dict(Reservation.objects.values_list("pk", "state")) == states
        confirmed = sum(held.state == "confirmed" for held in (*self.model.values(), *self.direct))
        assert Redemption.objects.count() == confirmed

    @invariant()
    def a_recount_finds_nothing(self) -> None:
        assert recount_all(mend=False) == []


def named(reservation: Reservation) -> dict[str, object]:
    return {"reservation_id": reservation.reservation_id}


class IsolatedLife(Life):
    """A life in a transaction of its own, of which nothing stays."""

    def __init__(self) -> None:
        self._transaction = transaction.atomic()
        self._transaction.__enter__()
        super().__init__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._transaction.__exit__(None, None, None)


@pytest.mark.django_db
@pytest.mark.parametrize("examples", [10, pytest.param(300, marks=pytest.mark.prove)])
def test_the_life_of_coupons_is_the_models(examples: int) -> None:
    run_state_machine_as_test(
        IsolatedLife,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
