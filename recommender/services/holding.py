"""What reservations and groups hold in the counters, and how it comes back.

A reservation whose time is over holds its uses only until somebody wants them: whoever reserves or validates takes
them as free, whether the sweep has been there or not.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, DateTimeField, Expression, F, Q, QuerySet

from recommender.compiled import Compiled
from recommender.models import (
    Campaign,
    Code,
    Coupon,
    GroupBuy,
    GroupBuyMember,
    Reservation,
    ReservationCoupon,
)
from recommender.services import counters

#: How many reservations whose time is over one that is made clears away; the sweep clears the rest.
RECLAIMED_AT_MOST = 1_000
SWEPT_AT_ONCE = 200
#: The primary key of none.
NO_CAMPAIGN = 0


def use_of(item: ReservationCoupon, *, shopper_id: int) -> counters.Use:
    """What a coupon of a reservation holds. A use that a group kept goes back to the group's member."""
    return counters.Use(
        coupon=item.coupon,
        shopper_id=shopper_id,
        campaign=item.campaign,
        at=item.counted_at,
        stock=0 if item.member_id is not None else item.held_uses,
        shopper_uses=item.held_uses,
        amount=item.held_amount,
        sale_event=item.sale_event_id,
    )


def give_back(counted: counters.Counted, items: Iterable[ReservationCoupon], *, shopper_id: int) -> None:
    """Give back all that coupons of a reservation hold; their counters are held."""
    for item in items:
        if not item.held_uses and not item.held_amount:
            continue
        counters.give_back(counted, use=use_of(item, shopper_id=shopper_id))
        if item.held_uses:
            _free_code_and_place(item)
        item.held_uses, item.held_amount = 0, counters.NOTHING
        item.save(update_fields=["held_uses", "held_amount"])


def _free_code_and_place(item: ReservationCoupon) -> None:
    """Let the code be used again, and keep the use for the member of the group who had it."""
    if item.code_id is not None:
        Code.objects.filter(pk=item.code_id).update(uses=F("uses") - 1)
    if item.member_id is not None:
        GroupBuyMember.objects.filter(pk=item.member_id).update(held_uses=F("held_uses") + 1)


def lock_items(reservations: Collection[int]) -> dict[int, list[ReservationCoupon]]:
    """The coupons of reservations that the caller holds, by reservation."""
    items: dict[int, list[ReservationCoupon]] = {pk: [] for pk in reservations}
    rows = ReservationCoupon.objects.filter(reservation__in=reservations)
    for item in rows.select_related("coupon", "campaign").order_by("reservation", "position"):
        items[item.reservation_id].append(item)
    return items


def lock_overdue(
    *, coupons: Collection[int], campaigns: Collection[int], events: Collection[int] = (), at: datetime
) -> list[Reservation]:
    """Hold reservations whose time is over and that hold uses of these coupons, or money of these campaigns and sale
    events where that has an end. Those that others hold are left to them."""
    held = _holds_of(coupons, campaigns)
    if events:
        held |= _holds_of_events(events)
    in_the_way = ReservationCoupon.objects.filter(held).values("reservation")
    overdue = Reservation.objects.overdue_at(at).filter(pk__in=in_the_way).order_by("expires_at", "pk")
    return list(overdue.select_for_update(skip_locked=True, of=("self",))[:RECLAIMED_AT_MOST])


def _holds_of(coupons: Any, campaigns: Any) -> Q:
    return Q(held_uses__gt=0) & (
        Q(coupon__in=coupons) | Q(campaign__in=campaigns, campaign__budget__isnull=False, held_amount__gt=0)
    )


def _holds_of_events(events: Any) -> Q:
    return Q(held_uses__gt=0, held_amount__gt=0, sale_event__in=events, sale_event__budget__isnull=False)


def expire(
    counted: counters.Counted,
    reservations: Iterable[Reservation],
    items: dict[int, list[ReservationCoupon]],
    *,
    at: datetime,
) -> None:
    """End reservations whose time is over; they and their counters are held."""
    for reservation in reservations:
        give_back(counted, items[reservation.pk], shopper_id=reservation.shopper_id)
        reservation.state, reservation.ended_at = Reservation.State.EXPIRED, at
        reservation.save(update_fields=["state", "ended_at"])


