"""Coupons that get in each other's way on a list: counted with a run's estimates, so that no page looks for them."""

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Case, Count, IntegerField, Max, Min, QuerySet, Sum, Value, When

from recommender.models import Coupon, CouponTarget, Recommendation, Run

Group = frozenset[int]


def count_clashes(*, run: Run, shopper_key: int | None = None) -> dict[str, int]:
    """How many lists hold several coupons of one group, by the field of the run that keeps the number.

    Only groups of which the run offers several coupons are looked for, and only their rows are read; of one shopper's
    list if that is asked.
    """
    lists = run.recommendations.offered()
    if shopper_key is not None:
        lists = lists.filter(shopper=shopper_key)
    offered = Coupon.objects.filter(run_coupons__run=run.pk, run_coupons__shopper_count__gt=0).order_by()
    return {
        "same_offer_lists": _count_lists(lists, _find_same_offers(offered)),
        "exclusive_lists": _count_lists(lists, _find_exclusive(offered.filter(stackable=False))),
    }


def _find_same_offers(offered: QuerySet[Coupon]) -> list[Group]:
    return _several(offered.exclude(offer_id="").values_list("offer_id", "pk"))


def _find_exclusive(coupons: QuerySet[Coupon]) -> list[Group]:
    """Coupons for exactly the same, the whole shop among it.

    A coupon may be for thousands of products: what each is for is read only where sums say that it may be the same.
    """
    sums = coupons.annotate(
        count=Count("targets"),
        products=Sum("targets__product"),
        first_product=Min("targets__product"),
        last_product=Max("targets__product"),
        categories=Sum("targets__category"),
        first_brand=Min("targets__brand"),
        last_brand=Max("targets__brand"),
    ).values_list("count", "products", "first_product", "last_product", "categories", "first_brand", "last_brand", "pk")
    alike = _several((tuple(summed), key) for *summed, key in sums)
    targets: dict[int, set[tuple[object, ...]]] = defaultdict(set)
    rows = CouponTarget.objects.filter(coupon__in=[key for group in alike for key in group])
    for key, product, category, brand in rows.values_list("coupon_id", "product_id", "category_id", "brand"):
        targets[key].add((product, category, brand))
    return _several((frozenset(targets[key]), key) for group in alike for key in group)


def _several(rows: Iterable[tuple[object, int]]) -> list[Group]:
    """The coupons that share what stands before their key, where several do."""
    groups: dict[object, set[int]] = defaultdict(set)
    for shared, key in rows:
        groups[shared].add(key)
    return [frozenset(keys) for keys in groups.values() if len(keys) > 1]


def _count_lists(lists: QuerySet[Recommendation], groups: list[Group]) -> int:
    if not groups:
        return 0
    number = Case(
        *(When(coupon__in=group, then=Value(number)) for number, group in enumerate(groups)),
        output_field=IntegerField(),
    )
    several = (
        lists.filter(coupon__in=[key for group in groups for key in group])
        .order_by()
        .annotate(group=number)
        .values("shopper", "group")
        .annotate(n=Count("pk"))
        .filter(n__gt=1)
    )
    return several.values("shopper").distinct().count()
