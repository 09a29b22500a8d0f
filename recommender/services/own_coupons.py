"""What shoppers do with their own coupons, and what they did."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from recommender.models import Campaign, Coupon, Event, Redemption, Shopper
from recommender.services.patience import patient_transaction
from recommender.services.serving import DISMISSED_FOR, ServedCoupon, offers_of

#: Longer than any list: whatever is offered can be asked about, claimed and dismissed.
WHOLE_LIST = 10_000


class NotOffered(LookupError):
    """The shopper is not offered this coupon now."""


def find_offered(*, shopper_id: str, coupon_id: str, at: datetime) -> tuple[ServedCoupon, bool]:
    """A coupon of a shopper's list, and whether the list is personal.

    Raises:
        NotOffered: it is not on it, or there is no such coupon.
    """
    offers = offers_of(shopper_id=shopper_id, at=at, limit=WHOLE_LIST)
    for coupon in offers.coupons:
        if coupon.coupon_id == coupon_id:
            return coupon, offers.personal
    raise NotOffered(coupon_id)


def claim_coupon(*, shopper_id: str, coupon_id: str, at: datetime) -> tuple[Event, bool]:
    """Record that a shopper took a coupon that they are offered, once for each campaign.

    A shopper whom the shop did not know is known from now on: a token of the shop's named them.

    Returns:
        The event, and whether it is new.

    Raises:
        NotOffered: they are not offered it, and did not claim it before.
        Busy: others wrote for too long; nothing was done.
    """
    return _record(Event.Kind.CLAIM, shopper_id, coupon_id, at)


def dismiss_coupon(*, shopper_id: str, coupon_id: str, at: datetime) -> tuple[Event, bool]:
    """Record that a shopper does not want a coupon: its offer is not shown to them for a while.

    Returns:
        The event, and whether it is new.

    Raises:
        NotOffered: they are not offered it, and did not dismiss it lately.
        Busy: others wrote for too long; nothing was done.
    """
    return _record(Event.Kind.DISMISS, shopper_id, coupon_id, at)


def _record(kind: Event.Kind, shopper_id: str, coupon_id: str, at: datetime) -> tuple[Event, bool]:
    with patient_transaction():
        # Two clicks at once: the second waits here and finds the first one's event. A shopper whom nobody knew has no
        # row to wait for, but the key below is the same for both.
        shopper = Shopper.objects.select_for_update(no_key=True).filter(shopper_id=shopper_id).first()
        try:
            offered, _personal = find_offered(shopper_id=shopper_id, coupon_id=coupon_id, at=at)
        except NotOffered:
            earlier = _latest(kind, shopper, coupon_id, at)
            if earlier is None:
                raise
            return earlier, False
        if shopper is None:
            shopper, _is_new = Shopper.objects.get_or_create(shopper_id=shopper_id)
        if kind == Event.Kind.CLAIM:
            earlier = Event.objects.filter(
                kind=kind, shopper=shopper, coupon__coupon_id=coupon_id, campaign__campaign_id=offered.campaign_id
            ).first()
            if earlier is not None:
                return earlier, False
        return Event.objects.get_or_create(
            event_key=_key(kind, shopper_id, coupon_id, offered.campaign_id, at),
            defaults={
                "kind": kind,
                "shopper": shopper,
                "coupon": Coupon.objects.get(coupon_id=coupon_id),
                "campaign": Campaign.objects.get(campaign_id=offered.campaign_id),
                "occurred_at": at,
            },
        )


def _latest(kind: Event.Kind, shopper: Shopper | None, coupon_id: str, at: datetime) -> Event | None:
    events = Event.objects.filter(kind=kind, shopper=shopper, coupon__coupon_id=coupon_id)
    if kind == Event.Kind.DISMISS:
        events = events.filter(occurred_at__gt=at - DISMISSED_FOR)
    return events.order_by("-occurred_at", "-pk").first() if shopper is not None else None


def _key(kind: Event.Kind, shopper_id: str, coupon_id: str, campaign_id: str, at: datetime) -> str:
    """A key that nobody can take first, since no event that comes in by itself begins so."""
    facts = [kind.value, shopper_id, coupon_id, campaign_id]
    if kind == Event.Kind.DISMISS:  # one can be dismissed again when the offer has come back
        facts.append(at.isoformat())
    return f"own:{hashlib.sha256(chr(0).join(facts).encode()).hexdigest()}"


# History


class Did(StrEnum):
    USED = "used"
    CLAIMED = "claimed"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a history, between two entries: after ``source`` and ``key`` of moment ``at``."""

    at: datetime
    source: int
    key: int


@dataclass(frozen=True, slots=True)
class Entry:
    did: Did
    at: datetime
    coupon: Coupon
    campaign: Campaign | None
    order_id: str | None
    discount_amount: Any
    place: Place


def read_history(*, shopper_id: str, after: Place | None, limit: int) -> tuple[list[Entry], Place | None]:
    """What a shopper did with coupons, the latest first, and where to go on if there is more."""
    # An order whose lines are not loaded yet is known by what was reserved for it.
    order_id = Coalesce("order__order_id", "reservation_coupon__reservation__order_id")
    redemptions = Redemption.objects.filter(shopper__shopper_id=shopper_id).annotate(of_order=order_id)
    events = Event.objects.filter(
        shopper__shopper_id=shopper_id, kind__in=[Event.Kind.CLAIM, Event.Kind.DISMISS], coupon__isnull=False
    )
    found = [
        *map(_of_redemption, _page(redemptions, "redeemed_at", 1, after, limit)),
        *map(_of_event, _page(events, "occurred_at", 0, after, limit)),
    ]
    found.sort(key=lambda entry: (entry.at, entry.place.source, entry.place.key), reverse=True)
    entries = found[:limit]
    return entries, entries[-1].place if len(found) > limit else None


def _page(rows: QuerySet[Any], moment: str, source: int, after: Place | None, limit: int) -> QuerySet[Any]:
    """The rows that come next of one table, one more than is asked for."""
    if after is not None:
        same = Q(**{moment: after.at})
        if source == after.source:
            same &= Q(pk__lt=after.key)
        elif source > after.source:
            same = Q(pk__in=[])
        rows = rows.filter(Q(**{f"{moment}__lt": after.at}) | same)
    return rows.select_related("coupon", "campaign").order_by(f"-{moment}", "-pk")[: limit + 1]


def _of_redemption(redemption: Any) -> Entry:
    return Entry(
        did=Did.USED,
        at=redemption.redeemed_at,
        coupon=redemption.coupon,
        campaign=redemption.campaign,
        order_id=redemption.of_order,
        discount_amount=redemption.discount_amount,
        place=Place(redemption.redeemed_at, 1, redemption.pk),
    )


def _of_event(event: Event) -> Entry:
    assert event.coupon is not None, "asked for"
    return Entry(
        did=Did.CLAIMED if event.kind == Event.Kind.CLAIM else Did.DISMISSED,
        at=event.occurred_at,
        coupon=event.coupon,
        campaign=event.campaign,
        order_id=None,
        discount_amount=None,
        place=Place(event.occurred_at, 0, event.pk),
    )
