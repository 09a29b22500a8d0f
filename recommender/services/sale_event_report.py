"""What came of a sale event: hour by hour, by tiers of shoppers, and of each of its campaigns."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import accumulate

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import Coalesce

from recommender.models import Campaign, Redemption, ReservationCoupon, SaleEvent, Segment
from recommender.services.segments import find_shoppers

NOTHING = Decimal(0)


@dataclass(frozen=True)
class HourFigures:
    """
    Attributes:
        planned: what of the budget came with the hour; None without a budget.
        carried: what the hours before had left when it began; None without a budget, and before it begins.
        spent, uses: of the uses that were counted in the hour and still are.
        refused: coupons that were not reserved because no money was left till the next.
    """

    starts_at: datetime
    planned: Decimal | None
    carried: Decimal | None
    spent: Decimal
    uses: int
    refused: int


@dataclass(frozen=True)
class Part:
    """What some of the uses come to. ``shoppers`` are counted once each."""

    shoppers: int = 0
    uses: int = 0
    spent: Decimal = NOTHING


@dataclass(frozen=True)
class SaleEventReport:
    """
    Attributes:
        total: of all uses that were counted in the event's hours.
        by_hour: all hours, the first one first.
        by_tier: by the tier to which shoppers belonged when the event began, by the name of its segment; the last is of
            those of no tier, and is called by nothing.
        by_campaign: all of the event's campaigns, the one that took off the most first.
    """

    event: SaleEvent
    total: Part
    by_hour: list[HourFigures] = field(default_factory=list)
    by_tier: list[tuple[str, Part]] = field(default_factory=list)
    by_campaign: list[tuple[Campaign, Part]] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return sum(hour.refused for hour in self.by_hour)


def report_sale_event(*, event: SaleEvent, at: datetime) -> SaleEventReport:
    """Hold and confirmed uses alike: the morning after, what was only held has come back.

    Args:
        at: of hours that begin later nobody knows what will be carried over to them.
    """
    uses = _Uses(event)
    return SaleEventReport(
        event=event,
        total=uses.of(),
        by_hour=_report_hours(event, at),
        by_tier=_report_tiers(event, uses),
        by_campaign=_report_campaigns(event, uses),
    )


class _Uses:
    """Those that passed through a basket here, and those that were told of."""

    def __init__(self, event: SaleEvent) -> None:
        self._held: QuerySet[ReservationCoupon] = ReservationCoupon.objects.filter(sale_event=event, held_uses__gt=0)
        self._told: QuerySet[Redemption] = Redemption.objects.filter(
            reservation_coupon__isnull=True, campaign__sale_event=event, redeemed_at__gte=event.starts_at
        )

    def of(self, *, shoppers: QuerySet | None = None, campaign: Campaign | None = None) -> Part:
        held, told = self._held, self._told
        if shoppers is not None:
            held, told = held.filter(reservation__shopper__in=shoppers), told.filter(shopper__in=shoppers)
        if campaign is not None:
            held, told = held.filter(campaign=campaign), told.filter(campaign=campaign)
        parts = [
            rows.aggregate(uses=Count("pk"), spent=Coalesce(Sum(amount), NOTHING))
            for rows, amount in ((held, "held_amount"), (told, "discount_amount"))
        ]
        whom = held.order_by().values("reservation__shopper").union(told.order_by().values("shopper"))
        return Part(
            shoppers=whom.count(),
            uses=sum(part["uses"] for part in parts),
            spent=sum((part["spent"] for part in parts), NOTHING),
        )


def _report_hours(event: SaleEvent, at: datetime) -> list[HourFigures]:
    hours = list(event.hours.order_by("starts_at"))
    left = [NOTHING, *accumulate((hour.planned or NOTHING) - hour.spent for hour in hours)]
    return [
        HourFigures(
            starts_at=hour.starts_at,
            planned=hour.planned,
            carried=None if hour.planned is None or hour.starts_at > at else before,
            spent=hour.spent,
            uses=hour.uses,
            refused=hour.refused,
        )
        for hour, before in zip(hours, left, strict=False)
    ]


def _report_tiers(event: SaleEvent, uses: _Uses) -> list[tuple[str, Part]]:
    tiers = {segment.tier: segment for segment in Segment.objects.exclude(tier="")}
    if not tiers:
        return []
    found = [
        (tiers[tier].name, uses.of(shoppers=find_shoppers(segment=tiers[tier], at=event.starts_at).values("pk")))
        for tier in Segment.Tier.values
        if tier in tiers
    ]
    whole = uses.of()
    rest = Part(
        shoppers=whole.shoppers - sum(part.shoppers for _name, part in found),
        uses=whole.uses - sum(part.uses for _name, part in found),
        spent=whole.spent - sum((part.spent for _name, part in found), NOTHING),
    )
    return [*found, ("", rest)]


def _report_campaigns(event: SaleEvent, uses: _Uses) -> list[tuple[Campaign, Part]]:
    found = [(campaign, uses.of(campaign=campaign)) for campaign in event.campaigns.order_by("campaign_id")]
    return sorted(found, key=lambda each: -each[1].spent)
