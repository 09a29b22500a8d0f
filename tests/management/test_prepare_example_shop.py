"""What the example shop is given of an installation."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from recommender.models import ApiKey, Coupon, Product, Redemption, Scope, Shopper, TokenSigner
from recommender.services.access import find_api_key
from recommender.services.serving import offers_of
from tests.api.shop_rows import make_campaign, publish

pytestmark = pytest.mark.django_db


def test_a_shop_with_nothing_on_show(data_dir: Path) -> None:
    with pytest.raises(CommandError, match="publish a run first"):
        call_command("prepare_example_shop")
    assert not list(data_dir.iterdir())
    assert not ApiKey.objects.exists()


def test_coupons_that_say_nothing_say_something_and_others_stay(data_dir: Path) -> None:
    anna, ben = (Shopper.objects.create(shopper_id=name) for name in ("anna", "ben"))
    silent = Coupon.objects.create(coupon_id="silent", offer_id="a")
    telling = Coupon.objects.create(coupon_id="telling", offer_id="b", discount_type="amount", discount_value="3")
    tea = Product.objects.create(product_id="tea", price="2.5")
    Product.objects.create(product_id="milk", active=False)
    silent.targets.create(product=tea)
    publish(make_campaign("spring", silent, telling), (anna, silent, 0.2), (anna, telling, 0.1), (ben, telling, 0.9))
    publish(make_campaign("autumn", silent), (ben, silent, 0.1))
    call_command("prepare_example_shop")
    path = data_dir / "example-shop.json"
    assert path.stat().st_mode & 0o777 == 0o600
    known = json.loads(path.read_text())
    assert known["shopper_id"] == "ben"
    assert known["products"] == [{"product_id": "tea", "name": "tea", "price": "2.500"}]
    key = find_api_key(key=known["api_key"])
    assert key is not None
    assert key.scopes == [Scope.CHECKOUT]
    silent.refresh_from_db()
    assert (silent.discount_type, silent.discount_value, silent.per_shopper_limit) == ("percent", 10, 1)
    assert silent.code == f"SHOP-{silent.pk}"
    telling.refresh_from_db()
    assert (telling.discount_type, telling.discount_value, telling.code) == ("amount", 3, "")

    told = StringIO()
    call_command("prepare_example_shop", stdout=told)
    assert told.getvalue().splitlines()[-1] == str(path), "make shop reads it"
    assert json.loads(path.read_text()) == known
    assert ApiKey.objects.count() == TokenSigner.objects.count() == 1


def test_a_coupon_that_its_shopper_used_would_be_used_up_at_once(data_dir: Path) -> None:
    """As in the sample, whose best shoppers used coupons of the campaign that runs."""
    anna, ben = (Shopper.objects.create(shopper_id=name) for name in ("anna", "ben"))
    used, unused = (Coupon.objects.create(coupon_id=name, offer_id=name) for name in ("used", "unused"))
    for coupon in (used, unused):
        coupon.targets.create(product=Product.objects.create(product_id=f"for {coupon}"))
    publish(make_campaign("spring", used, unused), (anna, used, 0.9), (ben, used, 0.8), (ben, unused, 0.1))
    for shopper in (anna, ben):
        Redemption.objects.create(shopper=shopper, coupon=used, redeemed_at=timezone.now())
    call_command("prepare_example_shop")
    known = json.loads((data_dir / "example-shop.json").read_text())
    assert known["shopper_id"] == "ben"
    assert [product["product_id"] for product in known["products"]] == ["for unused"]
    assert dict(Coupon.objects.values_list("coupon_id", "discount_type")) == {"used": "", "unused": "percent"}
    assert [each.coupon_id for each in offers_of(shopper_id="ben", at=timezone.now()).coupons] == ["used", "unused"]


def test_products_that_are_called_the_same_are_told_apart(data_dir: Path) -> None:
    anna = Shopper.objects.create(shopper_id="anna")
    coupons = [Coupon.objects.create(coupon_id=each) for each in ("a", "b")]
    for number, (coupon, name) in enumerate([(coupons[0], "cheese"), (coupons[0], "milk"), (coupons[1], "milk")]):
        coupon.targets.create(product=Product.objects.create(product_id=f"p{number}", name=name))
    publish(make_campaign("spring", *coupons), *((anna, coupon, 0.5) for coupon in coupons))
    call_command("prepare_example_shop")
    known = json.loads((data_dir / "example-shop.json").read_text())
    assert [product["name"] for product in known["products"]] == ["cheese", "milk p1", "milk p2"]
