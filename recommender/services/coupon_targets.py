"""What coupons are for: products by themselves, and whole groups of them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from recommender.models import CATEGORY_SEPARATOR, CouponTarget, Product


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that a coupon is for: a product, or all of a category (by its path) or of a brand."""

    product: int | None
    path: str | None
    brand: str

    @property
    def is_group(self) -> bool:
        return self.product is None

    def products(self) -> QuerySet[Product]:
        """Those of a group."""
        if self.path is None:
            return Product.objects.filter(brand=self.brand)
        below = Q(category__path__startswith=self.path + CATEGORY_SEPARATOR)
        return Product.objects.filter(Q(category__path=self.path) | below)


def read_targets(coupons: Iterable[int]) -> dict[int, list[Target]]:
    """By coupon, what it is for. One for the whole shop has no entry."""
    targets: dict[int, list[Target]] = defaultdict(list)
    rows = CouponTarget.objects.filter(coupon__in=set(coupons))
    for coupon, product, path, brand in rows.values_list("coupon_id", "product_id", "category__path", "brand"):
        targets[coupon].append(Target(product, path, brand))
    return targets


def groups_of(targets: Iterable[list[Target]]) -> set[Target]:
    return {target for of_coupon in targets for target in of_coupon if target.is_group}


def products_of(targets: Iterable[list[Target]]) -> set[int]:
    """The products that are named by themselves."""
    return {target.product for of_coupon in targets for target in of_coupon if target.product is not None}


def find_products(coupons: Iterable[int]) -> dict[int, frozenset[int]]:
    """By coupon, the primary keys of all products that it is for. One for the whole shop has no entry."""
    targets = read_targets(coupons)
    members = {group: set(group.products().values_list("pk", flat=True)) for group in groups_of(targets.values())}
    return {
        coupon: frozenset(products_of([of_coupon])).union(*(members[each] for each in of_coupon if each.is_group))
        for coupon, of_coupon in targets.items()
    }
