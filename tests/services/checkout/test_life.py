"""Reserved, confirmed or released, reversed: what each step counts, and that doing it again counts nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from threading import Event
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import ProtectedError

from recommender.models import (
    Campaign,
    CampaignCounter,
    Coupon,
    CouponCounter,
    Order,
    Redemption,
    Reservation,
    Shop,
    Shopper,
)
from recommender.services import counters, holding
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused, RefusedCoupon, UnknownThing
from recommender.services.checkout.reserving import LIFETIME, reserve, validate
from recommender.services.checkout.settling import (
    CONFIRMED_LATE_WITHIN,
    ReturnedLine,
    confirm,
    find_reservation,
    release,
    reverse,
)
from recommender.services.patience import Busy
from recommender.services.redemption import RedemptionRefused, redeem_coupon
from tests.services.checkout.shop import DAY, MINUTE, NOW, SECOND, basket, count_by_sql, hold, make_coupon, make_shop

pytestmark = pytest.mark.django_db

State = Reservation.State
OVER = NOW + LIFETIME
MONEY = Decimal


def refused_coupons(**options: object) -> list[RefusedCoupon]:
    """Why nothing is reserved; nothing may have changed by asking."""
    before = count_by_sql()
    with pytest.raises(CheckoutRefused) as refusal:
        hold(**options)  # type: ignore[arg-type]
    assert refusal.value.code == "no_coupon_applies"
    assert count_by_sql() == before
    return refusal.value.coupons


def refusal_of(step: object, **options: object) -> str:
    before = count_by_sql(), list(Reservation.objects.order_by("pk").values())
    with pytest.raises(CheckoutRefused) as refusal:
        step(**options)  # type: ignore[operator]
    assert (count_by_sql(), list(Reservation.objects.order_by("pk").values())) == before
    return refusal.value.code


def test_validating_counts_nothing() -> None:
    make_shop()
    make_coupon(total_limit=1, per_shopper_limit=1, budget=5)
    quote = validate(shopper_id="anna", basket=basket(), asked=[Asked("c"), Asked("x"), Asked(code="y")], at=NOW)
    assert [(each.applied.coupon_id, each.applied.discount) for each in quote.given] == [("c", MONEY(2))]
    assert quote.refused == [RefusedCoupon("x", "unknown_coupon"), RefusedCoupon("y", "unknown_code")]
    assert not CouponCounter.objects.exists()
    assert not Reservation.objects.exists()


def test_a_reservation_holds_its_use_and_its_budget_from_everybody() -> None:
    make_shop()
    make_coupon(total_limit=1)
    reservation = hold()
    assert (reservation.state, reservation.expires_at) == (State.RESERVED, OVER)
    assert count_by_sql() == {"c": (1, MONEY(2))}
    assert refused_coupons(shopper="ben") == [RefusedCoupon("c", "total_limit_reached", {"limit": 1})]
    release(reservation_id=reservation.reservation_id, at=NOW)
    assert count_by_sql() == {"c": (0, MONEY(0))}
    assert hold(shopper="ben").state == State.RESERVED


def test_a_confirmed_reservation_is_a_redemption() -> None:
    make_shop()
    order = Order.objects.create(order_id="o1", shopper=Shopper.objects.get(shopper_id="anna"), ordered_at=NOW)
    make_coupon()
    held = hold()
    confirmed = confirm(reservation_id=held.reservation_id, order_id="o1", at=NOW + MINUTE)
    assert (confirmed.state, confirmed.order_id, confirmed.confirmed_at) == (State.CONFIRMED, "o1", NOW + MINUTE)
    redemption = Redemption.objects.get()
    assert (redemption.redeemed_at, redemption.order, redemption.discount_amount) == (NOW + MINUTE, order, MONEY(2))
    assert (redemption.shopper.shopper_id, redemption.campaign.campaign_id) == ("anna", "spring")  # type: ignore[union-attr]
    again = confirm(reservation_id=held.reservation_id, order_id="o1", at=NOW + 2 * MINUTE)
    assert again.confirmed_at == NOW + MINUTE
    assert count_by_sql() == {"c": (1, MONEY(2))}
    other = refusal_of(confirm, reservation_id=held.reservation_id, order_id="o2", at=NOW)
    assert other == "confirmed_with_another_order"
    assert refusal_of(release, reservation_id=held.reservation_id, at=NOW) == "reservation_confirmed"


def test_an_order_of_another_shopper_confirms_nothing() -> None:
    make_shop()
    Order.objects.create(order_id="o1", shopper=Shopper.objects.get(shopper_id="ben"), ordered_at=NOW)
    make_coupon()
    held = hold()
    assert refusal_of(confirm, reservation_id=held.reservation_id, order_id="o1", at=NOW) == "order_of_another_shopper"
    assert not Redemption.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_shoppers_at_once_one_has_the_order() -> None:
    """It is not loaded yet, so that no row of it can be held."""
    make_shop()
    make_coupon("c1")
    make_coupon("c2")
    anna, ben = hold("c1"), hold("c2", shopper="ben")
    confirmed, go_on = Event(), Event()

    def be_slow() -> None:
        try:
            with transaction.atomic():
                confirm(reservation_id=anna.reservation_id, order_id="o1", at=NOW)
                confirmed.set()
                go_on.wait(timeout=1)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(be_slow)
        assert confirmed.wait(timeout=20)
        with pytest.raises(CheckoutRefused) as refusal:
            confirm(reservation_id=ben.reservation_id, order_id="o1", at=NOW)
        go_on.set()
        slow.result()
    assert refusal.value.code == "order_of_another_shopper"
    assert Redemption.objects.get().shopper.shopper_id == "anna"


def test_an_order_that_is_not_loaded_yet_is_remembered() -> None:
    make_shop()
    make_coupon()
    confirm(reservation_id=hold().reservation_id, order_id="later", at=NOW)
    assert Redemption.objects.get().order is None
    assert Reservation.objects.get().order_id == "later"
    make_coupon("first", first_order_only=True)
    with pytest.raises(CheckoutRefused) as refusal:
        hold("first")
    assert refusal.value.coupons == [RefusedCoupon("first", "not_first_order")]


def test_what_is_over_is_free_before_the_sweep_comes() -> None:
    make_shop()
    make_coupon(total_limit=1, per_shopper_limit=1, budget=2)
    first = hold()
    assert refused_coupons(at=OVER - SECOND)[0].code == "shopper_limit_reached"
    quote = validate(shopper_id="anna", basket=basket(), asked=[Asked("c")], at=OVER)
    assert quote.discount == MONEY(2)
    assert count_by_sql() == {"c": (1, MONEY(2))}
    second = hold(at=OVER)
    first.refresh_from_db()
    assert (first.state, first.ended_at) == (State.EXPIRED, OVER)
    assert second.state == State.RESERVED
    assert count_by_sql() == {"c": (1, MONEY(2))}


def test_money_of_a_campaign_that_another_coupon_held_is_free_too() -> None:
    make_shop(budget=2)
    make_coupon()
    make_coupon("d")
    first = hold("d")
    assert refused_coupons(at=OVER - SECOND)[0].code == "campaign_budget_used_up"
    assert validate(shopper_id="ben", basket=basket(), asked=[Asked("c")], at=OVER).discount == MONEY(2)
    second = hold(at=OVER)
    first.refresh_from_db()
    assert first.state == State.EXPIRED
    # So it is for who confirms late, and at a till that knows nothing of baskets.
    later = OVER + LIFETIME
    confirm(reservation_id=first.reservation_id, order_id="o", at=later)
    second.refresh_from_db()
    assert second.state == State.EXPIRED
    reverse(reservation_id=first.reservation_id, at=later)
    third = hold(at=later)
    redeem_coupon(shopper_id="ben", coupon_id="d", redeemed_at=NOW, at=later + LIFETIME, discount_amount=MONEY(2))
    third.refresh_from_db()
    assert third.state == State.EXPIRED
    assert count_by_sql() == {"c": (0, MONEY(0)), "d": (1, MONEY(2))}
    assert CampaignCounter.objects.get().spent == MONEY(2)


def test_what_is_over_of_campaigns_without_a_budget_is_left_to_the_sweep() -> None:
    make_shop()
    make_coupon()
    make_coupon("d")
    first = hold("d")
    hold(at=OVER)
    first.refresh_from_db()
    assert first.state == State.RESERVED


def test_the_sweep_gives_back_what_is_over() -> None:
    make_shop()
    make_coupon(total_limit=5)
    held = [hold(at=NOW + n * SECOND) for n in range(3)]
    assert holding.release_overdue(at=OVER + SECOND) == 2
    assert [Reservation.objects.get(pk=each.pk).state for each in held] == [
        State.EXPIRED,
        State.EXPIRED,
        State.RESERVED,
    ]
    assert count_by_sql() == {"c": (1, MONEY(2))}
    assert holding.release_overdue(at=OVER + SECOND) == 0


def test_a_late_confirmation_of_what_nobody_took_stands() -> None:
    make_shop()
    make_coupon(total_limit=1)
    held = hold()
    assert confirm(reservation_id=held.reservation_id, order_id="o", at=OVER + DAY).state == State.CONFIRMED
    assert count_by_sql() == {"c": (1, MONEY(2))}


def test_a_late_confirmation_takes_anew_or_is_refused() -> None:
    make_shop()
    make_coupon(total_limit=1)
    first = hold()
    second = hold(shopper="ben", at=OVER)
    assert refusal_of(confirm, reservation_id=first.reservation_id, order_id="o", at=OVER) == "total_limit_reached"
    assert not Redemption.objects.exists()
    release(reservation_id=second.reservation_id, at=OVER)
    late = OVER + CONFIRMED_LATE_WITHIN
    too_late = {"reservation_id": first.reservation_id, "order_id": "o", "at": late + SECOND}
    assert refusal_of(confirm, **too_late) == "reservation_expired"
    confirmed = confirm(reservation_id=first.reservation_id, order_id="o", at=late)
    assert (confirmed.state, confirmed.ended_at) == (State.CONFIRMED, None)
    assert count_by_sql() == {"c": (1, MONEY(2))}


def test_who_pays_is_recorded_and_follows_what_comes_back() -> None:
    """The coupon's terms are those when it was used; both parts come to the discount to the cent."""
    make_shop()
    make_coupon(funded_by="north", funded_percent=33)
    make_coupon("d", funded_by="south", stackable=True)
    make_coupon("e", stackable=True)

    def paid() -> dict[str, tuple[str, Decimal, Decimal | None]]:
        rows = Redemption.objects.values_list("coupon__coupon_id", "funded_by", "seller_amount", "discount_amount")
        return {coupon: (seller, part, discount) for coupon, seller, part, discount in rows}

    held = hold(of=basket(("tea", "3", "10")))
    confirm(reservation_id=held.reservation_id, order_id="o", at=NOW)
    both = hold("d", "e", shopper="ben")
    confirm(reservation_id=both.reservation_id, order_id="p", at=NOW)

    assert paid() == {
        "c": ("north", MONEY("0.66"), MONEY(2)),
        "d": ("south", MONEY(2), MONEY(2)),
        "e": ("", MONEY(0), MONEY(2)),
    }
    Coupon.objects.filter(coupon_id="c").update(funded_percent=90)
    reverse(reservation_id=held.reservation_id, lines=[ReturnedLine("1", Decimal(1))], at=NOW)
    assert paid()["c"] == ("north", MONEY("0.44"), MONEY("1.34"))
    reverse(reservation_id=held.reservation_id, at=NOW)
    assert "c" not in paid()


