"""Whether a shopper may use a coupon at a moment, whatever is in the basket."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from recommender.rules.offer import Offer, SaleEvent
from recommender.rules.periods import Period, next_start
from recommender.rules.refusal import Refusal, RefusalCode, event_budget_refusal


@dataclass(frozen=True, slots=True)
class Uses:
    """How often a coupon was used so far, with uses that are reserved: by all, and by the shopper."""

    total: int = 0
    shopper: int = 0
    day: int = 0
    week: int = 0
    month: int = 0


@dataclass(frozen=True, slots=True)
class GroupState:
    """The group that a shopper joined for a coupon.

    Attributes:
        members: who joined before ``closes_at``.
        closes_at: when it must be full. What was full by then stays so.
    """

    members: int
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Situation:
    """A shopper at a moment, with regard to one coupon.

    Attributes:
        moment: with a time zone.
        zone: the shop's.
        uses: of the coupon.
        ordered_before: whether the shopper ever ordered.
        segment_ids: the segments, of those that coupons ask for, to which the shopper belongs.
        opted_out: refuses every coupon. Leave it False where the shopper asked for the coupon by its code.
        group: None where the shopper joined none.
    """

    moment: datetime
    zone: ZoneInfo
    uses: Uses = field(default_factory=Uses)
    ordered_before: bool = False
    segment_ids: frozenset[str] = frozenset()
    opted_out: bool = False
    group: GroupState | None = None

    def __post_init__(self) -> None:
        if self.moment.tzinfo is None:
            raise ValueError("moment: expected a moment with a time zone.")


def refusal(offer: Offer, situation: Situation) -> Refusal | None:
    """The first reason, in the order of ``RefusalCode``, why the coupon may not be used; None if it may.

    A budget of which nothing is left is a reason here; whether it pays for a basket is found out by ``price``.
    """
    found = (
        _refuse_by_terms(offer)
        or _refuse_by_window(offer, situation.moment)
        or _refuse_by_shopper(offer, situation)
        or _refuse_by_group(offer, situation)
        or _refuse_by_limits(offer, situation)
        or _refuse_by_budget(offer)
    )
    if found is None:
        return None
    code, facts = found
    return Refusal(offer.coupon_id, code, facts)


_Found = tuple[RefusalCode, dict[str, Any]] | None


def _refuse_by_terms(offer: Offer) -> _Found:
    if not offer.active:
        return RefusalCode.NOT_ACTIVE, {}
    return None if offer.has_terms else (RefusalCode.TERMS_UNKNOWN, {})


def _refuse_by_window(offer: Offer, moment: datetime) -> _Found:
    if offer.starts_at is not None and moment < offer.starts_at:
        return RefusalCode.NOT_STARTED, {"starts_at": offer.starts_at}
    if offer.ends_at is not None and moment >= offer.ends_at:
        return RefusalCode.ENDED, {"ended_at": offer.ends_at}
    if offer.campaign_starts_at is not None and moment < offer.campaign_starts_at:
        return RefusalCode.CAMPAIGN_NOT_STARTED, {"starts_at": offer.campaign_starts_at}
    if offer.campaign_ends_at is not None and moment >= offer.campaign_ends_at:
        return RefusalCode.CAMPAIGN_ENDED, {"ended_at": offer.campaign_ends_at}
    return _refuse_by_event(offer.sale_event, moment)


def _refuse_by_event(event: SaleEvent | None, moment: datetime) -> _Found:
    if event is not None and moment < event.starts_at:
        return RefusalCode.EVENT_NOT_STARTED, {"starts_at": event.starts_at}
    if event is not None and moment >= event.ends_at:
        return RefusalCode.EVENT_ENDED, {"ended_at": event.ends_at}
    return None


def _refuse_by_shopper(offer: Offer, situation: Situation) -> _Found:
    if situation.opted_out:
        return RefusalCode.OPTED_OUT, {}
    if offer.segment_id is not None and offer.segment_id not in situation.segment_ids:
        return RefusalCode.NOT_IN_SEGMENT, {}
    if offer.first_order_only and situation.ordered_before:
        return RefusalCode.NOT_FIRST_ORDER, {}
    return None


def _refuse_by_group(offer: Offer, situation: Situation) -> _Found:
    if offer.group_size is None:
        return None
    group = situation.group
    if group is None:
        return RefusalCode.GROUP_NOT_JOINED, {"size": offer.group_size}
    missing = offer.group_size - group.members
    if missing <= 0:
        return None
    if situation.moment < group.closes_at:
        return RefusalCode.GROUP_NOT_FULL, {"missing": missing, "closes_at": group.closes_at}
    return RefusalCode.GROUP_NOT_FILLED, {"size": offer.group_size, "closed_at": group.closes_at}


def _refuse_by_limits(offer: Offer, situation: Situation) -> _Found:
    limits, uses = offer.limits, situation.uses
    if _is_reached(limits.shopper, uses.shopper):
        return RefusalCode.SHOPPER_LIMIT, {"limit": limits.shopper}
    for code, period, limit, used in (
        (RefusalCode.MONTH_LIMIT, Period.MONTH, limits.month, uses.month),
        (RefusalCode.WEEK_LIMIT, Period.WEEK, limits.week, uses.week),
        (RefusalCode.DAY_LIMIT, Period.DAY, limits.day, uses.day),
    ):
        if _is_reached(limit, used):
            return code, {"limit": limit, "again_at": next_start(period, situation.moment, situation.zone)}
    return (RefusalCode.TOTAL_LIMIT, {"limit": limits.total}) if _is_reached(limits.total, uses.total) else None


def _is_reached(limit: int | None, used: int) -> bool:
    return limit is not None and used >= limit


def _refuse_by_budget(offer: Offer) -> _Found:
    if offer.budget_left is not None and offer.budget_left <= 0:
        return RefusalCode.BUDGET, {}
    if offer.campaign_budget_left is not None and offer.campaign_budget_left <= 0:
        return RefusalCode.CAMPAIGN_BUDGET, {}
    event = offer.sale_event
    return event_budget_refusal(event) if event is not None and event.left is not None and event.left <= 0 else None
