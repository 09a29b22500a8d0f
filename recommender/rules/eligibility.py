"""Whether a shopper may use a coupon at a moment, whatever is in the basket."""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from recommender.rules.offer import Offer
from recommender.rules.refusal import Refusal


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


def refusal(offer: Offer, situation: Situation) -> Refusal | None:
    """The first reason, in the order of ``RefusalCode``, why the coupon may not be used; None if it may.

    A budget of which nothing is left is a reason here; whether it pays for a basket is found out by ``price``.
    """
    raise NotImplementedError
