"""The only writer of the counters of uses and of money: every use of a coupon passes here.

A transaction locks the counters of all its coupons and campaigns first, coupons before campaigns and each in the order
of their keys, so that no two transactions wait for each other. Whoever holds a coupon's counter holds everything that
counts for the coupon; still every use is taken by a conditional update, and constraints stand behind that.

A counter that is not there yet is made by counting, so that history which was loaded before counts as well.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, models, transaction
from django.db.models import Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from recommender.models import (
    Campaign,
    CampaignCounter,
    Coupon,
    CouponCounter,
    GroupBuyMember,
    Redemption,
    ReservationCoupon,
    Shop,
    ShopperCounter,
)
from recommender.rules.eligibility import Uses
from recommender.rules.periods import Period, first_day, next_start

Span = ShopperCounter.Period
NOTHING = Decimal(0)
ROWS_AT_ONCE = 500
#: Which column of a coupon limits a shopper's uses in which period.
SHOPPER_LIMITS = {
    Span.EVER: "per_shopper_limit",
    Span.DAY: "per_day_limit",
    Span.WEEK: "per_week_limit",
    Span.MONTH: "per_month_limit",
}


class LimitReached(Exception):
    """A conditional update changed nothing. ``limit`` names the column that holds what was reached.

    Attributes:
        coupon: whose limit it is, or whose use its campaign's budget does not pay.
    """

    def __init__(self, coupon: Coupon, limit: str) -> None:
        super().__init__(f"{coupon.coupon_id}: {limit}")
        self.coupon = coupon
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Use:
    """What a shopper's use of a coupon counts.

    Attributes:
        stock: what it takes of the total limit: 0 where a group keeps the use already.
        at: the moment in whose day, week and month it counts.
        shopper_uses: what it takes of the shopper's limits: 0 where only money is given back.
        amount: what it takes of the budgets.
    """

    coupon: Coupon
    shopper_id: int
    campaign: Campaign | None
    at: datetime
    stock: int = 1
    shopper_uses: int = 1
    amount: Decimal = NOTHING


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
    shoppers: dict[tuple[int, int, date], dict[Span, ShopperCounter]] = field(default_factory=dict)


def lock_counters(*, coupons: Collection[int], campaigns: Collection[int]) -> Counted:
    """Hold the counters of coupons and campaigns, by primary key, until the transaction ends."""
    _make_missing(CouponCounter, "coupon_id", coupons, _count_coupons)
    held = {row.coupon_id: row for row in _locked(CouponCounter, "coupon_id", coupons)}
    counted = Counted(zone=Shop.current().zone, held=True, coupons=held, campaigns={})
    lock_campaigns(counted, campaigns=campaigns)
    return counted


def lock_campaigns(counted: Counted, *, campaigns: Collection[int]) -> None:
    """Hold the counters of campaigns too, where it is the coupons' counters that tell which ones: once only."""
    _make_missing(CampaignCounter, "campaign_id", campaigns, _count_campaigns)
    counted.campaigns.update({row.campaign_id: row for row in _locked(CampaignCounter, "campaign_id", campaigns)})


def read_counters(*, coupons: Collection[int], campaigns: Collection[int]) -> Counted:
    """What counts at this moment. Nothing is held and nothing written."""
    of_coupons = {row.coupon_id: row for row in CouponCounter.objects.filter(coupon__in=coupons)}
    missing = set(coupons) - of_coupons.keys()
    counts = _count_coupons(missing) if missing else {}
    of_coupons |= {key: CouponCounter(coupon_id=key, **counts[key]) for key in missing}
    of_campaigns = {row.campaign_id: row for row in CampaignCounter.objects.filter(campaign__in=campaigns)}
    missing = set(campaigns) - of_campaigns.keys()
    counts = _count_campaigns(missing) if missing else {}
    of_campaigns |= {key: CampaignCounter(campaign_id=key, **counts[key]) for key in missing}
    return Counted(zone=Shop.current().zone, held=False, coupons=of_coupons, campaigns=of_campaigns)


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
    return Uses(
        total=counted.coupons[coupon.pk].uses,
        shopper=by_span[Span.EVER],
        day=by_span[Span.DAY],
        week=by_span[Span.WEEK],
        month=by_span[Span.MONTH],
    )


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


def give_back(counted: Counted, *, use: Use) -> None:
    """Count a use, of which the counters are held, no longer."""
    CouponCounter.objects.filter(coupon=use.coupon).update(uses=F("uses") - use.stock, spent=F("spent") - use.amount)
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
        CampaignCounter.objects.filter(campaign=use.campaign).update(spent=F("spent") - use.amount)
        counted.campaigns[use.campaign.pk].spent -= use.amount


def _take_of_coupon(use: Use) -> None:
    row = CouponCounter.objects.filter(coupon=use.coupon)
    changes: dict[str, Any] = {"uses": F("uses") + use.stock, "spent": F("spent") + use.amount}
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
            raise LimitReached(use.coupon, SHOPPER_LIMITS[span])
        row.uses += use.shopper_uses


