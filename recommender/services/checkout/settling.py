"""How a reservation ends: with an order, without one, or with what came back of the order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from uuid import UUID

from django.db import connection

from recommender.models import Order, Redemption, Reservation, ReservationCoupon, Shop
from recommender.rules.currency import smallest_unit
from recommender.services import counters
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.checkout.reserving import take_all
from recommender.services.funding import payers_of, seller_amount
from recommender.services.holding import (
    expire,
    fail_groups,
    give_back,
    keys_of,
    lock_items,
    lock_overdue,
)
from recommender.services.patience import patient_transaction
from recommender.services.webhooks import announce_redemption

State = Reservation.State
#: How long after its end a reservation can still be confirmed, if its coupons can be had.
CONFIRMED_LATE_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ReturnedLine:
    """How much of a line came back; None is all that is left of it."""

    line_id: str
    quantity: Decimal | None = None


def find_reservation(*, reservation_id: UUID) -> Reservation:
    """
    Raises:
        UnknownThing: there is no such reservation.
    """
    reservation = Reservation.objects.select_related("shopper").filter(reservation_id=reservation_id).first()
    if reservation is None:
        raise UnknownThing("reservation", str(reservation_id))
    return reservation


def confirm(*, reservation_id: UUID, order_id: str, at: datetime) -> Reservation:
    """Make redemptions of what a reservation holds: the basket became an order. Doing it again changes nothing.

    While nobody took back what it holds, a reservation is confirmed as it stands, its time over or not. One that
    expired takes the same uses and amounts anew, as of now, if limits and budgets still allow it, at most
    :data:`CONFIRMED_LATE_WITHIN` after its end; windows and other rules are not asked again, the shopper was promised
    the discount in time.

    Args:
        order_id: the shop's. An order that is loaded already must be the shopper's; one that is not is remembered.

    Raises:
        UnknownThing: no such reservation.
        CheckoutRefused: ``reservation_released``, ``reservation_reversed``, ``reservation_expired``,
            ``confirmed_with_another_order``, ``order_of_another_shopper``, or the limit or budget in the way.
        Busy: others use the same coupons, or history is being loaded.
    """
    with patient_transaction():
        counters.lock_redemptions()
        reservation = _lock(reservation_id)
        if reservation.state == State.CONFIRMED:
            if reservation.order_id != order_id:
                raise CheckoutRefused("confirmed_with_another_order", {"order": reservation.order_id})
            return reservation
        if reservation.state in (State.RELEASED, State.REVERSED):
            raise CheckoutRefused(f"reservation_{reservation.state}")
        _lock_order(order_id)
        order = Order.objects.filter(order_id=order_id).first()
        of_others = Reservation.objects.filter(order_id=order_id).exclude(shopper=reservation.shopper_id)
        if of_others.exists() or (order is not None and order.shopper_id != reservation.shopper_id):
            raise CheckoutRefused("order_of_another_shopper", {"id": order_id})
        items = lock_items([reservation.pk])[reservation.pk]
        if reservation.state == State.EXPIRED:
            _take_anew(reservation, items, at)
        for item in items:
            item.redemption = Redemption.objects.create(
                shopper=reservation.shopper,
                coupon=item.coupon,
                redeemed_at=at,
                campaign=item.campaign,
                order=order,
                discount_amount=item.amount,
                **payers_of(coupon=item.coupon, discount=item.amount),
            )
            item.save(update_fields=["redemption", "counted_at", "held_uses", "held_amount"])
            announce_redemption(redemption=item.redemption, order_id=order_id)
        reservation.state, reservation.confirmed_at, reservation.order_id = State.CONFIRMED, at, order_id
        reservation.ended_at = None
        reservation.save(update_fields=["state", "confirmed_at", "order_id", "ended_at"])
        return reservation


def _lock_order(order_id: str) -> None:
    """Keep waiting whoever else confirms with an order that may not be loaded yet, until the transaction ends.

    On SQLite one transaction at a time writes.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"order {order_id}"])


def release(*, reservation_id: UUID, at: datetime) -> Reservation:
    """Give back what a reservation holds: the basket became nothing. Doing it again changes nothing.

    Raises:
        UnknownThing: no such reservation.
        CheckoutRefused: ``reservation_confirmed`` or ``reservation_reversed``.
        Busy: others use the same coupons.
    """
    with patient_transaction():
        reservation = _lock(reservation_id)
        if reservation.state in (State.CONFIRMED, State.REVERSED):
            raise CheckoutRefused(f"reservation_{reservation.state}")
        if reservation.state == State.RESERVED:
            items = lock_items([reservation.pk])[reservation.pk]
            counted = counters.lock_counters(**keys_of(items))
            give_back(counted, items, shopper_id=reservation.shopper_id)
            reservation.state, reservation.ended_at = State.RELEASED, at
            reservation.save(update_fields=["state", "ended_at"])
        return reservation


