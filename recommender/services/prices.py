"""What things cost by the catalogue: the stand-in where the shop's past does not say what is bought with a coupon."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

from django.db.models import Count, QuerySet, Sum

from recommender.models import CATEGORY_SEPARATOR, CouponTarget, Product
from recommender.services.coupon_targets import Target, groups_of, read_targets

#: The prices of some products added up, and how many these are.
Total = tuple[Decimal, int]
NOTHING: Total = (Decimal(0), 0)


def mean_prices(*, coupons: Iterable[int]) -> dict[int, Decimal]:
    """By coupon, the mean price of what it is for: of the products that it names, and of all of the categories and
    brands that it names. One for the whole shop, or for nothing of which a price is known, has no entry.

    Args:
        coupons: primary keys. However many there are, four queries answer at most.
    """
    targets = read_targets(coupons)
    named = _total(CouponTarget.objects.filter(coupon__in=targets.keys(), product__isnull=False), "coupon", "product__")
    of_groups = _totals_of_groups(groups_of(targets.values()))
    means = {}
    for coupon, of_coupon in targets.items():
        total, count = _add([named.get(coupon, NOTHING), *(of_groups[each] for each in of_coupon if each.is_group)])
        if count:
            means[coupon] = total / count
    return means


def _totals_of_groups(groups: Collection[Target]) -> dict[Target, Total]:
    of_brands: dict[str, Total] = {}
    of_categories: dict[str, Total] = defaultdict(lambda: NOTHING)
    if brands := {group.brand for group in groups if group.path is None}:
        of_brands = _total(Product.objects.filter(brand__in=brands), "brand")
    if any(group.path is not None for group in groups):
        for path, total in _total(Product.objects.filter(category__isnull=False), "category__path").items():
            parts = path.split(CATEGORY_SEPARATOR)
            for above in (CATEGORY_SEPARATOR.join(parts[:depth]) for depth in range(1, len(parts) + 1)):
                of_categories[above] = _add([of_categories[above], total])
    return {
        group: of_brands.get(group.brand, NOTHING) if group.path is None else of_categories[group.path]
        for group in groups
    }


def _total(rows: QuerySet, by: str, of: str = "") -> dict[Any, Total]:
    """The prices that are known, added up by a column."""
    totals = rows.order_by().values(by).annotate(total=Sum(f"{of}price"), count=Count(f"{of}price"))
    return {row[by]: (row["total"] or Decimal(0), row["count"]) for row in totals}


def _add(totals: Collection[Total]) -> Total:
    return sum((total for total, _count in totals), Decimal(0)), sum(count for _total, count in totals)
