"""What coupons take off a basket together.

Every coupon takes off what its terms say of the prices before any coupon. What coupons take together from a line, or
from the shipping, is never more than it costs. Of all sets of coupons that may be used together that one is applied
which takes off the most. ``docs/coupon-rules.md`` says it for shops.

With n coupons and m lines it takes O(2^n · n · m) at most, and O(n · m) where no two coupons want the same money.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise

from recommender.rules.basket import Basket
from recommender.rules.discount import Discount, discount_alone
from recommender.rules.distribution import Claim, lay, most_laid
from recommender.rules.offer import DiscountType, Offer
from recommender.rules.refusal import Refusal, RefusalCode, event_budget_refusal

MOST_COUPONS = 8


@dataclass(frozen=True, slots=True)
class Applied:
    """A coupon that takes something off.

    Attributes:
        discount: what it takes off in all: the sum of ``by_line`` and ``shipping_discount``, above 0.
        by_line: what it takes off each line of which it takes anything, by ``line_id``.
    """

    coupon_id: str
    discount: Decimal
    by_line: Mapping[str, Decimal]
    shipping_discount: Decimal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every coupon that was asked for is either applied or refused. Both are in the order of ``coupon_id``."""

    applied: tuple[Applied, ...]
    refused: tuple[Refusal, ...]

    @property
    def discount(self) -> Decimal:
        return sum((applied.discount for applied in self.applied), Decimal(0))


def price(basket: Basket, offers: Iterable[Offer]) -> Outcome:
    """What the coupons, all of which the shopper may use, take off the basket together: the most that is possible.

    Of sets that take off the same the one of fewest coupons is applied, then the one whose coupons end sooner, then the
    one whose identifiers come first.

    Raises:
        ValueError: more than ``MOST_COUPONS`` coupons, or one of them twice.
    """
    asked = sorted(offers, key=lambda offer: offer.coupon_id)
    if len(asked) > MOST_COUPONS:
        raise ValueError(f"coupons: expected at most {MOST_COUPONS}, not {len(asked)}.")
    for one, other in pairwise(asked):
        if one.coupon_id == other.coupon_id:
            raise ValueError(f"coupon {one.coupon_id}: expected once, not twice.")
    discounts, refused = [], []
    for offer in asked:
        found = discount_alone(offer, basket)
        if isinstance(found, Refusal):
            refused.append(found)
        else:
            discounts.append(found)
    chosen = _choose(_in_order(discounts, basket), basket)
    applied = [_in_money(discount, basket) for discount in _combine(chosen, basket)]
    accepted = {each.coupon_id for each in applied}
    refused += [_explain(each, chosen, basket) for each in discounts if each.offer.coupon_id not in accepted]
    return Outcome(
        tuple(sorted(applied, key=lambda each: each.coupon_id)),
        tuple(sorted(refused, key=lambda each: each.coupon_id)),
    )


def _in_money(discount: Discount, basket: Basket) -> Applied:
    return Applied(
        coupon_id=discount.offer.coupon_id,
        discount=basket.in_money(discount.total),
        by_line={basket.lines[place].line_id: basket.in_money(units) for place, units in discount.by_place.items()},
        shipping_discount=basket.in_money(discount.shipping),
    )


# Which coupons

Coupons = tuple[Discount, ...]


def _choose(discounts: Coupons, basket: Basket) -> Coupons:
    """The set that takes off the most, in the same order. A coupon more, if it may be added, never makes it less."""
    if not discounts or (_may_be_used(discounts, basket) and _total(discounts, basket) == _sum(discounts)):
        return discounts  # each takes off all that it could: no fewer do
    allowed = _list_allowed(discounts, basket)
    totals = {mask: _total(allowed[mask], basket) for mask in _maximal(allowed)}
    greatest = max(totals.values())
    best = latest = {mask for mask, total in totals.items() if total == greatest}
    # What a set takes off, those with more coupons take off as well: the fewest are found by leaving out one by one.
    while latest := {mask for mask in _leave_one_out(latest) - best if _total(allowed[mask], basket) == greatest}:
        best |= latest
    return min((allowed[mask] for mask in best), key=_preference)


def _leave_one_out(masks: Iterable[int]) -> set[int]:
    return {mask & ~(1 << place) for mask in masks for place in range(mask.bit_length()) if mask >> place & 1} - {0}


def _sum(coupons: Coupons) -> int:
    """What they would take off if none met another."""
    return sum(each.total for each in coupons)


def _list_allowed(discounts: Coupons, basket: Basket) -> dict[int, Coupons]:
    """The sets that may be used together, by the bits of their members."""
    allowed = {}
    for mask in range(1, 1 << len(discounts)):
        coupons = tuple(discount for place, discount in enumerate(discounts) if mask >> place & 1)
        if _may_be_used(coupons, basket):
            allowed[mask] = coupons
    return allowed


def _maximal(allowed: Mapping[int, Coupons]) -> list[int]:
    """Those to which no other coupon may be added. Whatever may be used together may be with fewer as well."""
    bits = [mask for mask, coupons in allowed.items() if len(coupons) == 1]
    return [mask for mask in allowed if not any(not mask & bit and mask | bit in allowed for bit in bits)]


def _may_be_used(coupons: Coupons, basket: Basket) -> bool:
    if len(coupons) == 1:
        return True
    if not all(each.offer.stackable for each in coupons):
        return False
    groups = [each.offer.exclusion_group for each in coupons if each.offer.exclusion_group]
    if len(groups) != len(set(groups)) or _break_an_event_rule(coupons) is not None:
        return False
    return _is_paid_for(coupons, basket) and _is_paid_by_events(coupons, basket)


