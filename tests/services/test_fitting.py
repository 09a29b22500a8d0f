"""Nobody is offered anything for a device that they do not own: neither as lists are made nor as they are served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as properties
from hypothesis import strategies as st

from recommender.ml.devices import CouponsForDevices
from recommender.ml.exploration import Exploration
from recommender.ml.projects import ProjectsOfCoupons
from recommender.models import (
    CATEGORY_SEPARATOR,
    Category,
    Coupon,
    CouponTarget,
    Device,
    DevicePart,
    Product,
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
MODELS = ("kettle", "vacuum", "toaster")
PATHS = ("Parts", "Parts / Filters", "Food")
BRANDS = ("", "Acme")
TOP = 3


@dataclass(frozen=True)
class Ware:
    """A product that is no device. ``fits`` are the models that it is for."""

    path: str | None
    brand: str
    fits: frozenset[str]


@dataclass(frozen=True)
class Owned:
    """A device of a shopper, from one day to another, counted from now."""

    shopper: str
    model: str
    since: float
    until: float | None


@dataclass(frozen=True)
class Given:
    """A shop. ``coupons`` are for products (by their place), categories and brands, the whole shop where there is none;
    ``scores`` are of each shopper's coupons."""

    wares: Sequence[Ware]
    coupons: Sequence[frozenset[int | str]]
    owned: Sequence[Owned]
    scores: np.ndarray

    def may_have(self, shopper: str, coupon: int) -> bool:
        """The rule, spelled out."""
        own = {
            each.model
            for each in self.owned
            if each.shopper == shopper and each.since < 0 and (each.until is None or each.until > 0)
        }
        wares = [
            ware
            for place, ware in enumerate(self.wares)
            for target in self.coupons[coupon]
            if target == place
            or (isinstance(target, str) and target in BRANDS and target == ware.brand)
            or (isinstance(target, str) and ware.path is not None and _is_within(ware.path, target))
        ]
        return not wares or any(not ware.fits or ware.fits & own for ware in wares)


def _is_within(path: str, target: str) -> bool:
    return path == target or path.startswith(target + CATEGORY_SEPARATOR)


@st.composite
def shops(draw: st.DrawFn) -> Given:
    wares = draw(
        st.lists(
            st.builds(
                Ware,
                path=st.sampled_from([None, *PATHS]),
                brand=st.sampled_from(BRANDS),
                fits=st.frozensets(st.sampled_from(MODELS), max_size=2),
            ),
            min_size=1,
            max_size=6,
        )
    )
    target = st.one_of(st.integers(0, len(wares) - 1), st.sampled_from([*PATHS, "Acme"]))
    coupons = draw(st.lists(st.frozensets(target, max_size=3), min_size=1, max_size=6))
    # Half a day from now at least: what happens at the very moment is not known to lists that are made then.
    devices = st.builds(
        lambda shopper, model, since, days: Owned(shopper, model, since, None if days is None else since + days),
        st.sampled_from(SHOPPERS),
        st.sampled_from(MODELS),
        st.sampled_from([-9.5, -2.5, 0.5]),
        st.sampled_from([None, 1.0, 5.0, 20.0]),
    )
    owned = draw(st.lists(devices, max_size=5))
    seed = draw(st.integers(0, 2**16))
    scores = np.random.default_rng(seed).permutation(len(SHOPPERS) * len(coupons)).reshape(len(SHOPPERS), -1)
    return Given(wares, coupons, owned, (1 + scores) / (1 + scores.size))


def write(shop: Given) -> tuple[dict[str, Shopper], list[Coupon]]:
    categories: dict[str, Category] = {}
    for path in PATHS:
        above = path.rpartition(CATEGORY_SEPARATOR)[0]
        categories[path] = Category.objects.create(path=path, parent=categories.get(above))
    models = {name: Product.objects.create(product_id=name) for name in MODELS}
    wares = [
        Product.objects.create(
            product_id=f"ware {place}", brand=ware.brand, category=categories[ware.path] if ware.path else None
        )
        for place, ware in enumerate(shop.wares)
    ]
    DevicePart.objects.bulk_create(
        DevicePart(product=product, device_product=models[model])
        for product, ware in zip(wares, shop.wares, strict=True)
        for model in ware.fits
    )
    shoppers = {name: Shopper.objects.create(shopper_id=name) for name in SHOPPERS}
    Device.objects.bulk_create(
        Device(
            device_id=str(number),
            shopper=shoppers[owned.shopper],
            product=models[owned.model],
            acquired_at=NOW + timedelta(days=owned.since),
            retired_at=None if owned.until is None else NOW + timedelta(days=owned.until),
        )
        for number, owned in enumerate(shop.owned)
    )
    coupons = []
    for number, targets in enumerate(shop.coupons):
        coupons.append(Coupon.objects.create(coupon_id=f"coupon {number}"))
        for target in targets:
            facts: Mapping[str, Any] = {"product": wares[target]} if isinstance(target, int) else {"brand": target}
            if target in categories:
                facts = {"category": categories[str(target)]}
            CouponTarget.objects.create(coupon=coupons[-1], **facts)
    return shoppers, coupons


