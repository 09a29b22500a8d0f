"""The only writer of the counters of uses and of money: every use of a coupon passes here.

A transaction locks the counters of all its coupons, campaigns and sale events first, coupons before campaigns before
events and each in the order of their keys, so that no two transactions wait for each other. Whoever holds a coupon's
counter holds everything that counts for the coupon; still every use is taken by a conditional update, and constraints
stand behind that.

A counter that is not there yet is made by counting, so that history which was loaded before counts as well.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain, product
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, models, transaction
from django.db.models import Count, Expression, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Round

from recommender.models import (
    Campaign,
    CampaignCounter,
    Coupon,
    CouponCounter,
    GroupBuyMember,
    Redemption,
    ReservationCoupon,
    SaleEvent,
    SaleEventCounter,
    SaleEventHour,
    Shop,
    ShopperCounter,
)
from recommender.rules.eligibility import Uses
from recommender.rules.pacing import next_hour_with_more, room
from recommender.rules.periods import Period, first_day, next_start
from recommender.rules.refusal import RefusalCode

Span = ShopperCounter.Period
NOTHING = Decimal(0)
_DECIMALS = 3  # of money, as the tables hold it
RECOUNTED_AT_ONCE = 500
#: Which column of a coupon limits a shopper's uses in which period.
SHOPPER_LIMITS = {
    Span.EVER: "per_shopper_limit",
    Span.DAY: "per_day_limit",
    Span.WEEK: "per_week_limit",
    Span.MONTH: "per_month_limit",
}
#: The code by which it is told that a limit or a budget is in the way.
REACHED = {
    "per_shopper_limit": RefusalCode.SHOPPER_LIMIT.value,
    "per_day_limit": RefusalCode.DAY_LIMIT.value,
    "per_week_limit": RefusalCode.WEEK_LIMIT.value,
    "per_month_limit": RefusalCode.MONTH_LIMIT.value,
    "total_limit": RefusalCode.TOTAL_LIMIT.value,
    "budget": RefusalCode.BUDGET.value,
    "campaign_budget": RefusalCode.CAMPAIGN_BUDGET.value,
    "sale_event_hour": RefusalCode.EVENT_HOUR.value,
    "sale_event_budget": RefusalCode.EVENT_BUDGET.value,
}


class LimitReached(Exception):
    """A conditional update changed nothing. ``limit`` names the column that holds what was reached.

    Attributes:
        coupon: whose limit it is, or whose use its campaign's budget does not pay.
        facts: those that :class:`RefusalCode` names beside the code.
    """

    def __init__(self, coupon: Coupon, limit: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{coupon.coupon_id}: {limit}")
        self.coupon = coupon
        self.limit = limit
        self.facts = dict(facts or {})


@dataclass(frozen=True, slots=True)
class Use:
    """What a shopper's use of a coupon counts.

    Attributes:
        stock: what it takes of the total limit: 0 where a group keeps the use already.
        at: the moment in whose day, week and month it counts.
        shopper_uses: what it takes of the shopper's limits: 0 where only money is given back.
        amount: what it takes of the budgets.
        sale_event: the key of the event in whose hours it counts.
    """

    coupon: Coupon
    shopper_id: int
    campaign: Campaign | None
    at: datetime
    stock: int = 1
    shopper_uses: int = 1
    amount: Decimal = NOTHING
    sale_event: int | None = None


@dataclass(frozen=True, slots=True)
class PacedEvent:
    """A sale event with what was spent in its hours, which come in their order."""

    event: SaleEvent
    counter: SaleEventCounter
    hours: list[SaleEventHour]

    def find_hour(self, moment: datetime) -> int | None:
        """The number of the hour that holds a moment; after the event the last one, for what was promised in time and
        is confirmed late. None before the event."""
        place = bisect_right(self.hours, moment, key=lambda hour: hour.starts_at) - 1
        return place if place >= 0 else None

    def left(self, moment: datetime) -> Decimal | None:
        """What may still be taken off in the hour of a moment; None without a budget."""
        if self.event.budget is None:
            return None
        place = self.find_hour(moment)
        return NOTHING if place is None else room(self._planned, [hour.spent for hour in self.hours], place)

    def more_at(self, moment: datetime) -> datetime | None:
        """When more of the budget comes; None if all came."""
        place = self.find_hour(moment)
        later = None if place is None else next_hour_with_more(self._planned, place)
        return None if later is None else self.hours[later].starts_at

    @property
    def _planned(self) -> list[Decimal]:
        return [hour.planned or NOTHING for hour in self.hours]


@dataclass(frozen=True)
class Counted:
    """What counts, by primary key; kept up as uses are taken and given back.

    Attributes:
        held: whether the counters are locked, so that it is still true when something is written.
        shoppers: the counters of a shopper by period, by coupon, shopper and day.
    """

    zone: ZoneInfo
    held: bool
    coupons: dict[int, CouponCounter]
    campaigns: dict[int, CampaignCounter]
    events: dict[int, PacedEvent] = field(default_factory=dict)
    shoppers: dict[tuple[int, int, date], dict[Span, ShopperCounter]] = field(default_factory=dict)
    disregarded: list[Use] = field(default_factory=list)


def lock_counters(*, coupons: Collection[int], campaigns: Collection[int], events: Collection[int] = ()) -> Counted:
    """Hold the counters of coupons, campaigns and sale events, by primary key, until the transaction ends.

    Whoever waits for them waits for all that the transaction does from here on: what can be looked up before should be.
    """
    counted = Counted(zone=Shop.current().zone, held=True, coupons={}, campaigns={})
    _make_missing(CouponCounter, "coupon_id", coupons, _count_coupons)
    _make_missing(CampaignCounter, "campaign_id", campaigns, _count_campaigns)
    counted.coupons.update({row.coupon_id: row for row in _locked(CouponCounter, "coupon_id", coupons)})
    counted.campaigns.update({row.campaign_id: row for row in _locked(CampaignCounter, "campaign_id", campaigns)})
    lock_events(counted, events=events)
    return counted


def lock_campaigns(counted: Counted, *, campaigns: Collection[int]) -> None:
    """Hold the counters of campaigns too, where it is the coupons' counters that tell which ones: once only."""
    _make_missing(CampaignCounter, "campaign_id", campaigns, _count_campaigns)
    counted.campaigns.update({row.campaign_id: row for row in _locked(CampaignCounter, "campaign_id", campaigns)})