def test_a_use_at_the_till_says_who_pays() -> None:
    make_shop()
    make_coupon(funded_by="north", funded_percent=50)

    use, _is_new = redeem_coupon(
        shopper_id="anna", coupon_id="c", redeemed_at=NOW, at=NOW, discount_amount=MONEY("0.03")
    )

    use.refresh_from_db()
    assert (use.funded_by, use.funded_percent, use.seller_amount) == ("north", 50, MONEY("0.02"))


def test_releasing_again_or_after_the_end_changes_nothing() -> None:
    make_shop()
    make_coupon()
    first, second = hold(), hold()
    release(reservation_id=first.reservation_id, at=NOW)
    holding.release_overdue(at=OVER)
    for each, state in ((first, State.RELEASED), (second, State.EXPIRED)):
        assert release(reservation_id=each.reservation_id, at=OVER).state == state
    assert count_by_sql() == {"c": (0, MONEY(0))}
    assert refusal_of(confirm, reservation_id=first.reservation_id, order_id="o", at=NOW) == "reservation_released"


def test_what_is_not_there_is_named() -> None:
    make_shop()
    for step in (
        lambda: hold(shopper="nobody"),
        lambda: confirm(reservation_id=uuid4(), order_id="o", at=NOW),
        lambda: release(reservation_id=uuid4(), at=NOW),
        lambda: reverse(reservation_id=uuid4(), at=NOW),
        lambda: find_reservation(reservation_id=uuid4()),
    ):
        with pytest.raises(UnknownThing):
            step()


