"""``manage.py prepare_example_shop``: what examples/shop needs to be a shop of this installation."""

import json
import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from recommender.models import Coupon, Product, Publication, Redemption, Scope, Shop, TokenSigner
from recommender.services.access import create_api_key
from recommender.services.serving import offers_of
from recommender.services.shopper_tokens import create_signer

NAME = "example shop"
FILE = "example-shop.json"
SHOPPERS, COUPONS, PRODUCTS_OF_EACH = 100, 3, 2
PERCENT = Decimal(10)
PRICE = Decimal("4.99")  # of what the shop's export gives no price


class Command(BaseCommand):
    help = (
        f"Write {FILE} into the data folder: a key, a secret to sign shoppers' tokens, a shopper with coupons that "
        "they did not use yet, and products that these are for. Of these coupons those that say nothing of what they "
        f"take off, as in the sample, become {PERCENT} percent off, once for each shopper, by a code. Run again, it "
        "changes nothing. The last line that it prints is the file's path."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(settings.DATA_DIR) / FILE
        if path.exists():
            self.stdout.write(f"It is there already:\n{path}")
            return
        shopper_id, coupons = _find_shopper()
        for coupon in coupons:
            if not coupon.discount_type:
                _say_what_it_takes_off(coupon)
                self.stdout.write(f"Coupon {coupon.coupon_id}: {PERCENT} percent off, by the code {coupon.code}.")
        shop = Shop.current()
        products = _products_for(coupons)
        described = {
            "name": shop.name,
            "currency": shop.currency,
            "shopper_id": shopper_id,
            "api_key": create_api_key(name=NAME, scopes=[Scope.CHECKOUT])[1],
            "token_secret": create_signer(name=NAME, kind=TokenSigner.Kind.SECRET)[1],
            "products": [
                {
                    "product_id": product.product_id,
                    "name": _name(product, products),
                    "price": str(product.price or PRICE),
                }
                for product in products
            ],
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(described, file, indent=2)
        self.stdout.write(f"Shopper {shopper_id} shops there:\n{path}")


def _find_shopper() -> tuple[str, list[Coupon]]:
    """Of those who likeliest use a coupon that is on show the first who did not use all of theirs, and the coupons that
    they are offered first and never used: once for each shopper, others would be used up."""
    for publication in Publication.objects.live():
        best = publication.run.recommendations.offered().filter(rank=1).select_related("shopper").order_by("-score")
        for recommendation in best[:SHOPPERS]:
            shopper_id = recommendation.shopper.shopper_id
            offered = [each.coupon_id for each in offers_of(shopper_id=shopper_id, at=timezone.now()).coupons]
            used = Redemption.objects.filter(shopper=recommendation.shopper_id)
            unused = Coupon.objects.exclude(pk__in=used.values("coupon")).in_bulk(offered, field_name="coupon_id")
            if coupons := [unused[each] for each in offered if each in unused]:
                return shopper_id, coupons[:COUPONS]
    raise CommandError("No shopper is offered a coupon now: publish a run first (make demo).")


def _say_what_it_takes_off(coupon: Coupon) -> None:
    coupon.discount_type, coupon.discount_value = Coupon.DiscountType.PERCENT, PERCENT
    coupon.per_shopper_limit = 1
    coupon.code = coupon.code or f"SHOP-{coupon.pk}"
    coupon.save(update_fields=["discount_type", "discount_value", "per_shopper_limit", "code"])


def _name(product: Product, products: Iterable[Product]) -> str:
    """Of several that are called the same, as in the sample, it tells which is which."""
    is_told_by_it = product.name and sum(each.name == product.name for each in products) == 1
    return product.name if is_told_by_it else f"{product.name} {product.product_id}".strip()


def _products_for(coupons: Iterable[Coupon]) -> list[Product]:
    found: dict[int, Product] = {}
    for coupon in coupons:
        aimed_at = Product.objects.on_sale().filter(targeted_by__coupon=coupon)
        those = aimed_at if aimed_at.exists() else Product.objects.on_sale()
        found |= {product.pk: product for product in those.order_by("product_id")[:PRODUCTS_OF_EACH]}
    return list(found.values())