def lock_events(counted: Counted, *, events: Collection[int]) -> None:
    """Hold the counters of sale events too, after those of campaigns: once only."""
    if events:
        rows = _locked(SaleEventCounter, "sale_event_id", events)
        if len(rows) < len(set(events)):
            SaleEventCounter.objects.bulk_create(
                [SaleEventCounter(sale_event_id=key) for key in sorted(events)], ignore_conflicts=True
            )
            rows = _locked(SaleEventCounter, "sale_event_id", events)
        counted.events.update(_with_hours({row.sale_event_id: row for row in rows}))


def read_events(counted: Counted, *, events: Collection[int]) -> None:
    """What was spent in the hours of sale events. Nothing is held."""
    assert not counted.held
    if events:
        counters = {key: SaleEventCounter(sale_event_id=key) for key in events}
        counters |= {row.sale_event_id: row for row in SaleEventCounter.objects.filter(sale_event__in=events)}
        counted.events.update(_with_hours(counters))


def _with_hours(counters: Mapping[int, SaleEventCounter]) -> dict[int, PacedEvent]:
    hours: dict[int, list[SaleEventHour]] = defaultdict(list)
    for hour in SaleEventHour.objects.filter(sale_event__in=counters).order_by("starts_at"):
        hours[hour.sale_event_id].append(hour)
    events = SaleEvent.objects.in_bulk(list(counters))
    return {key: PacedEvent(events[key], counter, hours[key]) for key, counter in counters.items()}


