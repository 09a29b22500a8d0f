"""What a basket gets, and how it is held for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import CharField, DateTimeField, Exists, Subquery

from recommender.compiled import Compiled
from recommender.models import Code, GroupBuy, GroupBuyMember, Reservation, ReservationCoupon, Shop, Shopper
from recommender.rules.basket import Basket
from recommender.rules.eligibility import refusal
from recommender.rules.offer import Targets
from recommender.rules.pricing import Applied, price
from recommender.rules.refusal import Refusal, RefusalCode
from recommender.services import counters
from recommender.services.checkout.baskets import GivenBasket, describe_basket
from recommender.services.checkout.offers import (
    Asked,
    Candidate,
    as_counted,
    describe_offer,
    describe_situation,
    events_of,
    find_candidates,
    find_places,
    find_targets,
    refresh,
)
from recommender.services.checkout.refusals import CheckoutRefused, RefusedCoupon, UnknownThing
from recommender.services.holding import (
    disregard_overdue,
    expire,
    fail_groups,
    keys_of,
    lock_items,
    lock_overdue,
)
from recommender.services.patience import patient_transaction

LIFETIME = timedelta(minutes=15)
LIFETIME_AT_MOST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class GivenCoupon:
    """A coupon that a basket gets, and what it takes off."""

    candidate: Candidate
    applied: Applied


@dataclass(frozen=True, slots=True)
class Quote:
    """What a basket gets. Coupons are in the order in which they were asked for."""

    shopper: Shopper
    currency: str
    given: list[GivenCoupon]
    refused: list[RefusedCoupon]

    @property
    def discount(self) -> Decimal:
        return sum((each.applied.discount for each in self.given), counters.NOTHING)


def validate(*, shopper_id: str, basket: GivenBasket, asked: Sequence[Asked], at: datetime) -> Quote:
    """What this basket would get at this moment. Nothing is counted and nothing held.

    Raises:
        UnknownThing: no such shopper.
        ValueError: it is no basket; callers check it before.
    """
    till = _open_till(shopper_id, at)
    shopper = till.shopper
    candidates, unknown = find_candidates(asked, shopper=shopper, at=at)
    described = describe_basket(
        basket, currency=till.currency, with_catalogue=any(each.is_targeted for each in candidates)
    )
    targets = find_targets(candidates, basket=described)
    counted = as_counted(candidates, shopper=shopper, zone=till.zone, at=at)
    if till.is_anything_overdue:
        coupons = {candidate.coupon.pk: candidate.coupon for candidate in candidates}
        campaigns = {each.campaign.pk: each.campaign for each in candidates if each.campaign is not None}
        disregard_overdue(counted, coupons=coupons, campaigns=campaigns, at=at)
    find_places(candidates, shopper=shopper)
    quote = _quote(till, candidates, described, targets=targets, counted=counted, at=at)
    return replace(quote, refused=unknown + quote.refused)


def reserve(
    *, shopper_id: str, basket: GivenBasket, asked: Sequence[Asked], lifetime: timedelta = LIFETIME, at: datetime
) -> tuple[Reservation, Quote]:
    """Hold for ``lifetime`` what this basket gets: a use and the discount's amount of each coupon that applies.

    Coupons that do not apply are in the quote with the reason. What is held by reservations whose time is over is
    free, whether the sweep took it back or not.

    Raises:
        UnknownThing: no such shopper.
        CheckoutRefused: ``no_coupon_applies``, with the reason of each.
        Busy: others use the same coupons for too long.
        ValueError: it is no basket.
    """
    with patient_transaction():
        till = _open_till(shopper_id, at)
        shopper = till.shopper
        candidates, unknown = find_candidates(asked, shopper=shopper, at=at)
        described = describe_basket(
            basket, currency=till.currency, with_catalogue=any(each.is_targeted for each in candidates)
        )
        targets = find_targets(candidates, basket=described)
        keys = _keys(candidates)
        overdue = lock_overdue(**keys, at=at)
        items = lock_items([reservation.pk for reservation in overdue])
        held = keys_of(item for own in items.values() for item in own)
        counted = counters.lock_counters(
            coupons=keys["coupons"] | held["coupons"],
            campaigns=keys["campaigns"] | held["campaigns"],
            events=keys["events"] | held["events"],
        )
        expire(counted, overdue, items, at=at)
        fail_groups(counted, coupons=[each.coupon.pk for each in candidates if each.coupon.group_size], at=at)
        refresh(candidates, counted=counted)
        find_places(candidates, shopper=shopper)
        quote = _quote(till, candidates, described, targets=targets, counted=counted, at=at)
        quote = replace(quote, refused=unknown + quote.refused)
        if not quote.given:
            raise CheckoutRefused("no_coupon_applies", coupons=quote.refused)
        reservation = Reservation.objects.create(
            shopper=shopper,
            basket_digest=basket.digest,
            lines=[{"line_id": line.line_id, "quantity": str(line.quantity), "returned": "0"} for line in basket.lines],
            created_at=at,
            expires_at=at + lifetime,
        )
        for position, each in enumerate(quote.given):
            _hold(reservation, position, each, counted, at)
        note_refused(quote.refused, at=at)
        return reservation, quote


def note_refused(refused: Sequence[RefusedCoupon], *, at: datetime) -> None:
    """Count, in the hours of sale events, coupons that were not reserved because no money was left till the next.

    Whoever undoes what :func:`reserve` did, or would have done, says so afterwards.
    """
    events = Counter(each.paced_by for each in refused if each.paced_by is not None)
    for event, times in sorted(events.items()):
        counters.note_refused(sale_event=event, at=at, times=times)


@dataclass(frozen=True, slots=True)
class _Till:
    """Whose basket it is, in which shop, and whether anything at all is held by those whose time is over."""

    shopper: Shopper
    zone: ZoneInfo
    currency: str
    is_anything_overdue: bool


def _open_till(shopper_id: str, at: datetime) -> _Till:
    for row in _read_till(shopper_id=shopper_id, at=at):
        shop = Shop.current() if row["currency"] is None else Shop(time_zone=row["zone"], currency=row["currency"])
        shopper = Shopper(pk=row["pk"], shopper_id=shopper_id, opted_out=row["opted_out"])
        return _Till(shopper, shop.zone, shop.currency, row["is_anything_overdue"])
    raise UnknownThing("shopper", shopper_id)


_read_till = Compiled(
    lambda shopper_id, at: (
        Shopper.objects.filter(shopper_id=shopper_id)
        .annotate(
            zone=Subquery(Shop.objects.values("time_zone")[:1]),
            currency=Subquery(Shop.objects.values("currency")[:1]),
            is_anything_overdue=Exists(Reservation.objects.overdue_at(at)) | Exists(GroupBuy.objects.overdue_at(at)),
        )
        .values("pk", "opted_out", "zone", "currency", "is_anything_overdue")
    ),
    shopper_id=CharField(),
    at=DateTimeField(),
)


def _keys(candidates: Sequence[Candidate]) -> dict[str, set[int]]:
    return {
        "coupons": {candidate.coupon.pk for candidate in candidates},
        "campaigns": {candidate.campaign.pk for candidate in candidates if candidate.campaign is not None},
        "events": events_of(candidates),
    }


def _quote(
    till: _Till,
    candidates: list[Candidate],
    basket: Basket,
    *,
    targets: Mapping[int, Targets],
    counted: counters.Counted,
    at: datetime,
) -> Quote:
    """What those that were found give; what was not found is not in it."""
    by_coupon = {candidate.coupon.coupon_id: candidate for candidate in candidates}
    refused: list[RefusedCoupon] = []
    refusals: list[Refusal] = []
    usable = []
    for candidate in candidates:
        name = candidate.asked.name
        offer = describe_offer(candidate, targets=targets[candidate.coupon.pk], counted=counted, at=at)
        if candidate.campaign is None:
            refused.append(RefusedCoupon(name, "no_campaign"))
        elif candidate.code is not None and candidate.code.uses:
            refused.append(RefusedCoupon(name, "code_used"))
        elif why := refusal(offer, describe_situation(candidate, shopper=till.shopper, counted=counted, at=at)):
            refusals.append(why)
        else:
            usable.append(offer)
    outcome = price(basket, usable)
    for each in (*refusals, *outcome.refused):
        candidate = by_coupon[each.coupon_id]
        campaign = candidate.campaign
        is_paced = each.code in (RefusalCode.EVENT_HOUR, RefusalCode.EVENT_BUDGET)
        paced_by = campaign.sale_event_id if campaign is not None and is_paced else None
        refused.append(RefusedCoupon(candidate.asked.name, each.code.value, each.facts, paced_by))
    order = [candidate.coupon.coupon_id for candidate in candidates]
    applied = sorted(outcome.applied, key=lambda each: order.index(each.coupon_id))
    return Quote(
        shopper=till.shopper,
        currency=till.currency,
        given=[GivenCoupon(by_coupon[each.coupon_id], each) for each in applied],
        refused=refused,
    )


def _hold(
    reservation: Reservation, position: int, given: GivenCoupon, counted: counters.Counted, at: datetime
) -> ReservationCoupon:
    candidate, applied = given.candidate, given.applied
    item = ReservationCoupon(
        reservation=reservation,
        position=position,
        coupon=candidate.coupon,
        campaign=candidate.campaign,
        sale_event_id=candidate.campaign.sale_event_id if candidate.campaign is not None else None,
        code=candidate.code,
        member=candidate.member,
        amount=applied.discount,
        shipping_amount=applied.shipping_discount,
        lines=[
            {"line_id": line["line_id"], "discount": str(applied.by_line[line["line_id"]])}
            for line in reservation.lines
            if line["line_id"] in applied.by_line
        ],
        counted_at=at,
        held_uses=1,
        held_amount=applied.discount,
    )
    take_all(counted, item, shopper_id=reservation.shopper_id)
    item.save()
    return item


def take_all(counted: counters.Counted, item: ReservationCoupon, *, shopper_id: int) -> None:
    """Take of the counters, the code and the group what a coupon of a reservation is to hold.

    The counters are held, so that after the rules agreed none of this fails; should it yet, nothing may be kept.

    Raises:
        CheckoutRefused: somebody else had it.
    """
    stock = 1
    if item.member_id is not None:
        kept = GroupBuyMember.objects.filter(pk=item.member_id, held_uses=1)
        if not kept.update(held_uses=0):
            raise CheckoutRefused("group_not_joined")
        stock = 0
    if item.code_id is not None and not Code.objects.filter(pk=item.code_id, uses=0).update(uses=1):
        raise CheckoutRefused("code_used")
    use = counters.Use(
        coupon=item.coupon,
        shopper_id=shopper_id,
        campaign=item.campaign,
        at=item.counted_at,
        stock=stock,
        amount=item.amount,
        sale_event=item.sale_event_id,
    )
    try:
        counters.take(counted, use=use)
    except counters.LimitReached as reached:
        raise CheckoutRefused(counters.REACHED[reached.limit], reached.facts) from reached