def _is_paid_for(coupons: Coupons, basket: Basket) -> bool:
    """Whether the budget of each campaign pays for its coupons, each as by itself."""
    offers = [each.offer for each in coupons]
    return _do_purses_pay(
        [(offer.campaign_id, offer.campaign_budget_left) if offer.campaign_id else None for offer in offers],
        coupons,
        basket,
    )


def _is_paid_by_events(coupons: Coupons, basket: Basket) -> bool:
    """Likewise what has come of the budget of each sale event."""
    events = [each.offer.sale_event for each in coupons]
    return _do_purses_pay(
        [(event.event_id, event.left) if event is not None else None for event in events], coupons, basket
    )


def _do_purses_pay(purses: Sequence[tuple[str, Decimal | None] | None], coupons: Coupons, basket: Basket) -> bool:
    totals: dict[str, int] = defaultdict(int)
    for purse, each in zip(purses, coupons, strict=True):
        if purse is not None and purse[1] is not None:
            totals[purse[0]] += each.total
            if basket.in_units(purse[1], ROUND_FLOOR) < totals[purse[0]]:
                return False
    return True


def _break_an_event_rule(coupons: Coupons) -> tuple[RefusalCode, int, list[str]] | None:
    """Which rule of a sale event does not let coupons be used together: the most it allows, and of which coupons."""
    events = {each.offer.sale_event.event_id: each.offer.sale_event for each in coupons if each.offer.sale_event}
    for event_id, event in sorted(events.items()):
        own: list[str] = []
        others: list[str] = []
        for each in coupons:
            is_own = each.offer.sale_event is not None and each.offer.sale_event.event_id == event_id
            (own if is_own else others).append(each.offer.coupon_id)
        if event.most_coupons is not None and len(own) > event.most_coupons:
            return RefusalCode.EVENT_COUPONS, event.most_coupons, own
        if event.most_others is not None and len(others) > event.most_others:
            return RefusalCode.BESIDE_EVENT, event.most_others, own + others
    return None


def _preference(coupons: Coupons) -> tuple[int, list[tuple[datetime, str]]]:
    never = datetime.max.replace(tzinfo=UTC)
    return len(coupons), sorted((each.offer.ends_at or never, each.offer.coupon_id) for each in coupons)


def _explain(discount: Discount, chosen: Coupons, basket: Basket) -> Refusal:
    """Why a coupon that would take something off by itself is not among those that are applied."""
    coupon_id, group = discount.offer.coupon_id, discount.offer.exclusion_group
    others = [each.offer.coupon_id for each in chosen]
    if not all(each.offer.stackable for each in (discount, *chosen)):
        return Refusal(coupon_id, RefusalCode.NOT_STACKABLE, {"others": others})
    of_group = [each.offer.coupon_id for each in chosen if group and each.offer.exclusion_group == group]
    if of_group:
        return Refusal(coupon_id, RefusalCode.EXCLUSION_GROUP, {"others": of_group})
    if broken := _break_an_event_rule((*chosen, discount)):
        code, most, of = broken
        return Refusal(coupon_id, code, {"most": most, "others": [each for each in of if each != coupon_id]})
    if not _is_paid_for((*chosen, discount), basket):
        return Refusal(coupon_id, RefusalCode.CAMPAIGN_BUDGET)
    if discount.offer.sale_event is not None and not _is_paid_by_events((*chosen, discount), basket):
        return Refusal(coupon_id, *event_budget_refusal(discount.offer.sale_event))
    return Refusal(coupon_id, RefusalCode.NOTHING_LEFT, {"others": others})


# What they take off together

_TYPES = list(DiscountType)


def _in_order(discounts: Sequence[Discount], basket: Basket) -> Coupons:
    """In the order in which they take off: by type, of amounts those first that are for the least of the basket."""

    def order(discount: Discount) -> tuple[int, int, str]:
        by_amount = discount.offer.discount_type is DiscountType.AMOUNT
        room = sum(basket.amounts[place] for place in discount.places) if by_amount else 0
        assert discount.offer.discount_type  # it has terms
        return _TYPES.index(discount.offer.discount_type), room, discount.offer.coupon_id

    return tuple(sorted(discounts, key=order))


def _total(coupons: Coupons, basket: Basket) -> int:
    settled, amounts, left = _settle(coupons, basket)
    return _sum(settled) + most_laid([Claim(each.total, each.places) for each in amounts], left)


def _combine(coupons: Coupons, basket: Basket) -> Coupons:
    """What each takes off when they are used together; they come in their order."""
    settled, amounts, left = _settle(coupons, basket)
    laid = lay([Claim(each.total, each.places) for each in amounts], left)
    return settled + tuple(Discount(each.offer, each.places, taken) for each, taken in zip(amounts, laid, strict=True))


def _settle(coupons: Coupons, basket: Basket) -> tuple[Coupons, Coupons, list[int]]:
    """What those take off that take something of each line, the amounts, and what of each line is left for them."""
    left, shipping_left = list(basket.amounts), basket.shipping_units
    settled, amounts = [], []
    for each in coupons:
        if each.offer.discount_type is DiscountType.AMOUNT:
            amounts.append(each)
            continue
        taken = {place: min(units, left[place]) for place, units in each.by_place.items() if left[place]}
        for place, units in taken.items():
            left[place] -= units
        shipping = min(each.shipping, shipping_left)
        shipping_left -= shipping
        settled.append(Discount(each.offer, each.places, taken, shipping))
    return tuple(settled), tuple(amounts), left
