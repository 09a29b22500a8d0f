"""What is for devices is offered to those alone who own one that it fits.

Lists are made by this rule, and whoever serves them asks again: a device may have been given up since, or what fits it
corrected.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from recommender.models import CATEGORY_SEPARATOR, CouponTarget, Device, DevicePart, Product


class OfDevices:
    """Which of some coupons are for devices, and whether shoppers own one that they fit.

    Args:
        coupons: primary keys.
        shoppers: likewise.
    """

    def __init__(self, coupons: Iterable[int], shoppers: Iterable[int], at: datetime) -> None:
        #: By coupon that is for devices alone, the models that it fits.
        self._models = _find_models(set(coupons))
        self._owned: dict[int, set[int]] = defaultdict(set)
        if self._models:
            devices = Device.objects.filter(
                Q(retired_at__isnull=True) | Q(retired_at__gt=at), shopper__in=set(shoppers), acquired_at__lte=at
            )
            for shopper, model in devices.values_list("shopper_id", "product_id"):
                self._owned[shopper].add(model)

    def may_have(self, coupon: int, shopper: int | None) -> bool:
        """Whether a shopper may be offered a coupon; None stands for somebody whom the shop does not know."""
        models = self._models.get(coupon)
        return models is None or (shopper is not None and not models.isdisjoint(self._owned.get(shopper, ())))


def _find_models(coupons: set[int]) -> dict[int, set[int]]:
    """By coupon that is for nothing but parts of devices, the models that any of them fits."""
    targets: dict[int, list[tuple[int | None, str | None, str]]] = defaultdict(list)
    rows = CouponTarget.objects.filter(coupon__in=coupons)
    for coupon, product, path, brand in rows.values_list("coupon_id", "product_id", "category__path", "brand"):
        targets[coupon].append((product, path, brand))
    products = {product for of_coupon in targets.values() for product, _path, _brand in of_coupon if product}
    fits: dict[int, set[int]] = defaultdict(set)
    for product, model in DevicePart.objects.filter(product__in=products).values_list(
        "product_id", "device_product_id"
    ):
        fits[product].add(model)
    groups = {(path, brand) for of_coupon in targets.values() for product, path, brand in of_coupon if not product}
    of_groups = {group: _models_of_group(*group) for group in groups}
    found: dict[int, set[int]] = {}
    for coupon, of_coupon in targets.items():
        models = [fits.get(product) if product else of_groups[path, brand] for product, path, brand in of_coupon]
        if None not in models and (together := {model for each in models for model in each or ()}):
            found[coupon] = together
    return found


def _models_of_group(path: str | None, brand: str) -> set[int] | None:
    """The models that the products of a category or a brand fit; None where any of these is for no device."""
    products = _products_of_group(path, brand)
    if products.filter(~Exists(DevicePart.objects.filter(product=OuterRef("pk")))).exists():
        return None
    return set(DevicePart.objects.filter(product__in=products).values_list("device_product_id", flat=True))


def _products_of_group(path: str | None, brand: str) -> QuerySet[Product]:
    if path is None:
        return Product.objects.filter(brand=brand)
    below = Q(category__path__startswith=path + CATEGORY_SEPARATOR)
    return Product.objects.filter(Q(category__path=path) | below)