def read_counters(*, coupons: Collection[int], campaigns: Collection[int]) -> Counted:
    """What counts at this moment. Nothing is held and nothing written."""
    of_coupons: dict[int, CouponCounter | None] = dict.fromkeys(coupons)
    of_coupons |= {row.coupon_id: row for row in CouponCounter.objects.filter(coupon__in=coupons)}
    of_campaigns: dict[int, CampaignCounter | None] = dict.fromkeys(campaigns)
    of_campaigns |= {row.campaign_id: row for row in CampaignCounter.objects.filter(campaign__in=campaigns)}
    return as_read(zone=Shop.current().zone, coupons=of_coupons, campaigns=of_campaigns)


def as_read(
    *,
    zone: ZoneInfo,
    coupons: Mapping[int, CouponCounter | None],
    campaigns: Mapping[int, CampaignCounter | None],
) -> Counted:
    """What counts, by counters that were read already, by primary key; what has none is counted. Nothing is held."""
    without = [key for key, counter in coupons.items() if counter is None]
    counts = _count_coupons(without) if without else {}
    of_coupons = {key: counter or CouponCounter(coupon_id=key, **counts[key]) for key, counter in coupons.items()}
    without = [key for key, counter in campaigns.items() if counter is None]
    counts = _count_campaigns(without) if without else {}
    of_campaigns = {
        key: counter or CampaignCounter(campaign_id=key, **counts[key]) for key, counter in campaigns.items()
    }
    return Counted(zone=zone, held=False, coupons=of_coupons, campaigns=of_campaigns)


def make_counters(*, coupons: Collection[int], campaigns: Collection[int]) -> None:
    """Make the counters that are missing, so that whoever reads them need not count. Nothing is held afterwards."""
    with transaction.atomic():
        _make_missing(CouponCounter, "coupon_id", coupons, _count_coupons)
        _make_missing(CampaignCounter, "campaign_id", campaigns, _count_campaigns)