# Reversing


def confirmed_order(**fields: object) -> Reservation:
    """Two teas and three milks with ten off, and sent for 4: 2.86 off the teas, 7.14 off the milks."""
    make_shop()
    make_coupon(**{"discount_value": MONEY(10), "total_limit": 1, **fields})  # type: ignore[arg-type]
    held = hold(of=basket(("tea", "2", "10"), ("milk", "3", "16.666"), shipping="4"))
    return confirm(reservation_id=held.reservation_id, order_id="o", at=NOW)


def test_a_part_that_comes_back_gives_back_its_share_of_the_budget() -> None:
    reservation = confirmed_order()
    lines = reservation.coupons.get().lines
    assert lines == [{"line_id": "1", "discount": "2.86"}, {"line_id": "2", "discount": "7.14"}]
    once = [ReturnedLine("2", MONEY(1))]
    reverse(reservation_id=reservation.reservation_id, lines=once, at=NOW)
    assert count_by_sql() == {"c": (1, MONEY("7.62"))}  # 7.14 / 3 = 2.38 came back
    assert Redemption.objects.get().discount_amount == MONEY("7.62")
    reverse(reservation_id=reservation.reservation_id, lines=[ReturnedLine("2")], at=NOW)
    assert count_by_sql() == {"c": (1, MONEY("2.86"))}
    assert refused_coupons()[0].code == "total_limit_reached"
    more = {"reservation_id": reservation.reservation_id, "lines": [ReturnedLine("1", MONEY(3))], "at": NOW}
    assert refusal_of(reverse, **more) == "more_than_is_left"
    nowhere = {"reservation_id": reservation.reservation_id, "lines": [ReturnedLine("3")], "at": NOW}
    assert refusal_of(reverse, **nowhere) == "unknown_line"


