"""Groups unlock a coupon when enough join in time, never more than its stock, and give back what was kept in vain."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connection

from recommender.models import Coupon, GroupBuy, GroupBuyMember, Reservation
from recommender.services.checkout.groups import find_group, join_group, start_group
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.checkout.reserving import LIFETIME
from recommender.services.checkout.settling import confirm, release, reverse
from recommender.services.holding import release_overdue
from recommender.services.redemption import RedemptionRefused, redeem_coupon
from tests.services.checkout.shop import NOW, SECOND, count_by_sql, hold, make_coupon, make_shop

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
CLOSES = NOW + 24 * HOUR
State = GroupBuy.State


@pytest.fixture
def shop() -> None:
    make_shop(["anna", "ben", "cleo", "dan"])
    make_coupon(group_size=2, group_hours=24, total_limit=3)


def refusal_of(step: Callable[[], object]) -> str:
    """Why something is not done; nothing may have changed by asking."""
    before = count_by_sql(), list(GroupBuyMember.objects.values()), list(GroupBuy.objects.values())
    with pytest.raises(CheckoutRefused) as refusal:
        step()
    assert (count_by_sql(), list(GroupBuyMember.objects.values()), list(GroupBuy.objects.values())) == before
    return refusal.value.coupons[0].code if refusal.value.coupons else refusal.value.code


def start(shopper: str = "anna", at: datetime = NOW) -> GroupBuy:
    return start_group(shopper_id=shopper, coupon_id="c", at=at)


def join(group: GroupBuy, shopper: str = "ben", at: datetime = NOW) -> GroupBuy:
    return join_group(shopper_id=shopper, group_id=group.group_id, at=at)


def uses() -> int:
    return count_by_sql()["c"][0]


def test_it_unlocks_for_all_when_enough_have_joined(shop: None) -> None:
    assert refusal_of(hold) == "group_not_joined"
    group = start()
    assert (group.state, group.joined, group.size, group.closes_at) == (State.OPEN, 1, 2, CLOSES)
    assert uses() == 1
    assert refusal_of(hold) == "group_not_full"
    group = join(group, at=CLOSES - SECOND)
    assert (group.state, group.joined, group.ended_at) == (State.UNLOCKED, 2, CLOSES - SECOND)
    assert uses() == 2
    assert refusal_of(lambda: hold(shopper="cleo")) == "group_not_joined"
    for shopper in ("anna", "ben"):
        held = hold(shopper=shopper, at=CLOSES + HOUR)
        confirm(reservation_id=held.reservation_id, order_id=shopper, at=CLOSES + HOUR)
    assert uses() == 2, "each use was kept before"
    assert refusal_of(lambda: hold(at=CLOSES + HOUR)) == "group_not_joined"


def test_joining_again_changes_nothing(shop: None) -> None:
    group = start()
    assert join(group, "anna").joined == 1
    assert refusal_of(start) == "already_in_a_group"
    join(group)
    assert join(group).joined == 2
    assert uses() == 2


def test_what_is_not_enough_in_time_gives_all_back(shop: None) -> None:
    group = start()
    assert refusal_of(lambda: join(group, at=CLOSES)) == "group_closed"
    assert refusal_of(lambda: hold(at=CLOSES)) == "group_not_filled_in_time"
    assert find_group(group_id=group.group_id).state_at(CLOSES) == State.FAILED
    assert release_overdue(at=CLOSES) == 1
    group.refresh_from_db()
    assert (group.state, group.ended_at, uses()) == (State.FAILED, CLOSES, 0)
    assert start(at=CLOSES).state == State.OPEN


def test_stock_of_a_group_that_failed_is_free_before_the_sweep(shop: None) -> None:
    for shopper in ("anna", "ben", "cleo"):
        start(shopper)
    assert uses() == 3
    assert refusal_of(lambda: start("dan")) == "total_limit_reached"
    assert start("dan", at=CLOSES).joined == 1
    assert uses() == 1


def test_who_redeems_directly_gets_what_a_group_that_failed_had(shop: None) -> None:
    Coupon.objects.update(total_limit=1)
    start()
    use = {"shopper_id": "dan", "coupon_id": "c", "redeemed_at": NOW}
    with pytest.raises(RedemptionRefused, match="used up"):
        redeem_coupon(**use, at=CLOSES - SECOND)  # type: ignore[arg-type]
    redeem_coupon(**use, at=CLOSES)  # type: ignore[arg-type]
    assert GroupBuy.objects.get().state == State.FAILED
    assert uses() == 1


def test_no_more_join_than_there_are_uses(shop: None) -> None:
    Coupon.objects.update(total_limit=1)
    group = start()
    assert refusal_of(lambda: join(group)) == "total_limit_reached"


def test_what_a_member_does_not_use_is_kept_for_the_member(shop: None) -> None:
    group = start()
    join(group)
    held = hold()
    release(reservation_id=held.reservation_id, at=NOW)
    assert uses() == 2
    hold()
    release_overdue(at=NOW + LIFETIME)
    assert uses() == 2
    held = hold(at=NOW + LIFETIME)
    confirm(reservation_id=held.reservation_id, order_id="o", at=NOW + LIFETIME)
    reverse(reservation_id=held.reservation_id, at=NOW + LIFETIME)
    assert (uses(), GroupBuyMember.objects.filter(held_uses=1).count()) == (2, 2)
    assert hold(at=NOW + LIFETIME).state == Reservation.State.RESERVED


def test_a_member_who_confirms_late_has_the_use_still(shop: None) -> None:
    group = start()
    join(group)
    held = hold()
    release_overdue(at=NOW + LIFETIME)
    confirm(reservation_id=held.reservation_id, order_id="o", at=NOW + LIFETIME)
    assert uses() == 2
    assert GroupBuyMember.objects.filter(held_uses=1).count() == 1


def test_who_may_not_use_the_coupon_cannot_join(shop: None) -> None:
    group = start()
    Coupon.objects.update(active=False)
    assert refusal_of(lambda: join(group)) == "coupon_not_active"
    Coupon.objects.update(active=True, ends_at=NOW + HOUR)
    assert refusal_of(lambda: join(group, at=NOW + HOUR)) == "coupon_ended"


def test_only_coupons_for_groups_have_groups(shop: None) -> None:
    make_coupon("alone")
    assert refusal_of(lambda: start_group(shopper_id="anna", coupon_id="alone", at=NOW)) == "not_for_groups"
    for step in (
        lambda: start_group(shopper_id="nobody", coupon_id="c", at=NOW),
        lambda: start_group(shopper_id="anna", coupon_id="nothing", at=NOW),
        lambda: join_group(shopper_id="anna", group_id=uuid4(), at=NOW),
    ):
        with pytest.raises(UnknownThing):
            step()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stock", [5, 100])
def test_however_many_join_at_once(stock: int) -> None:
    shoppers = [f"s{number}" for number in range(12)]
    make_shop(shoppers)
    make_coupon(group_size=8, group_hours=24, total_limit=stock)
    group = start("s0")
    barrier = Barrier(len(shoppers) - 1)

    def go(shopper: str) -> str:
        barrier.wait()
        try:
            return join(group, shopper).state
        except CheckoutRefused as refused:
            return refused.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(shoppers)) as pool:
        answers = list(pool.map(go, shoppers[1:]))
    group.refresh_from_db()
    if stock == 5:
        assert (group.state, group.joined, answers.count("total_limit_reached")) == (State.OPEN, 5, 7)
    else:
        assert (group.state, group.joined, answers.count("group_full")) == (State.UNLOCKED, 8, 4)
    assert uses() == group.joined == GroupBuyMember.objects.count()