def lock_redemptions() -> None:
    """Wait until nobody loads history, and keep loads waiting: a load holds this table before any counter.

    To be called before :func:`lock_counters` by whoever writes redemptions.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(Redemption._meta.db_table)
            cursor.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")


def uses_of(counted: Counted, *, coupon: Coupon, shopper_id: int, at: datetime) -> Uses:
    """How often a coupon was used, by all, and by a shopper in the periods that its limits ask for."""
    rows = _shopper_rows(counted, coupon, shopper_id, at)
    by_span = {span: rows[span].uses if span in rows else 0 for span in SHOPPER_LIMITS}
    for use in counted.disregarded:
        if (use.coupon.pk, use.shopper_id) == (coupon.pk, shopper_id):
            for span in rows:
                if _starts_on(span, use.at, counted.zone) == _starts_on(span, at, counted.zone):
                    by_span[span] -= use.shopper_uses
    return Uses(
        total=counted.coupons[coupon.pk].uses,
        shopper=by_span[Span.EVER],
        day=by_span[Span.DAY],
        week=by_span[Span.WEEK],
        month=by_span[Span.MONTH],
    )


def uses_ever(*, coupon: str, shopper: Expression | OuterRef) -> Expression:
    """In a query of coupons, to whose key ``coupon`` leads: how often a shopper ever used the coupon.

    As the counter says, which is not there until it is asked for; till then what of history is this shopper's and this
    coupon's, found by its index.
    """
    own = {"coupon": OuterRef(coupon), "shopper": shopper}
    counter = ShopperCounter.objects.filter(**own, period=Span.EVER).values("uses")
    recorded = _recorded().filter(**own).order_by().values("coupon")
    held = ReservationCoupon.objects.filter(coupon=OuterRef(coupon), reservation__shopper=shopper)
    sums = held.order_by().values("coupon").annotate(uses=Sum("held_uses")).values("uses")
    counts = recorded.annotate(uses=Count("pk")).values("uses")
    return Coalesce(Subquery(counter), Coalesce(Subquery(counts), 0) + Coalesce(Subquery(sums), 0))


def note_uses_ever(counted: Counted, *, coupon: Coupon, shopper_id: int, at: datetime, uses: int) -> None:
    """Keep, in figures that are only read, how often a shopper ever used a coupon, so that it need not be looked up.
    Of a coupon with a limit a day, week or month it is, with the uses in these."""
    assert not counted.held
    if all(getattr(coupon, limit) is None for span, limit in SHOPPER_LIMITS.items() if span != Span.EVER):
        row = ShopperCounter(coupon=coupon, shopper_id=shopper_id, period=Span.EVER, starts_on=date.min, uses=uses)
        counted.shoppers[_shopper_key(counted, coupon, shopper_id, at)] = {Span.EVER: row}


def uses_of_shoppers(
    *, coupons: Collection[int], shoppers: Collection[int], spans: Collection[Span], at: datetime
) -> Mapping[tuple[int, int | None, Span], int]:
    """How often shoppers used coupons in the periods that hold ``at``, by coupon, shopper and period, for many at once.
    Whoever has no entry did not."""
    if not coupons or not shoppers or not spans:
        return {}
    zone = Shop.current().zone
    there = ShopperCounter.objects.filter(_any_span(at, zone), coupon__in=coupons, shopper__in=shoppers)
    known: dict[tuple[int, int | None, Span], int] = {
        (row.coupon_id, row.shopper_id, Span(row.period)): row.uses for row in there
    }
    if all((*pair, span) in known for pair in product(coupons, shoppers) for span in spans):
        return known
    recorded = _recorded().filter(coupon__in=coupons, shopper__in=shoppers)
    held = ReservationCoupon.objects.filter(coupon__in=coupons, reservation__shopper__in=shoppers, held_uses__gt=0)
    if Span.EVER not in spans:
        since = min(_bounds(span, _starts_on(span, at, zone), zone)[0] for span in spans)
        recorded, held = recorded.filter(redeemed_at__gte=since), held.filter(counted_at__gte=since)
    counts: Counter[tuple[int, int | None, Span]] = Counter()
    for coupon, shopper, moment, uses in chain(
        recorded.values_list("coupon_id", "shopper_id", "redeemed_at", Value(1)),
        held.values_list("coupon_id", "reservation__shopper_id", "counted_at", "held_uses"),
    ):
        for span in spans:
            if _starts_on(span, moment, zone) == _starts_on(span, at, zone):
                counts[coupon, shopper, span] += uses
    return {**counts, **known}


def disregard(counted: Counted, *, use: Use) -> None:
    """Take a use as free in figures that are only read."""
    assert not counted.held
    if use.coupon.pk in counted.coupons:
        counted.coupons[use.coupon.pk].uses -= use.stock
        counted.coupons[use.coupon.pk].spent -= use.amount
    if use.campaign is not None and use.campaign.pk in counted.campaigns:
        counted.campaigns[use.campaign.pk].spent -= use.amount
    if use.sale_event in counted.events:
        _note_in_hour(counted.events[use.sale_event], use, -1)
    counted.disregarded.append(use)


def take(counted: Counted, *, use: Use) -> None:
    """Count a use, of which the counters are held.

    Raises:
        LimitReached: nothing of this use may be kept; the caller undoes what was written before.
    """
    _take_of_coupon(use)
    counter = counted.coupons[use.coupon.pk]
    counter.uses += use.stock
    counter.spent += use.amount
    if use.shopper_uses:
        _take_of_shopper(counted, use)
    if use.campaign is not None and use.amount:
        _take_of_campaign(use)
        counted.campaigns[use.campaign.pk].spent += use.amount
    if use.sale_event is not None:
        _take_of_event(counted.events[use.sale_event], use)


def give_back(counted: Counted, *, use: Use) -> None:
    """Count a use, of which the counters are held, no longer."""
    CouponCounter.objects.filter(coupon=use.coupon).update(
        uses=F("uses") - use.stock, spent=_money(F("spent") - use.amount)
    )
    counter = counted.coupons[use.coupon.pk]
    counter.uses -= use.stock
    counter.spent -= use.amount
    if use.shopper_uses:
        # Rows at 0 were counted by another clock: the shop's time zone was changed.
        rows = ShopperCounter.objects.filter(
            _any_span(use.at, counted.zone), coupon=use.coupon, shopper=use.shopper_id, uses__gte=use.shopper_uses
        )
        rows.update(uses=F("uses") - use.shopper_uses)
        for key in [key for key in counted.shoppers if key[:2] == (use.coupon.pk, use.shopper_id)]:
            del counted.shoppers[key]
    if use.campaign is not None and use.amount:
        CampaignCounter.objects.filter(campaign=use.campaign).update(spent=_money(F("spent") - use.amount))
        counted.campaigns[use.campaign.pk].spent -= use.amount
    if use.sale_event is not None:
        _give_back_to_event(counted.events[use.sale_event], use)


def _take_of_coupon(use: Use) -> None:
    row = CouponCounter.objects.filter(coupon=use.coupon)
    changes: dict[str, Any] = {"uses": F("uses") + use.stock, "spent": _money(F("spent") + use.amount)}
    within_limit = within_budget = row
    if use.stock:
        changes["ceiling"] = use.coupon.total_limit
        if use.coupon.total_limit is not None:
            within_limit = row.filter(uses__lte=use.coupon.total_limit - use.stock)
    if use.amount:
        changes["spent_ceiling"] = use.coupon.budget
        if use.coupon.budget is not None:
            within_budget = row.filter(spent__lte=use.coupon.budget - use.amount)
    if not (within_limit & within_budget).update(**changes):
        raise LimitReached(use.coupon, "budget" if within_limit.exists() else "total_limit")


def _take_of_shopper(counted: Counted, use: Use) -> None:
    for span, row in _shopper_rows(counted, use.coupon, use.shopper_id, use.at).items():
        limit = getattr(use.coupon, SHOPPER_LIMITS[span])
        free = ShopperCounter.objects.filter(pk=row.pk)
        if limit is not None:
            free = free.filter(uses__lte=limit - use.shopper_uses)
        if not free.update(uses=F("uses") + use.shopper_uses, ceiling=limit):
            facts = {"limit": limit}
            if span != Span.EVER:
                facts["again_at"] = next_start(Period(span), use.at, counted.zone)
            raise LimitReached(use.coupon, SHOPPER_LIMITS[span], facts)
        row.uses += use.shopper_uses


def _take_of_campaign(use: Use) -> None:
    assert use.campaign is not None
    row = CampaignCounter.objects.filter(campaign=use.campaign)
    if use.campaign.budget is not None:
        row = row.filter(spent__lte=use.campaign.budget - use.amount)
    if not row.update(spent=_money(F("spent") + use.amount), spent_ceiling=use.campaign.budget):
        raise LimitReached(use.coupon, "campaign_budget")


def _take_of_event(paced: PacedEvent, use: Use) -> None:
    """Of the hour that holds the use, and of what had come of the budget until then."""
    place = paced.find_hour(use.at)
    if place is None:
        raise LimitReached(use.coupon, "sale_event_budget")
    hour, left = paced.hours[place], paced.left(use.at)
    of_event, of_hour = SaleEventCounter.objects.filter(pk=paced.counter.pk), SaleEventHour.objects.filter(pk=hour.pk)
    if left is None:
        ceiling = hour_ceiling = None
    else:
        # What is held is what is left; the conditions stand behind that as they do behind every limit.
        ceiling, hour_ceiling = paced.counter.spent + left, hour.spent + left
        of_event = of_event.filter(spent__lte=ceiling - use.amount)
        of_hour = of_hour.filter(spent__lte=hour_ceiling - use.amount)
    more = {"spent": _money(F("spent") + use.amount)}
    if not of_event.update(**more, spent_ceiling=ceiling) or not of_hour.update(
        **more, spent_ceiling=hour_ceiling, uses=F("uses") + use.shopper_uses
    ):
        more_at = paced.more_at(use.at)
        if more_at is None:
            raise LimitReached(use.coupon, "sale_event_budget")
        raise LimitReached(use.coupon, "sale_event_hour", {"again_at": more_at})
    _note_in_hour(paced, use, 1)


def _give_back_to_event(paced: PacedEvent, use: Use) -> None:
    SaleEventCounter.objects.filter(pk=paced.counter.pk).update(spent=_money(F("spent") - use.amount))
    if (place := paced.find_hour(use.at)) is not None:
        of_hour = SaleEventHour.objects.filter(pk=paced.hours[place].pk)
        of_hour.update(spent=_money(F("spent") - use.amount), uses=F("uses") - use.shopper_uses)
    _note_in_hour(paced, use, -1)


def _note_in_hour(paced: PacedEvent, use: Use, sign: int) -> None:
    """Keep up what was read or is held."""
    paced.counter.spent += sign * use.amount
    if (place := paced.find_hour(use.at)) is not None:
        paced.hours[place].spent += sign * use.amount
        paced.hours[place].uses += sign * use.shopper_uses


def note_refused(*, sale_event: int, at: datetime, times: int) -> None:
    """Count coupons that were refused for an hour's money, in the hour of a moment. Nothing need be held."""
    latest = SaleEventHour.objects.filter(sale_event=sale_event, starts_at__lte=at).order_by("-starts_at")
    SaleEventHour.objects.filter(pk__in=latest.values("pk")[:1]).update(refused=F("refused") + times)