def test_a_share_is_rounded_down_and_the_rest_comes_with_the_rest() -> None:
    reservation = confirmed_order(discount_value=MONEY("9.97"))
    assert [line["discount"] for line in reservation.coupons.get().lines] == ["2.85", "7.12"]
    reverse(reservation_id=reservation.reservation_id, lines=[ReturnedLine("2", MONEY(2))], at=NOW)
    assert count_by_sql() == {"c": (1, MONEY("5.23"))}  # 7.12 × 2 / 3 = 4.746…
    reverse(reservation_id=reservation.reservation_id, lines=[ReturnedLine("2")], at=NOW)
    assert count_by_sql() == {"c": (1, MONEY("2.85"))}


def test_with_the_last_of_it_the_use_comes_back_too() -> None:
    reservation = confirmed_order(budget=10)
    for line in ("2", "1"):
        reverse(reservation_id=reservation.reservation_id, lines=[ReturnedLine(line)], at=NOW)
    reservation.refresh_from_db()
    assert reservation.state == State.REVERSED
    assert count_by_sql() == {"c": (0, MONEY(0))}
    assert not Redemption.objects.exists()
    assert hold().state == State.RESERVED


def test_the_whole_order_comes_back_once() -> None:
    reservation = confirmed_order()
    for _ in range(2):
        assert reverse(reservation_id=reservation.reservation_id, at=NOW).state == State.REVERSED
    assert count_by_sql() == {"c": (0, MONEY(0))}
    assert (
        refusal_of(confirm, reservation_id=reservation.reservation_id, order_id="o", at=NOW) == "reservation_reversed"
    )
    assert refusal_of(release, reservation_id=reservation.reservation_id, at=NOW) == "reservation_reversed"


def test_free_shipping_comes_back_with_the_last_line() -> None:
    reservation = confirmed_order(discount_type="free_shipping", discount_value=None)
    reverse(reservation_id=reservation.reservation_id, lines=[ReturnedLine("1")], at=NOW)
    assert count_by_sql() == {"c": (1, MONEY(4))}
    reverse(reservation_id=reservation.reservation_id, lines=[ReturnedLine("2")], at=NOW)
    assert count_by_sql() == {"c": (0, MONEY(0))}


def test_only_what_is_confirmed_can_come_back() -> None:
    make_shop()
    make_coupon()
    held = hold()
    assert refusal_of(reverse, reservation_id=held.reservation_id, at=NOW) == "not_confirmed"


# Limits and budgets


def test_budgets_are_hard() -> None:
    make_shop(budget=5)
    make_coupon(budget=3)
    make_coupon("d")
    hold()
    assert refused_coupons()[0].code == "budget_used_up"
    hold("d")
    assert CampaignCounter.objects.get().spent == MONEY(4)
    with pytest.raises(CheckoutRefused) as refusal:
        hold("d")
    assert refusal.value.coupons[0].code == "campaign_budget_used_up"
    Coupon.objects.filter(coupon_id="d").update(discount_value=1)
    hold("d")
    assert CampaignCounter.objects.get().spent == MONEY(5)


