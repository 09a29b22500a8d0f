"""Nobody is offered what they cannot use in time: neither as lists are made nor as they are served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as properties
from hypothesis import strategies as st

from recommender.models import (
    CATEGORY_SEPARATOR,
    Batch,
    Campaign,
    Category,
    Coupon,
    CouponTarget,
    Product,
    Recommendation,
    Run,
    RunCoupon,
    Shopper,
)
from recommender.services.runs import NothingToRecommend, _find_coupons
from recommender.services.serving import offers_of, offers_of_many
from tests.api.shop_rows import make_campaign, publish

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
PATHS = ("Fresh", "Fresh / Dairy", "Pantry", "Empty")
BRANDS = ("", "Acme")
DAYS = st.sampled_from([-6.0, -2.0, 0.0, 1.5, 4.0, 9.0])


def days(number: float) -> datetime:
    return NOW + timedelta(days=number)


@dataclass(frozen=True)
class Pieces:
    """Of a product, from one day to another, counted from now, unless sold out before."""

    received: float
    best_before: float
    sold_out: float | None


@dataclass(frozen=True)
class Ware:
    path: str | None
    brand: str
    batches: Sequence[Pieces]


@dataclass(frozen=True)
class Offer:
    """A coupon for products (by their place), categories and brands, the whole shop where there is none."""

    targets: frozenset[int | str]
    starts: float | None
    ends: float | None


@dataclass(frozen=True)
class Given:
    wares: Sequence[Ware]
    offers: Sequence[Offer]

    def lasts(self, offer: Offer, at: float, opens: float) -> bool:
        """The rule, spelled out."""
        wares = [
            ware
            for place, ware in enumerate(self.wares)
            for target in offer.targets
            if target == place
            or (isinstance(target, str) and target in BRANDS and target == ware.brand)
            or (isinstance(target, str) and ware.path is not None and _is_within(ware.path, target))
        ]
        return not wares or any(
            not ware.batches
            or any(
                each.received <= opens < each.best_before
                and each.best_before > at
                and (each.sold_out is None or each.sold_out > at)
                and (offer.ends is None or offer.ends <= each.best_before)
                for each in ware.batches
            )
            for ware in wares
        )


def _is_within(path: str, target: str) -> bool:
    return path == target or path.startswith(target + CATEGORY_SEPARATOR)


@st.composite
def pieces(draw: st.DrawFn) -> Pieces:
    received = draw(DAYS)
    best_before = received + draw(st.sampled_from([1.0, 2.5, 8.0]))
    return Pieces(received, best_before, draw(st.sampled_from([None, received + 0.5, received + 3.0])))


@st.composite
def shops(draw: st.DrawFn) -> Given:
    ware = st.builds(
        Ware,
        path=st.sampled_from([None, *PATHS[:3]]),
        brand=st.sampled_from(BRANDS),
        batches=st.lists(pieces(), max_size=3),
    )
    wares = draw(st.lists(ware, min_size=1, max_size=5))
    target = st.one_of(st.integers(0, len(wares) - 1), st.sampled_from([*PATHS, "Acme"]))
    offer = st.builds(
        lambda targets, starts, length: Offer(targets, starts, None if length is None else (starts or 0.0) + length),
        st.frozensets(target, max_size=3),
        st.sampled_from([None, -3.0, 2.0]),
        st.sampled_from([None, 1.0, 5.0, 10.0]),
    )
    return Given(wares, draw(st.lists(offer, min_size=1, max_size=6)))


def write(shop: Given) -> list[Coupon]:
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
    Batch.objects.bulk_create(
        Batch(
            batch_id=f"{place} {number}",
            product=wares[place],
            received_at=days(each.received),
            best_before=days(each.best_before),
            sold_out_at=None if each.sold_out is None else days(each.sold_out),
        )
        for place, ware in enumerate(shop.wares)
        for number, each in enumerate(ware.batches)
    )
    coupons = []
    for number, offer in enumerate(shop.offers):
        coupons.append(
            Coupon.objects.create(
                coupon_id=f"coupon {number}",
                starts_at=None if offer.starts is None else days(offer.starts),
                ends_at=None if offer.ends is None else days(offer.ends),
            )
        )
        for target in offer.targets:
            facts: Mapping[str, Any] = {"product": wares[target]} if isinstance(target, int) else {"brand": target}
            if target in categories:
                facts = {"category": categories[str(target)]}
            CouponTarget.objects.create(coupon=coupons[-1], **facts)
    return coupons


def chosen_from(campaign: Campaign) -> list[str]:
    """The coupons that a run which is planned now makes lists of."""
    try:
        return _find_coupons(campaign, NOW)
    except NothingToRecommend:
        return []


def open_coupons(shop: Given, at: float) -> list[int]:
    """The places of the coupons whose own window holds a moment."""
    return [
        place
        for place, offer in enumerate(shop.offers)
        if (offer.starts is None or offer.starts <= at) and (offer.ends is None or offer.ends > at)
    ]


@properties(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shop=shops(), begins=st.sampled_from([-1.0, 3.0]), later=st.sampled_from([0.0, 1.0, 3.0]))
def test_nobody_is_offered_what_they_cannot_use_in_time(shop: Given, begins: float, later: float) -> None:
    with transaction.atomic():
        coupons = write(shop)
        ahead = make_campaign("ahead", *coupons, starts_at=days(begins), ends_at=days(begins + 20))
        opens = max(0.0, begins)

        assert chosen_from(ahead) == sorted(
            coupons[place].coupon_id
            for place, offer in enumerate(shop.offers)
            if (offer.ends is None or offer.ends > opens)
            and shop.lasts(offer, 0.0, opens if offer.starts is None else max(opens, offer.starts))
        )

        # Lists that were made of everything, and those for whom none was made, as they are served now or later
        anna = Shopper.objects.create(shopper_id="anna")
        live = make_campaign("live", *coupons, starts_at=days(-1), ends_at=days(20))
        publish(live, *((anna, coupon, 1 / (2 + place)) for place, coupon in enumerate(coupons)))
        RunCoupon.objects.bulk_create(
            RunCoupon(run=Run.objects.get(), coupon=coupon, mean_score=1 / (2 + place))
            for place, coupon in enumerate(coupons)
        )
        alone = [offers_of(shopper_id=name, at=days(later), limit=100) for name in ("anna", "nobody")]
        expected = [
            coupons[place].coupon_id
            for place in open_coupons(shop, later)
            if shop.lasts(shop.offers[place], later, later)
        ]
        for offers in alone:
            assert [coupon.coupon_id for coupon in offers.coupons] == expected
        assert offers_of_many(shopper_ids=["anna", "nobody"], at=days(later), limit=100) == alone
        transaction.set_rollback(True)


def make_markdown(best_before: float, ends: float | None) -> Coupon:
    product = Product.objects.create(product_id="yoghurt")
    Batch.objects.create(batch_id="b", product=product, received_at=days(-5), best_before=days(best_before))
    coupon = Coupon.objects.create(coupon_id="c", ends_at=None if ends is None else days(ends))
    CouponTarget.objects.create(coupon=coupon, product=product)
    return coupon


@pytest.mark.parametrize(
    ("best_before", "ends", "is_chosen"),
    [(3, 3, True), (3, 3.5, False), (3, 2, True), (3, None, True), (-1, None, False), (0, None, False)],
)
def test_stock_outlasts_the_coupons_own_window(best_before: float, ends: float | None, is_chosen: bool) -> None:
    campaign = make_campaign("spring", make_markdown(best_before, ends), starts_at=days(-1), ends_at=days(20))
    if is_chosen:
        assert _find_coupons(campaign, NOW) == ["c"]
    else:
        with pytest.raises(NothingToRecommend, match=r"^What the coupons of campaign spring are for is no longer good"):
            _find_coupons(campaign, NOW)


def test_what_sells_out_leaves_the_list_and_comes_back_with_the_next_delivery() -> None:
    anna, coupon = Shopper.objects.create(shopper_id="anna"), make_markdown(3, None)
    publish(make_campaign("spring", coupon, starts_at=days(-1), ends_at=days(20)), (anna, coupon, 0.5))
    assert [each.coupon_id for each in offers_of(shopper_id="anna", at=NOW).coupons] == ["c"]

    Batch.objects.update(sold_out_at=NOW)
    Batch.objects.create(batch_id="next", product=Product.objects.get(), received_at=days(1), best_before=days(9))

    gone = offers_of(shopper_id="anna", at=NOW)
    assert (gone.personal, gone.coupons) == (True, [])
    assert [each.coupon_id for each in offers_of(shopper_id="anna", at=days(1)).coupons] == ["c"]
    assert Recommendation.objects.count() == 1


def test_a_shop_without_batches_pays_for_no_query_more() -> None:
    anna, coupon = Shopper.objects.create(shopper_id="anna"), Coupon.objects.create(coupon_id="c")
    bread = Product.objects.create(product_id="bread")
    CouponTarget.objects.create(coupon=coupon, product=bread)
    publish(make_campaign("spring", coupon), (anna, coupon, 0.5))
    offers_of(shopper_id="anna", at=NOW)
    with CaptureQueriesContext(connection) as without:
        offers_of(shopper_id="anna", at=NOW)
    Batch.objects.create(batch_id="b", product=bread, received_at=days(-1), best_before=days(3))
    with CaptureQueriesContext(connection) as with_batches:
        offers_of(shopper_id="anna", at=NOW)

    assert len(without) == 1
    assert len(with_batches) == 4  # what the coupon is for, whether batches of it are told, and which are in stock