def _money(amount: CombinedExpression) -> Round:
    """An amount that the database reckons. SQLite does it in binary, which would leave crumbs in the last digits."""
    return Round(amount, precision=_DECIMALS)


# Rows that are there, and rows to be made


def _locked(model: type[models.Model], column: str, keys: Collection[int]) -> list[Any]:
    if not keys:
        return []
    rows = model._default_manager.filter(**{f"{column}__in": keys}).order_by(column)
    return list(rows.select_for_update(no_key=True))


def _make_missing(model: type[models.Model], column: str, keys: Collection[int], count: Any) -> None:
    """Make the rows that are missing, in the order of their keys. What somebody else makes meanwhile is waited for."""
    if not keys:
        return
    known = set(model._default_manager.filter(**{f"{column}__in": keys}).values_list(column, flat=True))
    missing = sorted(set(keys) - known)
    if missing:
        counts = count(missing)
        rows = [model(**{column: key, **counts[key]}) for key in missing]
        model._default_manager.bulk_create(rows, ignore_conflicts=True)


def _shopper_rows(counted: Counted, coupon: Coupon, shopper_id: int, at: datetime) -> dict[Span, ShopperCounter]:
    """The shopper's counters of the periods that hold ``at``: those that limits ask for, and others that are there."""
    key = _shopper_key(counted, coupon, shopper_id, at)
    if key not in counted.shoppers:
        there = ShopperCounter.objects.filter(_any_span(at, counted.zone), coupon=coupon, shopper=shopper_id)
        rows = {Span(row.period): row for row in there}
        for span, limit in SHOPPER_LIMITS.items():
            if span not in rows and getattr(coupon, limit) is not None:
                rows[span] = ShopperCounter(
                    coupon=coupon,
                    shopper_id=shopper_id,
                    period=span,
                    starts_on=_starts_on(span, at, counted.zone),
                    uses=_count_shopper(coupon, shopper_id, span, at, counted.zone),
                )
                if counted.held:
                    rows[span].save(force_insert=True)
        counted.shoppers[key] = rows
    return counted.shoppers[key]