@pytest.mark.parametrize(
    ("limit", "code", "free_at"),
    [
        ("per_day_limit", "day_limit_reached", "2026-03-10T16:00Z"),
        ("per_week_limit", "week_limit_reached", "2026-03-15T16:00Z"),
        ("per_month_limit", "month_limit_reached", "2026-03-31T16:00Z"),
    ],
)
def test_limits_of_a_day_a_week_and_a_month_follow_the_shops_clock(limit: str, code: str, free_at: str) -> None:
    make_shop()
    shop = Shop.current()
    shop.time_zone = "Asia/Shanghai"
    shop.save()
    make_coupon(**{limit: 1})
    first = hold()
    free = datetime.fromisoformat(free_at)
    confirm(reservation_id=first.reservation_id, order_id="o", at=NOW)
    assert refused_coupons(at=free - SECOND)[0].code == code
    assert hold(shopper="ben", at=free - SECOND).state == State.RESERVED
    assert hold(at=free).state == State.RESERVED
    # What comes back counts where it counted.
    reverse(reservation_id=first.reservation_id, at=free)
    assert hold(at=free - SECOND).state == State.RESERVED


def test_what_is_redeemed_directly_passes_the_same_door() -> None:
    make_shop()
    make_coupon(total_limit=2, budget=3)
    redeem_coupon(shopper_id="anna", coupon_id="c", redeemed_at=NOW, at=NOW, discount_amount=MONEY("1.5"))
    assert count_by_sql() == {"c": (1, MONEY("1.5"))}
    assert refused_coupons()[0].code == "budget_used_up"
    with pytest.raises(RedemptionRefused) as refusal:
        redeem_coupon(shopper_id="ben", coupon_id="c", redeemed_at=NOW, at=NOW, discount_amount=MONEY(2))
    assert refusal.value.code == "budget_used_up"
    redeem_coupon(shopper_id="ben", coupon_id="c", redeemed_at=NOW, at=NOW, discount_amount=MONEY("1.5"))
    assert refused_coupons()[0].code == "total_limit_reached"


def test_what_is_redeemed_directly_takes_what_is_over_as_free() -> None:
    make_shop(budget=4)
    make_coupon(total_limit=1, per_shopper_limit=1, budget=2)
    held = hold()
    asked = {"shopper_id": "anna", "coupon_id": "c", "redeemed_at": NOW, "discount_amount": MONEY(2)}
    with pytest.raises(RedemptionRefused) as refusal:
        redeem_coupon(**asked, at=OVER - SECOND)  # type: ignore[arg-type]
    assert refusal.value.code == "total_limit_reached"
    # Whoever is refused for another reason takes nothing back.
    with pytest.raises(RedemptionRefused):
        redeem_coupon(**{**asked, "discount_amount": MONEY(3)}, at=OVER)  # type: ignore[arg-type]
    held.refresh_from_db()
    assert held.state == State.RESERVED
    redemption, is_new = redeem_coupon(**asked, at=OVER)  # type: ignore[arg-type]
    assert is_new
    held.refresh_from_db()
    assert (held.state, held.ended_at) == (State.EXPIRED, OVER)
    assert count_by_sql() == {"c": (1, MONEY(2))}
    assert CampaignCounter.objects.get().spent == MONEY(2)
    # The same use again is the same, whatever is over by then.
    assert redeem_coupon(**asked, at=OVER + DAY) == (redemption, False)  # type: ignore[arg-type]


def test_several_coupons_are_held_together_or_as_far_as_they_go() -> None:
    make_shop()
    make_coupon("a", stackable=True)
    make_coupon("b", stackable=True, total_limit=1)
    reservation, quote = reserve(shopper_id="anna", basket=basket(), asked=[Asked("b"), Asked("a")], at=NOW)
    assert [item.coupon.coupon_id for item in reservation.coupons.all()] == ["b", "a"]
    assert quote.discount == MONEY(4)
    reservation, quote = reserve(shopper_id="ben", basket=basket(), asked=[Asked("b"), Asked("a")], at=NOW)
    assert [item.coupon.coupon_id for item in reservation.coupons.all()] == ["a"]
    assert quote.refused == [RefusedCoupon("b", "total_limit_reached", {"limit": 1})]
    assert count_by_sql() == {"a": (2, MONEY(4)), "b": (1, MONEY(2))}


