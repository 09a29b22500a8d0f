"""Tiers of shoppers by how lately, how often and for how much they ordered: four segments whose numbers follow from the
shop's own history.

A tier is an ordinary segment: its conditions are written here, and who belongs to it is looked up as of any other. The
numbers are quantiles, so that a tier means the same in a shop of weekly baskets and in one of yearly ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Sum

from recommender.models import Order, OrderLine, SaleEvent, Segment
from recommender.models.segments import SegmentCondition
from recommender.services.segments import find_reference
from recommender.wording import gettext as _

Tier, Kind, Comparison = Segment.Tier, SegmentCondition.Kind, SegmentCondition.Comparison

#: What is looked at: the days before the latest order.
DAYS = 365
#: New are those whose first order is no older.
NEW_DAYS = 30
#: Of the others who ordered within these days: so many ordered as lately as is recent, as often as is often, and spent
#: as much as is much.
RECENT, OFTEN, MUCH = Fraction(2, 3), Fraction(3, 4), Fraction(1, 2)
_CENT = Decimal("0.01")
#: After an event its shoppers stay in the tiers in which they were offered it until it has been told of.
STILL_AFTER = timedelta(days=1)


class NoHistory(ValueError):
    """Nobody has ordered for long enough to be of any tier. The message is for people."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where the tiers are cut.

    Attributes:
        shoppers: of how many these are the quantiles.
        recent_days: no more days since the last order are recent.
        often: no fewer orders are often.
        much: no less money is much.
    """

    shoppers: int
    recent_days: int
    often: int
    much: Decimal


def measure_cuts(*, at: datetime) -> Cuts:
    """
    Raises:
        NoHistory: no shopper who is not new ordered within :data:`DAYS`.
    """
    reference = find_reference(at=at)
    recent = {"ordered_at__gte": reference - timedelta(days=DAYS), "ordered_at__lt": at}
    # Whoever ordered before is not new. Asked for apart: a shopper's first order may be older than what is looked at.
    old = set(
        Order.objects.filter(ordered_at__lte=reference - timedelta(days=NEW_DAYS))
        .order_by()
        .values_list("shopper_id", flat=True)
        .distinct()
        .iterator()
    )
    orders = Order.objects.filter(**recent).order_by().values_list("shopper_id")
    counted = [
        (last, count)
        for shopper, last, count in orders.annotate(last=Max("ordered_at"), count=Count("pk")).iterator()
        if shopper in old
    ]
    if not counted:
        raise NoHistory(_("Nobody has ordered who did so before the last %(days)s days.") % {"days": NEW_DAYS})
    lines = OrderLine.objects.filter(**{f"order__{name}": value for name, value in recent.items()})
    spent = [
        amount or Decimal(0)
        for shopper, amount in lines.order_by().values_list("order__shopper_id").annotate(Sum("amount")).iterator()
        if shopper in old
    ]
    spent += [Decimal(0)] * (len(counted) - len(spent))
    days = [Fraction((reference - last) / timedelta(microseconds=1)) / 86_400_000_000 for last, _count in counted]
    return Cuts(
        shoppers=len(counted),
        recent_days=max(1, ceil(quantile(days, RECENT))),
        often=max(2, quantile([count for _last, count in counted], OFTEN)),
        much=Decimal(quantile(spent, MUCH)).quantize(_CENT, ROUND_HALF_UP),
    )


def quantile(values: Sequence[Any], share: Fraction) -> Any:
    """The least of the values that so great a share of them does not exceed."""
    return sorted(values)[ceil(share * len(values)) - 1]


def describe_tiers(cuts: Cuts) -> Mapping[Segment.Tier, list[SegmentCondition]]:
    """The conditions of each tier; a shopper meets all of those of one tier at most."""
    not_new = SegmentCondition(kind=Kind.FIRST_ORDER, comparison=Comparison.AT_LEAST, days=NEW_DAYS)
    recent = SegmentCondition(kind=Kind.LAST_ORDER, comparison=Comparison.AT_MOST, days=cuts.recent_days)

    def ordered(comparison: SegmentCondition.Comparison, times: int, days: int = DAYS) -> SegmentCondition:
        return SegmentCondition(kind=Kind.ORDERS, comparison=comparison, amount=Decimal(times), days=days)

    return {
        Tier.FREQUENT: [not_new, recent, ordered(Comparison.AT_LEAST, cuts.often)],
        Tier.LOYAL: [
            not_new,
            recent,
            ordered(Comparison.AT_MOST, cuts.often - 1),
            SegmentCondition(kind=Kind.SPEND, comparison=Comparison.AT_LEAST, amount=cuts.much, days=DAYS),
        ],
        # None lately, rather than a last order that is older: the two meet to the second.
        Tier.LAPSING: [
            not_new,
            ordered(Comparison.AT_MOST, 0, cuts.recent_days),
            ordered(Comparison.AT_LEAST, 1),
        ],
        Tier.NEW: [SegmentCondition(kind=Kind.FIRST_ORDER, comparison=Comparison.AT_MOST, days=NEW_DAYS)],
    }


def reckon_tiers(*, at: datetime) -> Cuts:
    """Write the conditions of the four tiers anew; segments that are not there yet are made.

    Raises:
        NoHistory: nothing was changed.
    """
    cuts = measure_cuts(at=at)
    with transaction.atomic():
        segments = {segment.tier: segment for segment in Segment.objects.select_for_update().exclude(tier="")}
        for tier, conditions in describe_tiers(cuts).items():
            segment = segments.get(tier) or Segment.objects.create(tier=tier, name=_free_name(tier))
            if segment.match != Segment.Match.ALL:
                segment.match = Segment.Match.ALL
                segment.save(update_fields=["match"])
            segment.conditions.all().delete()
            for condition in conditions:
                SegmentCondition.objects.create(
                    segment=segment,
                    kind=condition.kind,
                    comparison=condition.comparison,
                    amount=condition.amount,
                    days=condition.days,
                )
    return cuts


def reckon_tiers_by_night(*, at: datetime) -> Cuts | None:
    """Likewise where the shop has tiers and no sale event is near: from its warm-up until the day after it nobody's
    offers change."""
    if not Segment.objects.exclude(tier="").exists():
        return None
    if SaleEvent.objects.filter(warm_up_at__lte=at, ends_at__gt=at - STILL_AFTER).exists():
        return None
    try:
        return reckon_tiers(at=at)
    except NoHistory:
        return None


def _free_name(tier: Segment.Tier) -> str:
    name = str(tier.label)
    number, free = 1, name
    while Segment.objects.filter(name=free).exists():
        number += 1
        free = f"{name} {number}"
    return free
