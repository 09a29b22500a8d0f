"""Coupons for groups: somebody begins one, others join, and when they are enough in time it unlocks for all of them.

Each member's use is kept from the coupon's stock from the moment of joining, so that no more can join than there are
uses. A group that was not enough in time gives them all back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F

from recommender.models import GROUP_PLACE, Coupon, GroupBuy, GroupBuyMember, GroupInvitation, Shop, Shopper
from recommender.rules.eligibility import GroupState, refusal
from recommender.rules.offer import Targets
from recommender.rules.refusal import Refusal
from recommender.services import counters
from recommender.services.checkout.offers import (
    Asked,
    Candidate,
    describe_offer,
    describe_situation,
    events_of,
    find_candidates,
)
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.holding import fail_groups
from recommender.services.patience import patient_transaction

State = GroupBuy.State


def find_group(*, group_id: UUID) -> GroupBuy:
    """
    Raises:
        UnknownThing: there is no such group.
    """
    group = GroupBuy.objects.select_related("coupon").filter(group_id=group_id).first()
    if group is None:
        raise UnknownThing("group", str(group_id))
    return group


def start_group(*, shopper_id: str, coupon_id: str, at: datetime) -> GroupBuy:
    """Begin a group for a coupon; whoever begins it is its first member.

    Raises:
        UnknownThing: no such shopper or coupon.
        CheckoutRefused: ``not_for_groups``, ``already_in_a_group``, or why the shopper may not use the coupon.
        Busy: others use the same coupon for too long.
    """
    with patient_transaction():
        candidate, shopper, counted = _prepare(shopper_id, coupon_id, at)
        coupon = candidate.coupon
        if coupon.group_size is None or coupon.group_hours is None:
            raise CheckoutRefused("not_for_groups")
        group = GroupBuy.objects.create(
            coupon=coupon,
            size=coupon.group_size,
            opened_at=at,
            closes_at=at + timedelta(hours=coupon.group_hours),
        )
        return _add_member(group, candidate, shopper, counted, at)


def join_group(*, shopper_id: str, group_id: UUID, at: datetime) -> GroupBuy:
    """Join a group. Who belongs to it already stays in it.

    Raises:
        UnknownThing: no such shopper or group.
        CheckoutRefused: ``group_full``, ``group_closed``, ``already_in_a_group``, or why the shopper may not use the
            coupon.
        Busy: others use the same coupon for too long.
    """
    with patient_transaction():
        coupon_id = find_group(group_id=group_id).coupon.coupon_id
        candidate, shopper, counted = _prepare(shopper_id, coupon_id, at)
        group = find_group(group_id=group_id)  # as it is now that nobody else can change it
        if GroupBuyMember.objects.filter(group=group, shopper=shopper).exists():
            return group
        if group.state == State.UNLOCKED:
            raise CheckoutRefused("group_full")
        if group.state == State.FAILED:
            raise CheckoutRefused("group_closed")
        return _add_member(group, candidate, shopper, counted, at)


def may_join(candidate: Candidate, shopper: Shopper, counted: counters.Counted, at: datetime) -> Refusal | None:
    """Why a shopper might not use a coupon if their group were full; None if they might."""
    # What it is for tells itself at the basket.
    offer = describe_offer(candidate, targets=Targets(), counted=counted, at=at)
    now = describe_situation(candidate, shopper=shopper, counted=counted, at=at)
    return refusal(offer, replace(now, group=GroupState(members=offer.group_size or 0, closes_at=at)))


def share_link(group: GroupBuy, *, shop: Shop) -> str | None:
    """The address that members share; None where the shop did not say what its page of a group is."""
    return shop.group_page.replace(GROUP_PLACE, str(group.group_id)) or None


@dataclass(frozen=True)
class Invited:
    """Whom the shop may tell of a group, and whom it may not, with the reason as a code."""

    recorded: list[str]
    refused: dict[str, str]


def invite(*, group_id: UUID, shopper_ids: Sequence[str], at: datetime) -> Invited:
    """Record that the shop tells shoppers of an open group. Who was told already is so once.

    Raises:
        UnknownThing: no such group.
        CheckoutRefused: ``group_full`` or ``group_closed``.
    """
    group = find_group(group_id=group_id)
    state = group.state_at(at)
    if state != State.OPEN:
        raise CheckoutRefused("group_full" if state == State.UNLOCKED else "group_closed")
    found = {shopper.shopper_id: shopper for shopper in Shopper.objects.filter(shopper_id__in=shopper_ids)}
    keys = [shopper.pk for shopper in found.values()]
    members = set(GroupBuyMember.objects.filter(group=group, shopper__in=keys).values_list("shopper", flat=True))
    refused = {}
    for shopper_id in dict.fromkeys(shopper_ids):
        if shopper_id not in found:
            refused[shopper_id] = "unknown_shopper"
        elif found[shopper_id].pk in members:
            refused[shopper_id] = "is_a_member"
        elif found[shopper_id].opted_out:
            refused[shopper_id] = "opted_out"
    recorded = [shopper_id for shopper_id in dict.fromkeys(shopper_ids) if shopper_id not in refused]
    GroupInvitation.objects.bulk_create(
        (GroupInvitation(group=group, shopper=found[shopper_id], invited_at=at) for shopper_id in recorded),
        ignore_conflicts=True,
    )
    return Invited(recorded, refused)


def _prepare(shopper_id: str, coupon_id: str, at: datetime) -> tuple[Candidate, Shopper, counters.Counted]:
    """The coupon with its counter held, after groups whose time is over gave theirs back."""
    shopper = Shopper.objects.filter(shopper_id=shopper_id).first()
    if shopper is None:
        raise UnknownThing("shopper", shopper_id)
    if not Coupon.objects.filter(coupon_id=coupon_id).exists():
        raise UnknownThing("coupon", coupon_id)
    found, unknown = find_candidates([Asked(coupon_id=coupon_id)], shopper=shopper, at=at)
    if not found or found[0].campaign is None:
        raise CheckoutRefused(unknown[0].code if unknown else "no_campaign")
    candidate = found[0]
    counted = counters.lock_counters(
        coupons=[candidate.coupon.pk], campaigns=[found[0].campaign.pk], events=events_of(found)
    )
    fail_groups(counted, coupons=[candidate.coupon.pk], at=at)
    candidate.coupon.refresh_from_db()
    return candidate, shopper, counted


def _add_member(
    group: GroupBuy, candidate: Candidate, shopper: Shopper, counted: counters.Counted, at: datetime
) -> GroupBuy:
    others = GroupBuyMember.objects.filter(shopper=shopper, group__coupon=group.coupon, held_uses=1)
    if others.exists():
        raise CheckoutRefused("already_in_a_group")
    if why := may_join(candidate, shopper, counted, at):
        raise CheckoutRefused(why.code.value, why.facts)
    use = counters.Use(coupon=candidate.coupon, shopper_id=shopper.pk, campaign=None, at=at, shopper_uses=0)
    try:
        counters.take(counted, use=use)
    except counters.LimitReached as reached:
        raise CheckoutRefused(counters.REACHED[reached.limit], reached.facts) from reached
    GroupBuyMember.objects.create(group=group, shopper=shopper, joined_at=at, held_uses=1)
    waiting = GroupBuy.objects.filter(pk=group.pk, state=State.OPEN, closes_at__gt=at, joined__lt=F("size"))
    if not waiting.update(joined=F("joined") + 1):
        raise CheckoutRefused("group_closed")
    full = GroupBuy.objects.filter(pk=group.pk, state=State.OPEN, joined=F("size"))
    full.update(state=State.UNLOCKED, ended_at=at)
    group.refresh_from_db()
    return group
