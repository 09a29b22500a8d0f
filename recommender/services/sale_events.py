"""Big sale events: what of an event's budget comes with each hour, and what came of the event."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from django.db import transaction
from django.db.models import Count, DateTimeField, ExpressionWrapper, F, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import ExtractHour

from recommender.models import Order, SaleEvent, SaleEventHour, Shop
from recommender.rules.currency import smallest_unit
from recommender.rules.pacing import spread
from recommender.services import counters
from recommender.wording import gettext as _

HOUR = timedelta(hours=1)
#: So long before the plan is made orders are looked at to see at which hours of the day they come.
LOOKED_BACK = timedelta(days=56)


class PlanRefused(ValueError):
    """The plan cannot be changed so. ``field`` is what is in the way, the message is for people."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_plan(*, event: SaleEvent, at: datetime) -> None:
    """Whether an event may be saved as it is now, whatever it was.

    Once it has started its start stays, and what came of its budget cannot be taken back. Once it has ended all stays.

    Raises:
        PlanRefused: it may not.
    """
    before = SaleEvent.objects.filter(pk=event.pk).first()
    if before is None or before.starts_at > at:
        if event.starts_at <= at:
            raise PlanRefused("starts_at", _("The event must start in the future."))
        return
    if event.starts_at != before.starts_at:
        raise PlanRefused("starts_at", _("The event has started. Its start cannot be changed any more."))
    if before.ends_at <= at:
        for name in ("ends_at", "budget", "pacing"):
            if getattr(event, name) != getattr(before, name):
                raise PlanRefused(name, _("The event is over. This cannot be changed any more."))
    elif event.ends_at <= at:
        raise PlanRefused("ends_at", _("The end must be in the future."))
    came = sum(map(_came_with, _begun(event, at)), counters.NOTHING)
    _check_budget(event, came)


def plan_hours(*, event: SaleEvent, at: datetime) -> None:
    """Say what of the event's budget comes with each of its hours. Hours that have begun stay as they are, and the rest
    of the budget is for the others.

    Raises:
        PlanRefused: less budget than has come already.
    """
    with transaction.atomic():
        counted = counters.lock_counters(coupons=(), campaigns=(), events=[event.pk])
        paced = counted.events[event.pk]
        begun = [hour for hour in paced.hours if hour.starts_at <= at]
        came = sum(map(_came_with, begun), counters.NOTHING)
        _check_budget(event, came)
        SaleEventHour.objects.filter(sale_event=event).exclude(pk__in=[hour.pk for hour in begun]).delete()
        starts = [event.starts_at + number * HOUR for number in range(_count_hours(event))][len(begun) :]
        planned = _plan(event, starts, came, at)
        SaleEventHour.objects.bulk_create(
            SaleEventHour(sale_event=event, starts_at=start, planned=amount)
            for start, amount in zip(starts, planned, strict=True)
        )


def _count_hours(event: SaleEvent) -> int:
    return -((event.starts_at - event.ends_at) // HOUR)


def _begun(event: SaleEvent, at: datetime) -> list[SaleEventHour]:
    return list(SaleEventHour.objects.filter(sale_event=event, starts_at__lte=at))


def _came_with(hour: SaleEventHour) -> Decimal:
    """What came with an hour that has begun. While there was no budget it is what was spent."""
    return hour.spent if hour.planned is None else hour.planned


def _check_budget(event: SaleEvent, came: Decimal) -> None:
    if event.budget is not None and event.budget < came:
        text = _("%(came)s came of the budget already. Choose no less.")
        raise PlanRefused("budget", text % {"came": f"{came.normalize():f}"})


def _plan(event: SaleEvent, starts: list[datetime], came: Decimal, at: datetime) -> list[Decimal | None]:
    if event.budget is None:
        return [None] * len(starts)
    unit = smallest_unit(Shop.current().currency)
    units = int(((event.budget - came) / unit).to_integral_value(ROUND_FLOOR))
    return [amount * unit for amount in spread(units, _weigh(event, starts, at))] if starts else []


def _weigh(event: SaleEvent, starts: list[datetime], at: datetime) -> list[int]:
    """Of each hour; the last may be shorter than the others."""
    if event.pacing == SaleEvent.Pacing.AT_ONCE:
        return [1, *(0 for _start in starts[1:])]
    seconds = [int(min(HOUR, event.ends_at - start).total_seconds()) or 1 for start in starts]
    if event.pacing == SaleEvent.Pacing.EVEN:
        return seconds
    orders = count_orders_by_hour(minute=event.starts_at.minute, at=at)
    zone = Shop.current().zone
    first = timedelta(minutes=event.starts_at.minute)
    return [
        orders.get((start - first).astimezone(zone).hour, 0) * length
        for start, length in zip(starts, seconds, strict=True)
    ]


def count_orders_by_hour(*, minute: int = 0, at: datetime) -> Mapping[int, int]:
    """How many orders of the last eight weeks came in each hour of the day by the shop's clock, from 0 to 23, where an
    hour begins at a minute of it."""
    moment: Combinable = F("ordered_at")
    if minute:
        moment = ExpressionWrapper(moment - Value(timedelta(minutes=minute)), output_field=DateTimeField())
    recent = Order.objects.filter(ordered_at__gte=at - LOOKED_BACK, ordered_at__lt=at)
    hours = recent.annotate(hour=ExtractHour(moment, tzinfo=Shop.current().zone)).order_by().values("hour")
    return {row["hour"]: row["orders"] for row in hours.annotate(orders=Count("pk"))}