def test_a_limit_that_is_set_later_counts_what_was_before() -> None:
    make_shop()
    make_coupon()
    hold()
    redeem_coupon(shopper_id="anna", coupon_id="c", redeemed_at=NOW, at=NOW)
    Coupon.objects.update(per_day_limit=3)
    hold(at=NOW + SECOND)
    assert refused_coupons(at=NOW + SECOND)[0].code == "day_limit_reached"
    Coupon.objects.update(per_day_limit=None)
    hold(at=NOW + SECOND)
    Coupon.objects.update(per_day_limit=4)
    assert refused_coupons(at=NOW + SECOND)[0].code == "day_limit_reached"


# What staff change meanwhile


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """``meanwhile(change)``: staff change something after the coupons were read, while others hold their counters."""

    def _meanwhile(change: Callable[[], object]) -> None:
        waiting = [change]

        def delayed(hold_them: Callable[..., object]) -> Callable[..., object]:
            def _hold_them(*args: object, **keys: object) -> object:
                if waiting:
                    waiting.pop()()
                return hold_them(*args, **keys)

            return _hold_them

        monkeypatch.setattr(counters, "lock_counters", delayed(counters.lock_counters))
        monkeypatch.setattr(counters, "lock_campaigns", delayed(counters.lock_campaigns))

    return _meanwhile


def lower_the_budget_to(amount: Decimal) -> Callable[[], object]:
    return lambda: Campaign.objects.update(budget=amount)


def test_a_budget_that_was_lowered_while_others_held_it_is_kept(
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    make_shop(budget=100)
    make_coupon()
    first = hold()
    meanwhile(lower_the_budget_to(MONEY(3)))
    assert refused_coupons()[0].code == "campaign_budget_used_up"
    # So it is for who confirms late, and at a till that knows nothing of baskets.
    Campaign.objects.update(budget=100)
    second = hold(at=OVER)
    first.refresh_from_db()
    assert first.state == State.EXPIRED
    meanwhile(lower_the_budget_to(MONEY(3)))
    late = {"reservation_id": first.reservation_id, "order_id": "o", "at": OVER}
    assert refusal_of(confirm, **late) == "campaign_budget_used_up"
    Campaign.objects.update(budget=100)
    meanwhile(lower_the_budget_to(MONEY(3)))
    with pytest.raises(RedemptionRefused) as refusal:
        redeem_coupon(shopper_id="ben", coupon_id="c", redeemed_at=NOW, at=OVER, discount_amount=MONEY(2))
    assert refusal.value.code == "campaign_budget_used_up"
    assert second.state == State.RESERVED
    assert CampaignCounter.objects.get().spent == MONEY(2)


def test_a_coupon_that_is_deleted_before_it_is_held_is_asked_for_again(
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    make_shop()
    make_coupon()
    meanwhile(lambda: Coupon.objects.get().delete())
    with pytest.raises(Busy):
        hold()


def test_what_was_promised_stands_whatever_staff_change() -> None:
    make_shop(budget=10)
    coupon = make_coupon(budget=10, total_limit=5, per_shopper_limit=5)
    kept, given_up, over = (hold(at=NOW + n * SECOND) for n in range(3))
    with pytest.raises(ProtectedError):
        coupon.delete()
    with pytest.raises(ProtectedError):
        Campaign.objects.get().delete()
    Coupon.objects.update(budget=1, total_limit=1, per_shopper_limit=1, active=False)
    Campaign.objects.update(budget=1)
    assert refused_coupons()[0].code == "coupon_not_active"
    Coupon.objects.update(active=True)
    assert refused_coupons()[0].code == "shopper_limit_reached"
    assert refused_coupons(shopper="ben")[0].code == "total_limit_reached"
    release(reservation_id=given_up.reservation_id, at=NOW)
    assert confirm(reservation_id=kept.reservation_id, order_id="o", at=NOW).state == State.CONFIRMED
    assert holding.release_overdue(at=OVER + DAY) == 1
    assert count_by_sql() == {"c": (1, MONEY(2))}
    # Nobody took what the third held, but it was given back: it comes under what holds by now.
    assert refusal_of(confirm, reservation_id=over.reservation_id, order_id="p", at=OVER + DAY) in (
        "shopper_limit_reached",
        "total_limit_reached",
    )
    reverse(reservation_id=kept.reservation_id, at=NOW)
    assert count_by_sql() == {"c": (0, MONEY(0))}
    assert refused_coupons()[0].code == "budget_used_up"
