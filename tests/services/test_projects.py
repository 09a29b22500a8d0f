"""A finished project's things are not offered: neither as lists are made nor as they are served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as properties
from hypothesis import strategies as st

from recommender.models import (
    CATEGORY_SEPARATOR,
    Category,
    Coupon,
    CouponTarget,
    Order,
    OrderLine,
    Product,
    ProjectStage,
    Recommendation,
    Shopper,
)
from recommender.services.serving import offers_of
from tests.api.shop_rows import make_campaign, publish
from tests.services.offered import NOW, SHOPPERS, add_coupons, check_offers, draw_scores, is_for, is_within

pytestmark = pytest.mark.django_db

PATHS = ("Bath", "Bath / Tiles", "Food", "Empty")
BRANDS = ("", "Acme")
PROJECTS = ("bath", "floor")


@dataclass(frozen=True)
class Ware:
    path: str | None
    brand: str


@dataclass(frozen=True)
class Bought:
    """What a shopper bought of a product (by its place), so many days ago."""

    shopper: str
    ware: int
    ago: float
    quantity: int


@dataclass(frozen=True)
class Given:
    """A shop. ``stages`` are, by project and what it needs (a product by its place, or a category), the positions;
    ``coupons`` are for products, categories and brands, the whole shop where there is none; ``scores`` are of each
    shopper's coupons."""

    wares: Sequence[Ware]
    stages: Mapping[tuple[str, int | str], int]
    coupons: Sequence[frozenset[int | str]]
    bought: Sequence[Bought]
    scores: np.ndarray

    def places(self, ware: int) -> dict[str, int]:
        """By project, the position of the stage that needs a product."""
        found: dict[str, int] = {}
        for (project, needs), position in self.stages.items():
            path = self.wares[ware].path
            if needs == ware or (isinstance(needs, str) and path is not None and is_within(path, needs)):
                found[project] = max(position, found.get(project, 0))
        return found

    def has_finished(self, shopper: str, project: str) -> bool:
        """Whether nothing of the first stage was bought since the last was."""
        positions = [position for (of, _needs), position in self.stages.items() if of == project]
        first, last = (
            [
                each.ago
                for each in self.bought
                if each.shopper == shopper and each.quantity and self.places(each.ware).get(project) == end
            ]
            for end in (min(positions), max(positions))
        )
        return bool(last) and not (first and min(first) < min(last))

    def may_have(self, shopper: str, coupon: int) -> bool:
        """The rule, spelled out."""
        wares = [place for place, ware in enumerate(self.wares) if is_for(self.coupons[coupon], place, ware)]
        return not wares or any(
            not (places := self.places(ware)) or not all(self.has_finished(shopper, project) for project in places)
            for ware in wares
        )


@st.composite
def shops(draw: st.DrawFn) -> Given:
    ware = st.builds(Ware, path=st.sampled_from([None, *PATHS[:3]]), brand=st.sampled_from(BRANDS))
    wares = draw(st.lists(ware, min_size=2, max_size=6))
    place = st.integers(0, len(wares) - 1)
    needs = st.tuples(st.sampled_from(PROJECTS), st.one_of(place, st.sampled_from(PATHS[:2])))
    stages = draw(st.dictionaries(needs, st.integers(1, 3), max_size=6))
    target = st.one_of(place, st.sampled_from([*PATHS, "Acme"]))
    coupons = draw(st.lists(st.frozensets(target, max_size=3), min_size=1, max_size=6))
    bought = st.builds(
        Bought,
        shopper=st.sampled_from(SHOPPERS),
        ware=place,
        ago=st.sampled_from([1.0, 5.0, 20.0, 50.0]),
        quantity=st.sampled_from([1, 1, 1, 0]),
    )
    seed = draw(st.integers(0, 2**16))
    return Given(wares, stages, coupons, draw(st.lists(bought, max_size=10)), draw_scores(seed, len(coupons)))