def _shopper_key(counted: Counted, coupon: Coupon, shopper_id: int, at: datetime) -> tuple[int, int, date]:
    return coupon.pk, shopper_id, first_day(Period.DAY, at, counted.zone)


def _starts_on(span: str, at: datetime, zone: ZoneInfo) -> date:
    return date.min if span == Span.EVER else first_day(Period(span), at, zone)


def _any_span(at: datetime, zone: ZoneInfo) -> Q:
    match = Q()
    for span in SHOPPER_LIMITS:
        match |= Q(period=span, starts_on=_starts_on(span, at, zone))
    return match


# Counting


def _recorded() -> QuerySet[Redemption]:
    """Uses that did not pass through a basket here: history, and what was redeemed directly."""
    return Redemption.objects.filter(reservation_coupon__isnull=True)


def _count_coupons(coupons: Collection[int]) -> Mapping[int, dict[str, Any]]:
    """Uses and money of each coupon as they stand in redemptions, baskets and groups."""
    counts: dict[int, dict[str, Any]] = defaultdict(lambda: {"uses": 0, "spent": NOTHING})
    _add(counts, _recorded().filter(coupon__in=coupons), "coupon", Count("pk"), Sum("discount_amount"))
    held = ReservationCoupon.objects.filter(coupon__in=coupons)
    _add(counts, held, "coupon", Sum("held_uses"), Sum("held_amount"))
    kept = GroupBuyMember.objects.filter(group__coupon__in=coupons)
    _add(counts, kept, "group__coupon", Sum("held_uses"), Value(NOTHING))
    return counts


