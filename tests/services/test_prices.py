"""The mean price of what a coupon is for."""

from decimal import Decimal
from typing import Any

import pytest

from recommender.models import Category, Coupon, CouponTarget, Product
from recommender.services.prices import mean_prices

pytestmark = pytest.mark.django_db


def add_product(name: str, price: str | None, **of: Any) -> Product:
    return Product.objects.create(product_id=name, price=price and Decimal(price), **of)


def add_coupon(name: str, *targets: dict[str, Any]) -> Coupon:
    coupon = Coupon.objects.create(coupon_id=name)
    for target in targets:
        CouponTarget.objects.create(coupon=coupon, **target)
    return coupon


@pytest.fixture
def coupons() -> dict[str, Coupon]:
    food = Category.objects.create(path="Food")
    ice = Category.objects.create(path="Food / Ice", parent=food)
    foodstuff = Category.objects.create(path="Foodstuff")
    tea = add_product("tea", "4", category=food)
    milk = add_product("milk", "1", brand="Alp")
    gift = add_product("gift", None, brand="Alp")
    add_product("cone", "3", category=ice, brand="Alp")
    add_product("cup", "6.5", category=ice)
    add_product("pan", "90", category=foodstuff)
    named = [
        add_coupon("named", {"product": tea}, {"product": milk}, {"product": gift}),
        add_coupon("category", {"category": food}),
        add_coupon("below", {"category": ice}),
        add_coupon("brand", {"brand": "Alp"}),
        add_coupon("both", {"category": ice}, {"product": milk}),
        add_coupon("unknown", {"product": gift}),
        add_coupon("nothing", {"brand": "Nobody"}),
        add_coupon("whole shop"),
    ]
    return {coupon.coupon_id: coupon for coupon in named}


def test_it_is_that_of_all_whose_price_is_known(coupons: dict[str, Coupon]) -> None:
    means = mean_prices(coupons=[coupon.pk for coupon in coupons.values()])

    assert {name: means[coupon.pk] for name, coupon in coupons.items() if coupon.pk in means} == {
        "named": Decimal("2.5"),
        "category": Decimal("4.5"),  # what is below belongs to it, and what only begins like it does not
        "below": Decimal("4.75"),
        "brand": Decimal(2),
        "both": Decimal("3.5"),
    }


def test_only_those_that_were_asked_for_are_told(coupons: dict[str, Coupon]) -> None:
    assert mean_prices(coupons=[coupons["named"].pk]) == {coupons["named"].pk: Decimal("2.5")}
    assert mean_prices(coupons=[]) == {}


def test_as_many_queries_answer_for_many_coupons(
    coupons: dict[str, Coupon], django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        category = Category.objects.create(path=f"Shelf {number}")
        add_product(f"product {number}", "5", category=category)
        add_coupon(f"coupon {number}", {"category": category}, {"brand": f"Brand {number}"})

    keys = list(Coupon.objects.values_list("pk", flat=True))
    with django_assert_max_num_queries(4):
        assert len(mean_prices(coupons=keys)) == 25