def make_lists(shop: Given, tried: float | None = None) -> dict[str, list[str]]:
    """Each shopper's list as a run makes it of the scores; ``tried`` is the share whose last place is drawn."""
    files = open_snapshot(snapshot=take_snapshot())
    shoppers = files.scan("shoppers").select("shopper", "shopper_id").sort("shopper").collect()
    coupons = files.scan("coupons").select("coupon", "coupon_id", offer="coupon_id").sort("coupon").collect()
    assert shoppers["shopper_id"].to_list() == list(SHOPPERS)
    stand_in: Any = SimpleNamespace(
        score=lambda inputs: shop.scores.ravel() if len(inputs) == shop.scores.size else np.zeros(len(inputs)),
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
        exploration=None if tried is None else Exploration(tried, np.full(coupons.height, 1 / coupons.height), "salt"),
    )
    rows = scorer.recommend(shoppers, TOP).rows
    return {name: rows.filter(pl.col("shopper_id") == name)["coupon_id"].to_list() for name in SHOPPERS}


@properties(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shop=shops())
def test_nobody_is_offered_anything_for_a_device_that_they_do_not_own(
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
        for name, ids in make_lists(shop, tried=1.0).items():
            assert ids[: TOP - 1] == allowed[name][: TOP - 1]
            assert set(ids) <= set(allowed[name]), "what is tried is for devices that the shopper owns as well"
            assert len(ids) == min(TOP, len(allowed[name]))

        # Lists that were made when everybody owned everything, and those for whom none was made
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
        assert [coupon.coupon_id for coupon in alone["nobody"].coupons] == [
            coupon.coupon_id for place, coupon in enumerate(coupons) if shop.may_have("nobody", place)
        ]
        assert offers_of_many(shopper_ids=list(alone), at=NOW, limit=100) == list(alone.values())
        transaction.set_rollback(True)


def test_a_device_that_was_given_up_takes_its_parts_off_the_list() -> None:
    anna, kettle = Shopper.objects.create(shopper_id="anna"), Product.objects.create(product_id="kettle")
    filter_ = Product.objects.create(product_id="filter")
    DevicePart.objects.create(product=filter_, device_product=kettle)
    device = Device.objects.create(device_id="d", shopper=anna, product=kettle, acquired_at=NOW - timedelta(days=9))
    coupon = Coupon.objects.create(coupon_id="c")
    CouponTarget.objects.create(coupon=coupon, product=filter_)
    publish(make_campaign("spring", coupon), (anna, coupon, 0.5))
    assert [each.coupon_id for each in offers_of(shopper_id="anna", at=NOW).coupons] == ["c"]

    device.retired_at = NOW
    device.save()

    gone = offers_of(shopper_id="anna", at=NOW)
    assert (gone.personal, gone.coupons) == (True, [])
    assert Recommendation.objects.count() == 1


def test_a_shop_without_devices_pays_for_no_query_more() -> None:
    anna, coupon = Shopper.objects.create(shopper_id="anna"), Coupon.objects.create(coupon_id="c")
    publish(make_campaign("spring", coupon), (anna, coupon, 0.5))
    offers_of(shopper_id="anna", at=NOW)
    with CaptureQueriesContext(connection) as without:
        offers_of(shopper_id="anna", at=NOW)
    products = [Product.objects.create(product_id=name) for name in ("filter", "kettle")]
    DevicePart.objects.create(product=products[0], device_product=products[1])
    CouponTarget.objects.create(coupon=coupon, product=products[1])
    with CaptureQueriesContext(connection) as with_devices:
        offers_of(shopper_id="anna", at=NOW)

    assert len(without) == 1
    assert len(with_devices) == 3  # what the coupon is for, and which of that is for devices: nothing