def _count_campaigns(campaigns: Collection[int]) -> Mapping[int, dict[str, Any]]:
    counts: dict[int, dict[str, Any]] = defaultdict(lambda: {"spent": NOTHING})
    _add(counts, _recorded().filter(campaign__in=campaigns), "campaign", None, Sum("discount_amount"))
    _add(counts, ReservationCoupon.objects.filter(campaign__in=campaigns), "campaign", None, Sum("held_amount"))
    return counts


def _count_hours(paced: PacedEvent) -> list[dict[str, Any]]:
    """Uses and money of each hour of an event."""
    counts: list[dict[str, Any]] = [{"spent": NOTHING, "uses": 0} for _hour in paced.hours]
    held = ReservationCoupon.objects.filter(sale_event=paced.event)
    recorded = _recorded().filter(campaign__sale_event=paced.event, redeemed_at__gte=paced.event.starts_at)
    for moment, uses, amount in chain(
        held.values_list("counted_at", "held_uses", "held_amount").iterator(),
        recorded.values_list("redeemed_at", Value(1), "discount_amount").iterator(),
    ):
        if (place := paced.find_hour(moment)) is not None:
            counts[place]["uses"] += uses
            counts[place]["spent"] += amount or NOTHING
    return counts


def _add(counts: dict[int, dict[str, Any]], rows: QuerySet, by: str, uses: Any, spent: Any) -> None:
    sums = {"counted_spent": spent} | ({"counted_uses": uses} if uses is not None else {})
    for row in rows.order_by().values(by).annotate(**sums):
        count = counts[row[by]]
        count["spent"] += round(row["counted_spent"] or NOTHING, _DECIMALS)
        if uses is not None:
            count["uses"] += row["counted_uses"] or 0


def _count_shopper(coupon: Coupon, shopper_id: int, span: Span, at: datetime, zone: ZoneInfo) -> int:
    recorded = _recorded().filter(coupon=coupon, shopper=shopper_id)
    held = ReservationCoupon.objects.filter(coupon=coupon, reservation__shopper=shopper_id)
    if span != Span.EVER:
        begin, end = _bounds(span, _starts_on(span, at, zone), zone)
        recorded = recorded.filter(redeemed_at__gte=begin, redeemed_at__lt=end)
        held = held.filter(counted_at__gte=begin, counted_at__lt=end)
    uses: int = held.aggregate(uses=Coalesce(Sum("held_uses"), 0))["uses"]
    return recorded.count() + uses