def disregard_overdue(
    counted: counters.Counted, *, coupons: Mapping[int, Coupon], campaigns: Mapping[int, Campaign], at: datetime
) -> None:
    """Take as free, in figures that are only read, what is held by those whose time is over.

    The coupons and campaigns are those that are counted, by primary key.
    """
    if not coupons:
        return
    rows = _read_overdue(coupons=list(coupons), campaigns=list(campaigns) or [NO_CAMPAIGN], at=at)
    if counted.events:
        of_events = _overdue(_holds_of_events(list(counted.events)), at)
        rows += of_events.exclude(_holds_of(list(coupons), list(campaigns)))
    for row in rows:
        shopper = row.pop("reservation__shopper_id")
        item = ReservationCoupon(**row)
        # What another coupon holds matters for the money of the campaign alone.
        item.coupon = coupons.get(item.coupon_id) or Coupon(pk=item.coupon_id)
        item.campaign = campaigns.get(row["campaign_id"])
        counters.disregard(counted, use=use_of(item, shopper_id=shopper))
    for row in _read_members_overdue(coupons=list(coupons), at=at):
        counted.coupons[row["group__coupon_id"]].uses -= row["held_uses"]


def _overdue(held: Q, at: datetime | Expression) -> QuerySet[ReservationCoupon, dict[str, Any]]:
    rows = ReservationCoupon.objects.filter(held, reservation__in=Reservation.objects.overdue_at(at))
    return rows.order_by().values(
        *("coupon_id", "campaign_id", "sale_event_id", "member_id", "counted_at", "held_uses", "held_amount"),
        "reservation__shopper_id",
    )


_read_overdue = Compiled(
    lambda coupons, campaigns, at: _overdue(_holds_of(coupons, campaigns), at),
    coupons=[BigIntegerField()],
    campaigns=[BigIntegerField()],
    at=DateTimeField(),
)


# Groups


def fail_groups(counted: counters.Counted, *, coupons: Collection[int], at: datetime) -> None:
    """End the groups for these coupons whose time is over and that were not enough; the counters are held."""
    if not coupons:
        return
    for member in _members_overdue(coupons, at).select_related("group__coupon"):
        coupon = member.group.coupon
        use = counters.Use(coupon=coupon, shopper_id=member.shopper_id, campaign=None, at=at, shopper_uses=0)
        counters.give_back(counted, use=use)
        GroupBuyMember.objects.filter(pk=member.pk).update(held_uses=0)
    GroupBuy.objects.overdue_at(at).filter(coupon__in=coupons).update(state=GroupBuy.State.FAILED, ended_at=at)


def _members_overdue(coupons: Any, at: datetime | Expression) -> QuerySet[GroupBuyMember]:
    overdue = Q(group__state=GroupBuy.State.OPEN, group__closes_at__lte=at)
    return GroupBuyMember.objects.filter(overdue, group__coupon__in=coupons, held_uses__gt=0)


_read_members_overdue = Compiled(
    lambda coupons, at: _members_overdue(coupons, at).order_by().values("group__coupon_id", "held_uses"),
    coupons=[BigIntegerField()],
    at=DateTimeField(),
)


# The sweep


def release_overdue(*, at: datetime) -> int:
    """Give back what is held by reservations and groups whose time is over; how many those were."""
    count = 0
    while True:
        done = _expire_some(at=at)
        count += done
        if done == 0:
            break
    for coupon in GroupBuy.objects.overdue_at(at).order_by("coupon").values_list("coupon_id", flat=True).distinct():
        with transaction.atomic():
            counted = counters.lock_counters(coupons=[coupon], campaigns=[])
            count += GroupBuy.objects.overdue_at(at).filter(coupon=coupon).count()
            fail_groups(counted, coupons=[coupon], at=at)
    return count


def _expire_some(*, at: datetime) -> int:
    """A transaction for some reservations, so that nobody waits long for one of their coupons."""
    with transaction.atomic():
        overdue = Reservation.objects.overdue_at(at).order_by("expires_at", "pk")
        reservations = list(overdue.select_for_update(skip_locked=True, of=("self",))[:SWEPT_AT_ONCE])
        items = lock_items([reservation.pk for reservation in reservations])
        counted = counters.lock_counters(**keys_of(item for own in items.values() for item in own))
        expire(counted, reservations, items, at=at)
    return len(reservations)


def keys_of(items: Iterable[ReservationCoupon]) -> dict[str, set[int]]:
    """Whose counters must be held for these coupons of reservations."""
    items = list(items)
    return {
        "coupons": {item.coupon_id for item in items},
        "campaigns": {item.campaign_id for item in items if item.campaign_id is not None},
        "events": {item.sale_event_id for item in items if item.sale_event_id is not None},
    }
