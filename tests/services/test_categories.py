"""The category of a coupon: the deepest that holds more than half of what it is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.models import CATEGORY_SEPARATOR, Category, Coupon, CouponTarget, Product
from recommender.services.categories import _find_deepest, find_categories


def add_coupon(coupon_id: str, *paths: str, brand: str = "", categories: tuple[str, ...] = ()) -> None:
    """A coupon for products of these categories ('': of none), for all of a brand, and for whole categories."""
    coupon = Coupon.objects.create(coupon_id=coupon_id)
    for path in paths:
        CouponTarget.objects.create(coupon=coupon, product=add_product(path))
    for path in categories:
        CouponTarget.objects.create(coupon=coupon, category=Category.objects.get_or_create(path=path)[0])
    if brand:
        CouponTarget.objects.create(coupon=coupon, brand=brand)


def add_product(path: str, brand: str = "") -> Product:
    category = Category.objects.get_or_create(path=path)[0] if path else None
    return Product.objects.create(product_id=f"p{Product.objects.count()}", category=category, brand=brand)


@pytest.mark.django_db
def test_the_deepest_category_of_most_of_what_a_coupon_is_for(django_assert_num_queries: object) -> None:
    add_product("Grocery / Ice", brand="Acme")
    add_product("Grocery / Ice", brand="Acme")
    add_product("Toys", brand="Acme")
    add_coupon("all of one", "Grocery / Ice", "Grocery / Ice")
    add_coupon("brand", brand="Acme")
    add_coupon("brand and product", "Toys", brand="Acme")
    add_coupon("category", categories=("Grocery",))
    add_coupon("category and product", "Grocery / Ice", categories=("Grocery",))
    add_coupon("half", "Grocery / Ice", "Toys")
    add_coupon("most", "Grocery / Ice", "Grocery / Ice", "Toys")
    add_coupon("parent", "Grocery / Ice", "Grocery / Bread", "Toys")
    add_coupon("unknown brand", brand="Nobody")
    add_coupon("unsorted", "Grocery", "")
    add_coupon("whole shop")

    coupons = list(Coupon.objects.all())
    with django_assert_num_queries(3):  # type: ignore[operator]
        categories = find_categories(coupons=coupons)

    assert categories == {
        "all of one": "Grocery / Ice",
        "brand": "Grocery / Ice",
        "category": "Grocery",
        "category and product": "Grocery",
        "most": "Grocery / Ice",
        "parent": "Grocery",
    }


PATHS = st.lists(st.sampled_from("ABC"), max_size=3).map(CATEGORY_SEPARATOR.join)


@given(st.dictionaries(PATHS, st.integers(1, 5), min_size=1))
def test_more_than_half_are_within_it_and_of_no_category_below(counts: dict[str, int]) -> None:
    def share(path: str) -> float:
        inside = (path, path + CATEGORY_SEPARATOR)
        held = sum(n for each, n in counts.items() if each and (each == inside[0] or each.startswith(inside[1])))
        return held / sum(counts.values())

    found = _find_deepest(counts)

    below = [found + CATEGORY_SEPARATOR + level if found else level for level in "ABC"]
    assert not found or share(found) > 0.5
    assert all(share(path) <= 0.5 for path in below)
