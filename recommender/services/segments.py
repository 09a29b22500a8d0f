"""Who belongs to a segment, looked up by the database in one query.

Whatever is asked of orders, lines or redemptions is one pass over the rows of its days, found by the index on their
time and added up by shopper; without days it is one pass over the whole table. Conditions meet as sets of shoppers, so
the work grows with the rows and never with shoppers × rows. Of some shoppers alone only their rows are read.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Exists, Max, Model, OuterRef, Q, QuerySet, Sum, TextField
from django.db.models.aggregates import Aggregate
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from recommender.models import CATEGORY_SEPARATOR, Category, Order, OrderLine, Redemption, Segment, Shopper
from recommender.models.segments import VALUE_SEPARATOR, SegmentCondition
from recommender.models.shoppers import ShopperQuerySet

Kind, Comparison = SegmentCondition.Kind, SegmentCondition.Comparison


@dataclass(frozen=True)
class SegmentPreview:
    """What a segment comes to.

    Attributes:
        addressable: how many of its shoppers may be offered something.
        opted_out: how many belong to it and opted out.
        sample: some of the addressable ones, each with its ``order_count`` and ``last_order``.
        counted_from: days are counted back from this moment.
    """

    addressable: int
    opted_out: int
    sample: list[Shopper]
    counted_from: datetime


def find_shoppers(*, segment: Segment, at: datetime, among: Collection[int] | None = None) -> ShopperQuerySet:
    """Everyone who belongs to a segment at a moment, opted out or not. A segment without conditions holds nobody.

    Args:
        among: the primary keys of the only shoppers to ask about; then their rows alone are read.
    """
    conditions = list(segment.conditions.order_by("pk"))
    return _match(conditions, segment.match, find_reference(at=at), at, among=among)


def find_audience(*, included: Sequence[Segment], excluded: Sequence[Segment], at: datetime) -> ShopperQuerySet:
    """Who may be offered something and belongs to any of the included segments and to none of the excluded ones.

    Without included segments it is everyone who is not in an excluded one.
    """
    shoppers = Shopper.objects.addressable()
    if included:
        shoppers = shoppers.filter(_any_of([find_shoppers(segment=segment, at=at) for segment in included]))
    for segment in excluded:
        shoppers = shoppers.filter(_not_among(find_shoppers(segment=segment, at=at)))
    return shoppers


def preview_segment(
    *, conditions: Sequence[SegmentCondition], match: str, at: datetime, sample: int = 10
) -> SegmentPreview:
    """Count who meets conditions, which need not be saved, and name some of them, the same ones each time."""
    reference = find_reference(at=at)
    shoppers = _match(conditions, match, reference, at)
    counts = shoppers.aggregate(
        addressable=Count("pk", filter=Q(opted_out=False)), opted_out=Count("pk", filter=Q(opted_out=True))
    )
    # The sample is looked up on its own: with its orders joined, those of everybody would be added up.
    keys = list(shoppers.addressable().order_by("pk").values_list("pk", flat=True)[:sample])
    known = Q(orders__ordered_at__lt=at)
    with_orders = Shopper.objects.filter(pk__in=keys).annotate(
        order_count=Count("orders", filter=known), last_order=Max("orders__ordered_at", filter=known)
    )
    return SegmentPreview(sample=list(with_orders.order_by("pk")), counted_from=reference, **counts)


def find_reference(*, at: datetime) -> datetime:
    """The moment from which days are counted back: the latest order known before ``at``, or ``at`` without one.

    Orders come in some time after they were paid for: counted from now, the latest days would look like a pause.
    """
    return Order.objects.filter(ordered_at__lt=at).aggregate(latest=Max("ordered_at"))["latest"] or at


def match_conditions(*, conditions: Sequence[SegmentCondition], match: str, at: datetime) -> ShopperQuerySet:
    """Everyone for whom all, or any, of some conditions hold, by what happened before ``at``."""
    return _match(conditions, match, find_reference(at=at), at)


def _match(
    conditions: Sequence[SegmentCondition],
    match: str,
    reference: datetime,
    at: datetime,
    *,
    among: Collection[int] | None = None,
) -> ShopperQuerySet:
    if not conditions:
        return Shopper.objects.none()
    asked = _asked(among)
    held = [_condition(condition, reference, at, among) for condition in conditions]
    if match == Segment.Match.ALL:
        return asked.filter(*held)
    return asked.filter(_any_of([asked.filter(each) for each in held]))


def _asked(among: Collection[int] | None) -> ShopperQuerySet:
    return Shopper.objects.all() if among is None else Shopper.objects.filter(pk__in=among)


def _any_of(sets: Sequence[ShopperQuerySet]) -> Q:
    # A union, because PostgreSQL looks up an OR of subqueries row by row once they outgrow its memory.
    first, *others = (shoppers.order_by().values("pk") for shoppers in sets)
    return Q(pk__in=first.union(*others) if others else first)


def _not_among(shoppers: ShopperQuerySet) -> Q:
    # Not NOT IN, which PostgreSQL cannot turn into a join.
    return Q(~Exists(shoppers.filter(pk=OuterRef("pk"))))


def _condition(condition: SegmentCondition, reference: datetime, at: datetime, among: Collection[int] | None) -> Q:
    since = reference - timedelta(days=condition.days) if condition.days else None
    if condition.kind == Kind.ATTRIBUTE:
        return _by_attribute(condition, among)
    if since is not None and condition.kind in SegmentCondition.AGES:
        return _by_age(condition, since, at)
    return _by_sum(condition, since, at, among)


def _by_attribute(condition: SegmentCondition, among: Collection[int] | None) -> Q:
    told = Cast(KeyTextTransform(condition.attribute, "attributes"), TextField())
    values = [value.strip() for value in condition.value.split(VALUE_SEPARATOR)]
    matching = _asked(among).alias(told=told).filter(told__in=values)
    return Q(pk__in=matching.values("pk")) if condition.comparison == Comparison.IS else _not_among(matching)


def _by_age(condition: SegmentCondition, since: datetime, at: datetime) -> Q:
    """A shopper who never ordered has neither a first nor a last order, and one who never joined no age."""
    recent = condition.comparison == Comparison.AT_MOST
    if condition.kind == Kind.JOINED:
        return Q(joined_at__gte=since, joined_at__lt=at) if recent else Q(joined_at__lte=since)
    of_shopper = Order.objects.filter(shopper=OuterRef("pk"))
    if condition.kind == Kind.LAST_ORDER:
        if recent:
            return Q(Exists(of_shopper.filter(ordered_at__gte=since, ordered_at__lt=at)))
        later = of_shopper.filter(ordered_at__gt=since, ordered_at__lt=at)
        return Q(Exists(of_shopper.filter(ordered_at__lte=since)), ~Exists(later))
    if recent:
        within = of_shopper.filter(ordered_at__gte=since, ordered_at__lt=at)
        return Q(Exists(within), ~Exists(of_shopper.filter(ordered_at__lt=since)))
    return Q(Exists(of_shopper.filter(ordered_at__lte=since)))


def _by_sum(condition: SegmentCondition, since: datetime | None, at: datetime, among: Collection[int] | None) -> Q:
    rows, shopper, moment, total = _what_is_summed(condition)
    if among is not None:
        # Named to the rows themselves: a database would add up everybody's before it looks whose they are.
        rows = rows.filter(**{f"{shopper}__in": among})
    window = {f"{moment}__lt": at} | ({f"{moment}__gte": since} if since else {})
    sums = rows.filter(**window).order_by().values(shopper).annotate(total=total)
    amount = condition.amount or Decimal(0)
    if condition.comparison == Comparison.AT_LEAST:
        # Nothing at all is at least 0 too, but adds up to no row.
        return Q() if amount <= 0 else Q(pk__in=sums.filter(total__gte=amount).values(shopper))
    return _not_among(_asked(among).filter(pk__in=sums.filter(total__gt=amount).values(shopper)))


def _what_is_summed(condition: SegmentCondition) -> tuple[QuerySet[Model], str, str, Aggregate]:
    """Rows, the names of their shopper and their time, and what is added up."""
    if condition.kind == Kind.ORDERS:
        return Order.objects.all(), "shopper", "ordered_at", Count("pk")
    if condition.kind == Kind.REDEMPTIONS:
        return Redemption.objects.all(), "shopper", "redeemed_at", Count("pk")
    lines = OrderLine.objects.all()
    if condition.kind == Kind.SPEND:
        return lines, "order__shopper", "order__ordered_at", Sum("amount")
    lines = lines.filter(product__category__in=_categories_within(condition.category))
    return lines, "order__shopper", "order__ordered_at", Count("order", distinct=True)


def _categories_within(category: Category | None) -> Iterable[Category]:
    if category is None:
        return Category.objects.none()
    return Category.objects.filter(Q(pk=category.pk) | Q(path__startswith=category.path + CATEGORY_SEPARATOR))
