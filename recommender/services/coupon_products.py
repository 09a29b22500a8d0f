"""The products that coupons are for, whether they name them, a category or a brand."""

from collections import defaultdict
from collections.abc import Collection

from django.db.models import Q

from recommender.models import CATEGORY_SEPARATOR, CouponTarget, Product


def find_products(coupons: Collection[int]) -> dict[int, frozenset[int]]:
    """The primary keys of the products of each coupon that is for some things only; one for the whole shop is left
    out."""
    targets = CouponTarget.objects.filter(coupon__in=coupons)
    found: dict[int, set[int]] = defaultdict(set)
    groups: dict[tuple[str | None, str], list[int]] = defaultdict(list)
    for coupon, product, path, brand in targets.values_list("coupon_id", "product_id", "category__path", "brand"):
        if product is not None:
            found[coupon].add(product)
        else:
            groups[path, brand].append(coupon)
            found[coupon] |= set()
    for (of_path, of_brand), of_coupons in groups.items():
        below = Q(category__path=of_path) | Q(category__path__startswith=f"{of_path}{CATEGORY_SEPARATOR}")
        products = Product.objects.filter(Q(brand=of_brand) if of_path is None else below)
        keys = set(products.values_list("pk", flat=True))
        for coupon in of_coupons:
            found[coupon] |= keys
    return {coupon: frozenset(products) for coupon, products in found.items()}