def _bounds(span: Span, starts_on: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    begin = datetime.combine(starts_on, time.min, tzinfo=zone)
    return begin, next_start(Period(span), begin, zone)


# Checking


@dataclass(frozen=True)
class Difference:
    """A counter that is not what its rows come to. ``what`` names it; ``counter`` and ``rows`` are the two figures."""

    what: str
    counter: int | Decimal
    rows: int | Decimal


def recount(*, coupons: Collection[int], campaigns: Collection[int], mend: bool = True) -> list[Difference]:
    """Compare the counters of coupons and campaigns, by primary key, with what their rows come to; and those of the
    sale events that the campaigns belong to.

    Counters that are missing are made. With ``mend`` those that differ are set right, all in one transaction, in which
    nobody else uses these coupons.
    """
    wrong: list[_Wrong] = []
    with transaction.atomic():
        counted = lock_counters(coupons=coupons, campaigns=campaigns)
        counts = _count_coupons(coupons)
        names = dict(Coupon.objects.filter(pk__in=coupons).values_list("pk", "coupon_id"))
        for key, counter in counted.coupons.items():
            wrong += _find_wrong(f"coupon {names[key]}", counter, counts[key])
        for row in ShopperCounter.objects.filter(coupon__in=coupons).select_related("coupon", "shopper").order_by("pk"):
            at = datetime.combine(row.starts_on, time.min, tzinfo=counted.zone)
            uses = _count_shopper(row.coupon, row.shopper_id, Span(row.period), at, counted.zone)
            since = "" if row.period == Span.EVER else f", {row.period} of {row.starts_on}"
            what = f"coupon {row.coupon.coupon_id}, shopper {row.shopper.shopper_id}{since}"
            wrong += _find_wrong(what, row, {"uses": uses})
        spent = _count_campaigns(campaigns)
        ids = dict(Campaign.objects.filter(pk__in=campaigns).values_list("pk", "campaign_id"))
        for key, of_campaign in counted.campaigns.items():
            wrong += _find_wrong(f"campaign {ids[key]}", of_campaign, spent[key])
        of_campaigns = Campaign.objects.filter(pk__in=campaigns, sale_event__isnull=False)
        lock_events(counted, events=set(of_campaigns.values_list("sale_event", flat=True)))
        for paced in counted.events.values():
            hours = _count_hours(paced)
            total = {"spent": sum((hour["spent"] for hour in hours), NOTHING)}
            wrong += _find_wrong(f"sale event {paced.event}", paced.counter, total)
            for hour, counts_of_hour in zip(paced.hours, hours, strict=True):
                wrong += _find_wrong(f"sale event {paced.event}, hour of {hour.starts_at}", hour, counts_of_hour)
        if mend:
            for each in wrong:
                each.mend()
    return [each.difference for each in wrong]


@dataclass(frozen=True, slots=True)
class _Wrong:
    row: models.Model
    column: str
    difference: Difference

    def mend(self) -> None:
        # History may bring more than a limit allows: only the next use is held to it again.
        ceiling = {"uses": "ceiling", "spent": "spent_ceiling"}[self.column]
        changes: dict[str, Any] = {self.column: self.difference.rows}
        if hasattr(self.row, ceiling):
            changes[ceiling] = None
        type(self.row)._default_manager.filter(pk=self.row.pk).update(**changes)


def _find_wrong(what: str, row: models.Model, counts: Mapping[str, Any]) -> list[_Wrong]:
    return [
        _Wrong(row, column, Difference(f"{what}: {column}", getattr(row, column), right))
        for column, right in counts.items()
        if getattr(row, column) != right
    ]


def recount_many(*, coupons: Collection[int], campaigns: Collection[int], mend: bool = True) -> list[Difference]:
    """As :func:`recount`, some at a time: a list of parameters is not without end."""
    differences: list[Difference] = []
    for keys in _in_parts(coupons):
        differences += recount(coupons=keys, campaigns=(), mend=mend)
    for keys in _in_parts(campaigns):
        differences += recount(coupons=(), campaigns=keys, mend=mend)
    return differences


def _in_parts(keys: Collection[int]) -> Iterator[list[int]]:
    in_order = sorted(keys)
    for start in range(0, len(in_order), RECOUNTED_AT_ONCE):
        yield in_order[start : start + RECOUNTED_AT_ONCE]


def recount_all(*, mend: bool) -> list[Difference]:
    """Compare every counter. Nobody waits longer than for some of them."""
    return recount_many(
        coupons=list(CouponCounter.objects.values_list("coupon_id", flat=True)),
        campaigns=list(CampaignCounter.objects.values_list("campaign_id", flat=True)),
        mend=mend,
    )
