"""The life of groups against a model of it that is a list of who belongs to which."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import hypothesis.strategies as st
import pytest
from django.db import transaction
from django.db.models import Count
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from recommender.models import Coupon, GroupBuy, GroupBuyMember
from recommender.services.checkout.groups import join_group, start_group
from recommender.services.checkout.refusals import CheckoutRefused
from recommender.services.checkout.settling import confirm
from recommender.services.counters import recount_all
from recommender.services.holding import release_overdue
from tests.services.checkout.shop import NOW, count_by_sql, hold, make_coupon, make_shop

SHOPPERS = ("anna", "ben", "cleo", "dan", "eve")
SIZE, HOURS, STOCK = 3, 24, 7
COUPONS = ("one", "two")


@dataclass
class Kept:
    """What the model knows of a group: who belongs to it, and who of them used the coupon."""

    coupon: str
    closes: datetime
    members: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def is_full(self) -> bool:
        return len(self.members) == SIZE

    def state_at(self, moment: datetime) -> str:
        return "unlocked" if self.is_full() else "open" if moment < self.closes else "failed"

    def holds_at(self, moment: datetime) -> int:
        """Uses that are taken of the coupon: those of members who used theirs too."""
        return 0 if self.state_at(moment) == "failed" else len(self.members)


class Groups(RuleBasedStateMachine):
    """Time goes on, and what is over stays held until somebody wants it or the sweep comes."""

    groups = Bundle("groups")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model: dict[GroupBuy, Kept] = {}
        make_shop(SHOPPERS)
        for coupon in COUPONS:
            make_coupon(coupon, group_size=SIZE, group_hours=HOURS, total_limit=STOCK)

    def taken(self, coupon: str) -> int:
        return sum(kept.holds_at(self.now) for kept in self.model.values() if kept.coupon == coupon)

    def waits(self, shopper: str, coupon: str) -> bool:
        """Whether a use of the coupon is kept for the shopper."""
        return any(
            kept.coupon == coupon
            and shopper in kept.members
            and shopper not in kept.used
            and kept.state_at(self.now) != "failed"
            for kept in self.model.values()
        )

    def refusal(self, shopper: str, coupon: str) -> str | None:
        if self.waits(shopper, coupon):
            return "already_in_a_group"
        return "total_limit_reached" if self.taken(coupon) >= STOCK else None

    # What can happen

    @rule(hours=st.sampled_from([1, 11, 23, 24]))
    def time_goes_on(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(target=groups, shopper=st.sampled_from(SHOPPERS), coupon=st.sampled_from(COUPONS))
    def start(self, shopper: str, coupon: str) -> object:
        expected = self.refusal(shopper, coupon)
        try:
            group = start_group(shopper_id=shopper, coupon_id=coupon, at=self.now)
        except CheckoutRefused as refused:
            assert refused.code == expected
            return multiple()
        assert expected is None
        self.model[group] = Kept(coupon, self.now + timedelta(hours=HOURS), [shopper])
        return group

    @rule(group=groups, shopper=st.sampled_from(SHOPPERS))
    def join(self, group: GroupBuy, shopper: str) -> None:
        kept = self.model[group]
        expected = None
        if shopper not in kept.members:
            state = kept.state_at(self.now)
            ended = {"unlocked": "group_full", "failed": "group_closed"}
            expected = ended.get(state) or self.refusal(shopper, kept.coupon)
        try:
            join_group(shopper_id=shopper, group_id=group.group_id, at=self.now)
        except CheckoutRefused as refused:
            assert refused.code == expected
        else:
            assert expected is None
            if shopper not in kept.members:
                kept.members.append(shopper)

    @rule(group=groups, shopper=st.sampled_from(SHOPPERS))
    def use(self, group: GroupBuy, shopper: str) -> None:
        """In a basket, whichever of the shopper's groups keeps the use."""
        coupon = self.model[group].coupon
        own = [
            kept
            for kept in self.model.values()
            if kept.coupon == coupon and shopper in kept.members and shopper not in kept.used and kept.is_full()
        ]
        try:
            reservation = hold(coupon, shopper=shopper, at=self.now)
        except CheckoutRefused:
            assert not own
            return
        assert own
        confirm(reservation_id=reservation.reservation_id, order_id=f"o{reservation.pk}", at=self.now)
        own[0].used.add(shopper)

    @rule()
    def sweep(self) -> None:
        release_overdue(at=self.now)
        for kept in self.model.values():
            if kept.state_at(self.now) == "failed":
                assert not GroupBuyMember.objects.filter(group__coupon__coupon_id=kept.coupon, held_uses=1).filter(
                    group__state=GroupBuy.State.FAILED
                )

    # What always holds

    @invariant()
    def never_more_uses_than_the_stock(self) -> None:
        for coupon, (uses, _spent) in count_by_sql().items():
            assert uses <= STOCK
            assert self.taken(coupon) <= uses, "what is over may be held until somebody wants it"
        release = transaction.savepoint()
        release_overdue(at=self.now)
        assert {coupon: uses for coupon, (uses, _spent) in count_by_sql().items()} == {
            coupon: self.taken(coupon) for coupon in COUPONS
        }, "who belonged to a group that was not full in time holds nothing"
        assert recount_all(mend=False) == []
        transaction.savepoint_rollback(release)

    @invariant()
    def groups_are_the_models(self) -> None:
        found = {group.pk: group for group in GroupBuy.objects.annotate(counted=Count("members"))}
        for group, kept in self.model.items():
            now = found[group.pk]
            assert (now.state_at(self.now), now.joined, now.counted) == (
                kept.state_at(self.now),
                len(kept.members),
                len(kept.members),
            )
            members = GroupBuyMember.objects.filter(group=group).order_by("pk")
            assert list(members.values_list("shopper__shopper_id", flat=True)) == kept.members
            assert len(set(kept.members)) == len(kept.members) <= SIZE
        assert set(Coupon.objects.values_list("coupon_id", flat=True)) == set(COUPONS)


class IsolatedGroups(Groups):
    """A life in a transaction of its own, of which nothing stays."""

    def __init__(self) -> None:
        self._transaction = transaction.atomic()
        self._transaction.__enter__()
        super().__init__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._transaction.__exit__(None, None, None)


@pytest.mark.django_db
@pytest.mark.parametrize("examples", [15, pytest.param(300, marks=pytest.mark.prove)])
def test_the_life_of_groups_is_the_models(examples: int) -> None:
    run_state_machine_as_test(
        IsolatedGroups,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
