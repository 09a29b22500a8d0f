"""What is for devices is offered to those alone who own one that it fits.

Lists are made by this rule, and whoever serves them asks again: a device may have been given up since, or what fits it
corrected.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from recommender.models import Device, DevicePart
from recommender.services.coupon_targets import Target, groups_of, products_of, read_targets


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
    targets = read_targets(coupons)
    fits: dict[int, set[int]] = defaultdict(set)
    for product, model in DevicePart.objects.filter(product__in=products_of(targets.values())).values_list(
        "product_id", "device_product_id"
    ):
        fits[product].add(model)
    of_groups = {group: _models_of_group(group) for group in groups_of(targets.values())}
    found: dict[int, set[int]] = {}
    for coupon, of_coupon in targets.items():
        models = [of_groups[target] if target.product is None else fits.get(target.product) for target in of_coupon]
        if None not in models and (together := {model for each in models for model in each or ()}):
            found[coupon] = together
    return found


def _models_of_group(group: Target) -> set[int] | None:
    """The models that the products of a group fit; None where any of these is for no device."""
    products = group.products()
    if products.filter(~Exists(DevicePart.objects.filter(product=OuterRef("pk")))).exists():
        return None
    return set(DevicePart.objects.filter(product__in=products).values_list("device_product_id", flat=True))