def write(shop: Given) -> tuple[dict[str, Shopper], list[Coupon]]:
    categories: dict[str, Category] = {}
    for path in PATHS:
        above = path.rpartition(CATEGORY_SEPARATOR)[0]
        categories[path] = Category.objects.create(path=path, parent=categories.get(above))
    wares = [
        Product.objects.create(
            product_id=f"ware {place}", brand=ware.brand, category=categories[ware.path] if ware.path else None
        )
        for place, ware in enumerate(shop.wares)
    ]
    for (project, needs), position in shop.stages.items():
        needed = {"product": wares[needs]} if isinstance(needs, int) else {"category": categories[needs]}
        ProjectStage.objects.create(project=project, position=position, **needed)
    shoppers = {name: Shopper.objects.create(shopper_id=name) for name in SHOPPERS}
    for number, each in enumerate(shop.bought):
        buy(shoppers[each.shopper], wares[each.ware], each.ago, quantity=each.quantity, order_id=f"o{number}")
    return shoppers, add_coupons(shop.coupons, wares, categories)


def buy(shopper: Shopper, product: Product, ago: float, *, quantity: int = 1, order_id: str = "o") -> None:
    order = Order.objects.create(order_id=order_id, shopper=shopper, ordered_at=NOW - timedelta(days=ago))
    OrderLine.objects.create(order=order, position=1, product=product, quantity=quantity, amount=1)


@properties(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shop=shops())
def test_nobody_is_offered_things_of_projects_that_they_have_finished(shop: Given, data_dir: Path) -> None:
    with transaction.atomic():
        shoppers, coupons = write(shop)
        check_offers(shop.scores, shoppers=shoppers, coupons=coupons, may_have=shop.may_have)
        transaction.set_rollback(True)


def test_what_finishes_a_project_takes_its_things_off_the_list_until_it_is_begun_again() -> None:
    anna = Shopper.objects.create(shopper_id="anna")
    tiles, mirror = (Product.objects.create(product_id=name) for name in ("tiles", "mirror"))
    for position, product in enumerate((tiles, mirror)):
        ProjectStage.objects.create(project="bath", position=position, product=product)
    coupon = Coupon.objects.create(coupon_id="c")
    CouponTarget.objects.create(coupon=coupon, product=tiles)
    publish(make_campaign("spring", coupon), (anna, coupon, 0.5))
    buy(anna, tiles, 9, order_id="o1")
    assert [each.coupon_id for each in offers_of(shopper_id="anna", at=NOW).coupons] == ["c"]

    buy(anna, mirror, 3, order_id="o2")

    gone = offers_of(shopper_id="anna", at=NOW)
    assert (gone.personal, gone.coupons) == (True, [])
    assert Recommendation.objects.count() == 1
    assert [each.coupon_id for each in offers_of(shopper_id="anna", at=NOW - timedelta(days=4)).coupons] == ["c"]

    buy(anna, tiles, 1, order_id="o3")

    assert [each.coupon_id for each in offers_of(shopper_id="anna", at=NOW).coupons] == ["c"]


def test_a_shop_without_projects_pays_for_no_query_more() -> None:
    anna, coupon = Shopper.objects.create(shopper_id="anna"), Coupon.objects.create(coupon_id="c")
    tea, tiles = (Product.objects.create(product_id=name) for name in ("tea", "tiles"))
    CouponTarget.objects.create(coupon=coupon, product=tea)
    publish(make_campaign("spring", coupon), (anna, coupon, 0.5))
    offers_of(shopper_id="anna", at=NOW)
    with CaptureQueriesContext(connection) as without:
        offers_of(shopper_id="anna", at=NOW)
    ProjectStage.objects.create(project="bath", position=1, product=tiles)
    with CaptureQueriesContext(connection) as with_projects:
        offers_of(shopper_id="anna", at=NOW)

    assert len(without) == 1
    assert len(with_projects) == 4  # the stages, what the coupon is for, and in which category that is


def test_a_stage_needs_one_thing_a_row() -> None:
    with pytest.raises(ValidationError, match=r"Choose a product or a category, and one only\."):
        ProjectStage(project="bath", position=1).full_clean()