def reverse(*, reservation_id: UUID, lines: Sequence[ReturnedLine] | None = None, at: datetime) -> Reservation:
    """Take back what was taken off what came back: of some lines, or with ``lines`` None of the whole order.

    A coupon's budget gets back the discount of the lines that came back: of a part of a line its share, rounded down to
    the currency's unit, and the rest with the rest of the line; of the shipping with the last line of the basket. The
    use comes back when nothing is left of the coupon's discount: its redemption is then no more. Else the redemption
    keeps what is left. The whole order may come back twice: the second time changes nothing.

    Raises:
        UnknownThing: no such reservation.
        CheckoutRefused: ``not_confirmed``, ``unknown_line`` or ``more_than_is_left``.
        Busy: others use the same coupons, or history is being loaded.
    """
    with patient_transaction():
        counters.lock_redemptions()
        reservation = _lock(reservation_id)
        if reservation.state == State.REVERSED and lines is None:
            return reservation
        if reservation.state not in (State.CONFIRMED, State.REVERSED):
            raise CheckoutRefused("not_confirmed")
        _return_lines(reservation, lines)
        items = lock_items([reservation.pk])[reservation.pk]
        counted = counters.lock_counters(**keys_of(items))
        unit = smallest_unit(Shop.current().currency)
        for item in items:
            _reduce(item, reservation, counted, unit)
        if _is_all_back(reservation):
            reservation.state, reservation.ended_at = State.REVERSED, at
        reservation.save(update_fields=["lines", "state", "ended_at"])
        return reservation


def _lock(reservation_id: UUID) -> Reservation:
    rows = Reservation.objects.select_for_update(no_key=True, of=("self",)).select_related("shopper")
    reservation = rows.filter(reservation_id=reservation_id).first()
    if reservation is None:
        raise UnknownThing("reservation", str(reservation_id))
    return reservation


def _take_anew(reservation: Reservation, items: list[ReservationCoupon], at: datetime) -> None:
    if at > reservation.expires_at + CONFIRMED_LATE_WITHIN:
        raise CheckoutRefused("reservation_expired")
    own = keys_of(items)
    overdue = lock_overdue(**own, at=at)
    others = lock_items([each.pk for each in overdue])
    held = keys_of(item for each in others.values() for item in each)
    counted = counters.lock_counters(
        coupons=own["coupons"] | held["coupons"],
        campaigns=own["campaigns"] | held["campaigns"],
        events=own["events"] | held["events"],
    )
    expire(counted, overdue, others, at=at)
    fail_groups(counted, coupons=[item.coupon_id for item in items if item.coupon.group_size is not None], at=at)
    for item in items:
        item.coupon.refresh_from_db()
        if item.campaign is not None:
            item.campaign.refresh_from_db()
        item.counted_at, item.held_uses, item.held_amount = at, 1, item.amount
        take_all(counted, item, shopper_id=reservation.shopper_id)


def _return_lines(reservation: Reservation, returned: Sequence[ReturnedLine] | None) -> None:
    """Note in the reservation's lines what came back."""
    lines = {line["line_id"]: line for line in reservation.lines}
    if returned is None:
        for line in lines.values():
            line["returned"] = line["quantity"]
        return
    for each in returned:
        if each.line_id not in lines:
            raise CheckoutRefused("unknown_line", {"line": each.line_id})
        line = lines[each.line_id]
        left = Decimal(line["quantity"]) - Decimal(line["returned"])
        quantity = left if each.quantity is None else each.quantity
        if quantity > left:
            raise CheckoutRefused("more_than_is_left", {"line": each.line_id, "left": left})
        line["returned"] = str(Decimal(line["returned"]) + quantity)


def _is_all_back(reservation: Reservation) -> bool:
    return all(Decimal(line["returned"]) == Decimal(line["quantity"]) for line in reservation.lines)


def _reduce(item: ReservationCoupon, reservation: Reservation, counted: counters.Counted, unit: Decimal) -> None:
    """Leave of a coupon's discount what it takes off what did not come back."""
    left = counters.NOTHING if _is_all_back(reservation) else item.shipping_amount
    lines = {line["line_id"]: line for line in reservation.lines}
    for discounted in item.lines:
        amount, line = Decimal(discounted["discount"]), lines[discounted["line_id"]]
        share = amount * Decimal(line["returned"]) / Decimal(line["quantity"])
        left += amount - (share / unit).to_integral_value(ROUND_DOWN) * unit
    if left == item.held_amount:
        return
    if left == 0:
        redemption = item.redemption
        give_back(counted, [item], shopper_id=reservation.shopper_id)
        item.redemption = None
        item.save(update_fields=["redemption"])
        if redemption is not None:
            redemption.delete()
        return
    use = counters.Use(
        coupon=item.coupon,
        shopper_id=reservation.shopper_id,
        campaign=item.campaign,
        at=item.counted_at,
        stock=0,
        shopper_uses=0,
        amount=item.held_amount - left,
        sale_event=item.sale_event_id,
    )
    counters.give_back(counted, use=use)
    item.held_amount = left
    item.save(update_fields=["held_amount"])
    if item.redemption is not None:
        item.redemption.discount_amount = left
        item.redemption.seller_amount = seller_amount(discount=left, percent=item.redemption.funded_percent)
        item.redemption.save(update_fields=["discount_amount", "seller_amount"])