def _take_of_campaign(use: Use) -> None:
    assert use.campaign is not None
    row = CampaignCounter.objects.filter(campaign=use.campaign)
    if use.campaign.budget is not None:
        row = row.filter(spent__lte=use.campaign.budget - use.amount)
    if not row.update(spent=F("spent") + use.amount, spent_ceiling=use.campaign.budget):
        raise LimitReached(use.coupon, "campaign_budget")


# Rows that are there, and rows to be made


def _locked(model: type[models.Model], column: str, keys: Collection[int]) -> list[Any]:
    if not keys:
        return []
    return list(model._default_manager.select_for_update(no_key=True).filter(**{f"{column}__in": keys}).order_by(column))


def _make_missing(model: type[models.Model], column: str, keys: Collection[int], count: Any) -> None:
    """Make the rows that are missing, in the order of their keys. What somebody else makes meanwhile is waited for."""
    known = set(model._default_manager.filter(**{f"{column}__in": keys}).values_list(column, flat=True))
    missing = sorted(set(keys) - known)
    if missing:
        counts = count(missing)
        rows = [model(**{column: key, **counts[key]}) for key in missing]
        model._default_manager.bulk_create(rows, ignore_conflicts=True)


def _shopper_rows(counted: Counted, coupon: Coupon, shopper_id: int, at: datetime) -> dict[Span, ShopperCounter]:
    """The shopper's counters of the periods that hold ``at``: those that limits ask for, and others that are there."""
    key = (coupon.pk, shopper_id, first_day(Period.DAY, at, counted.zone))
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


def _add(counts: dict[int, dict[str, Any]], rows: QuerySet, by: str, uses: Any, spent: Any) -> None:
    sums = {"counted_spent": spent} | ({"counted_uses": uses} if uses is not None else {})
    for row in rows.order_by().values(by).annotate(**sums):
        count = counts[row[by]]
        count["spent"] += row["counted_spent"] or NOTHING
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
    """Compare the counters of coupons and campaigns, by primary key, with what their rows come to.

    Counters that are missing are made. With ``mend`` those that differ are set right, all in one transaction, in which
    nobody else uses these coupons.
    """
    differences: list[Difference] = []
    with transaction.atomic():
        counted = lock_counters(coupons=coupons, campaigns=campaigns)
        counts = _count_coupons(coupons)
        names = dict(Coupon.objects.filter(pk__in=coupons).values_list("pk", "coupon_id"))
        for key, coupon_row in counted.coupons.items():
            _compare(differences, f"coupon {names[key]}", coupon_row, counts[key], ("uses", "spent"), mend)
        for row in ShopperCounter.objects.filter(coupon__in=coupons).select_related("coupon", "shopper").order_by("pk"):
            at = datetime.combine(row.starts_on, time.min, tzinfo=counted.zone)
            uses = _count_shopper(row.coupon, row.shopper_id, Span(row.period), at, counted.zone)
            what = f"coupon {row.coupon.coupon_id}, shopper {row.shopper.shopper_id}, {row.period} {row.starts_on}"
            _compare(differences, what, row, {"uses": uses}, ("uses",), mend)
        spent = _count_campaigns(campaigns)
        ids = dict(Campaign.objects.filter(pk__in=campaigns).values_list("pk", "campaign_id"))
        for key, campaign_row in counted.campaigns.items():
            _compare(differences, f"campaign {ids[key]}", campaign_row, spent[key], ("spent",), mend)
    return differences


def _compare(
    differences: list[Difference],
    what: str,
    row: models.Model,
    counts: Mapping[str, Any],
    columns: Iterable[str],
    mend: bool,
) -> None:
    wrong = {column: counts[column] for column in columns if getattr(row, column) != counts[column]}
    for column, right in wrong.items():
        differences.append(Difference(f"{what}: {column}", getattr(row, column), right))
    if wrong and mend:
        # What there is may be above a limit, when history brought it: the next use is held to the limit again.
        ceilings = {"uses": "ceiling", "spent": "spent_ceiling"}
        model = type(row)
        model._default_manager.filter(pk=row.pk).update(**wrong, **{ceilings[column]: None for column in wrong})


def recount_all(*, mend: bool) -> list[Difference]:
    """Compare every counter, some coupons at a time, so that nobody waits long."""
    differences: list[Difference] = []
    coupons = list(CouponCounter.objects.order_by("coupon").values_list("coupon", flat=True))
    for start in range(0, len(coupons), ROWS_AT_ONCE):
        differences += recount(coupons=coupons[start : start + ROWS_AT_ONCE], campaigns=(), mend=mend)
    campaigns = list(CampaignCounter.objects.order_by("campaign").values_list("campaign", flat=True))
    for start in range(0, len(campaigns), ROWS_AT_ONCE):
        differences += recount(coupons=(), campaigns=campaigns[start : start + ROWS_AT_ONCE], mend=mend)
    return differences
