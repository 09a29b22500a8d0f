"""A finished project's things are not offered: neither as lists are made nor as they are served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as properties
from hypothesis import strategies as st

from recommender.ml.devices import CouponsForDevices
from recommender.ml.projects import ProjectsOfCoupons
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
    Run,
    RunCoupon,
    Shopper,
)
from recommender.services.scoring import Scorer
from recommender.services.serving import offers_of, offers_of_many
from recommender.services.snapshot import open_snapshot, take_snapshot
from tests.api.shop_rows import make_campaign, publish

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SHOPPERS = ("anna", "ben", "carl")
PATHS = ("Bath", "Bath / Tiles", "Food", "Empty")
BRANDS = ("", "Acme")
PROJECTS = ("bath", "floor")
TOP = 3


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
            if needs == ware or (isinstance(needs, str) and path is not None and _is_within(path, needs)):
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
        wares = [
            place
            for place, ware in enumerate(self.wares)
            for target in self.coupons[coupon]
            if target == place
            or (isinstance(target, str) and target in BRANDS and target == ware.brand)
            or (isinstance(target, str) and ware.path is not None and _is_within(ware.path, target))
        ]
        return not wares or any(
            not (places := self.places(ware)) or not all(self.has_finished(shopper, project) for project in places)
            for ware in wares
        )


def _is_within(path: str, target: str) -> bool:
    return path == target or path.startswith(target + CATEGORY_SEPARATOR)


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
    scores = np.random.default_rng(seed).permutation(len(SHOPPERS) * len(coupons)).reshape(len(SHOPPERS), -1)
    return Given(wares, stages, coupons, draw(st.lists(bought, max_size=10)), (1 + scores) / (1 + scores.size))


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
    coupons = []
    for number, targets in enumerate(shop.coupons):
        coupons.append(Coupon.objects.create(coupon_id=f"coupon {number}"))
        for target in targets:
            facts: Mapping[str, Any] = {"product": wares[target]} if isinstance(target, int) else {"brand": target}
            if target in categories:
                facts = {"category": categories[str(target)]}
            CouponTarget.objects.create(coupon=coupons[-1], **facts)
    return shoppers, coupons


def buy(shopper: Shopper, product: Product, ago: float, *, quantity: int = 1, order_id: str = "o") -> None:
    order = Order.objects.create(order_id=order_id, shopper=shopper, ordered_at=NOW - timedelta(days=ago))
    OrderLine.objects.create(order=order, position=1, product=product, quantity=quantity, amount=1)


def make_lists(shop: Given) -> dict[str, list[str]]:
    """Each shopper's list as a run makes it of the scores."""
    files = open_snapshot(snapshot=take_snapshot())
    shoppers = files.scan("shoppers").select("shopper", "shopper_id").sort("shopper").collect()
    coupons = files.scan("coupons").select("coupon", "coupon_id", offer="coupon_id").sort("coupon").collect()
    assert shoppers["shopper_id"].to_list() == list(SHOPPERS)
    stand_in: Any = SimpleNamespace(
        score=lambda inputs: shop.scores.ravel(),
        explain=lambda inputs: [[] for _row in range(len(inputs))],
        describe=lambda pairs: pairs.select("coupon"),
        tell=lambda lists, reasons: reasons,
    )
    scorer = Scorer(
        algorithm=stand_in,
        history=stand_in,
        narrator=stand_in,
        shoppers=shoppers,
        coupons=coupons,
        learned=[],
        devices=CouponsForDevices(files.before(NOW), coupons["coupon"]),
        projects=ProjectsOfCoupons(files.before(NOW), coupons["coupon"]),
    )
    rows = scorer.recommend(shoppers, TOP).rows
    return {name: rows.filter(pl.col("shopper_id") == name)["coupon_id"].to_list() for name in SHOPPERS}


@properties(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shop=shops())
def test_nobody_is_offered_things_of_projects_that_they_have_finished(
    shop: Given, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    with transaction.atomic():
        shoppers, coupons = write(shop)
        allowed = {
            name: [
                coupons[place].coupon_id
                for place in np.argsort(-shop.scores[row], kind="stable")
                if shop.may_have(name, int(place))
            ]
            for row, name in enumerate(SHOPPERS)
        }

        assert make_lists(shop) == {name: ids[:TOP] for name, ids in allowed.items()}

        # Lists that were made before anything was finished, and those for whom none was made
        publish(
            make_campaign("spring", *coupons),
            *(
                (shoppers[name], coupons[place], float(shop.scores[row, place]))
                for row, name in enumerate(SHOPPERS[:2])
                for place in np.argsort(-shop.scores[row], kind="stable")
            ),
        )
        RunCoupon.objects.bulk_create(
            RunCoupon(run=Run.objects.get(), coupon=coupon, mean_score=1 / (1 + place))
            for place, coupon in enumerate(coupons)
        )
        alone = {name: offers_of(shopper_id=name, at=NOW, limit=100) for name in (*SHOPPERS, "nobody")}
        for name in SHOPPERS[:2]:
            assert [coupon.coupon_id for coupon in alone[name].coupons] == allowed[name]
        assert sorted(coupon.coupon_id for coupon in alone["carl"].coupons) == sorted(allowed["carl"])
        assert [coupon.coupon_id for coupon in alone["nobody"].coupons] == [coupon.coupon_id for coupon in coupons]
        assert offers_of_many(shopper_ids=list(alone), at=NOW, limit=100) == list(alone.values())
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
