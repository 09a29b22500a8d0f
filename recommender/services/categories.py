"""The category of a coupon: that of the products it is for."""

from collections import Counter
from collections.abc import Mapping, Sequence

from django.db.models import Count, Value
from django.db.models.functions import Coalesce

from recommender.models import CATEGORY_SEPARATOR, Coupon, CouponTarget, Product


def find_categories(*, coupons: Sequence[Coupon]) -> dict[str, str]:
    """The path of the category of each coupon that has one, by the shop's identifier of the coupon.

    It is the deepest category that holds more than half of what the coupon is for: each product and each category that
    it names counts once, and so does each product of a brand that it names. A coupon for the whole shop has none, and
    neither has one for things of which no category holds more than half.
    """
    counts: dict[str, Counter[str]] = {}
    targets = CouponTarget.objects.filter(coupon__in=coupons).order_by()
    path = Coalesce("category__path", "product__category__path", Value(""))
    named = targets.filter(brand="").annotate(path=path).values_list("coupon__coupon_id", "path")
    for coupon_id, of_target, count in named.annotate(count=Count("pk")):
        counts.setdefault(coupon_id, Counter())[of_target] += count
    brands = list(targets.exclude(brand="").values_list("coupon__coupon_id", "brand"))
    of_brands = _count_products({brand for _coupon_id, brand in brands})
    for coupon_id, brand in brands:
        counts.setdefault(coupon_id, Counter()).update(of_brands.get(brand, {}))
    categories = {coupon_id: _find_deepest(of_coupon) for coupon_id, of_coupon in counts.items()}
    return {coupon_id: category for coupon_id, category in sorted(categories.items()) if category}


def _count_products(brands: set[str]) -> dict[str, Counter[str]]:
    """How many products of each brand are in each category; one without a category is in ''."""
    counts: dict[str, Counter[str]] = {}
    products = Product.objects.filter(brand__in=brands).annotate(path=Coalesce("category__path", Value("")))
    for brand, path, count in products.order_by().values_list("brand", "path").annotate(count=Count("pk")):
        counts.setdefault(brand, Counter())[path] += count
    return counts


def _find_deepest(counts: Mapping[str, int]) -> str:
    """The deepest category that holds more than half; '' if none does. Of two that do one lies within the other."""
    within: Counter[str] = Counter()
    for path, count in counts.items():
        levels = path.split(CATEGORY_SEPARATOR) if path else []
        for depth in range(1, len(levels) + 1):
            within[CATEGORY_SEPARATOR.join(levels[:depth])] += count
    most = [path for path, count in within.items() if 2 * count > sum(counts.values())]
    return max(most, key=lambda path: path.count(CATEGORY_SEPARATOR), default="")
