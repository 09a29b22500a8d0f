"""The shop day by day: uses of coupons, and the revenue of the orders that they were used in."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from django.db.models import Count, Max, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from recommender.models import Event, Order, OrderLine, Redemption, Shop

#: A week's rhythm stands in both periods alike.
DAYS = 28


@dataclass(frozen=True)
class Day:
    """A day by the shop's clock."""

    day: date
    redemptions: int
    revenue: Decimal


@dataclass(frozen=True)
class Activity:
    """Two periods of as many days, the later right after the earlier.

    Attributes:
        last_at: when the last thing happened that data know of; None where nothing did.
    """

    days: list[Day]
    before: list[Day]
    last_at: datetime | None


def measure_activity(*, now: datetime | None = None, days: int = DAYS) -> Activity:
    """The last days that data know of, and as many before them.

    The last day is the one on which the last order, redemption or event happened, and never one to come.
    """
    zone = Shop.current().zone
    last_at = _last_at(now or timezone.now())
    if last_at is None:
        return Activity([], [], None)
    last = last_at.astimezone(zone).date()
    first = last - timedelta(days=2 * days - 1)
    begin, end = (datetime.combine(each, time.min, zone) for each in (first, last + timedelta(days=1)))
    uses = Redemption.objects.filter(redeemed_at__gte=begin, redeemed_at__lt=end)
    redemptions = dict(
        uses.annotate(day=TruncDate("redeemed_at", tzinfo=zone))
        .values_list("day")
        .annotate(count=Count("pk"))
        .order_by()
    )
    revenue = dict(
        OrderLine.objects.filter(
            order__in=uses.values("order"), order__ordered_at__gte=begin, order__ordered_at__lt=end
        )
        .annotate(day=TruncDate("order__ordered_at", tzinfo=zone))
        .values_list("day")
        .annotate(total=Sum("amount"))
        .order_by()
    )
    counted = [
        Day(day, redemptions.get(day, 0), revenue.get(day, Decimal(0)))
        for day in (first + timedelta(days=number) for number in range(2 * days))
    ]
    return Activity(days=counted[days:], before=counted[:days], last_at=last_at)


def _last_at(now: datetime) -> datetime | None:
    moments = [
        model._default_manager.filter(**{f"{field}__lte": now}).aggregate(last=Max(field))["last"]
        for model, field in ((Order, "ordered_at"), (Redemption, "redeemed_at"), (Event, "occurred_at"))
    ]
    return max((moment for moment in moments if moment is not None), default=None)
