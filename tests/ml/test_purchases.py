"""The design's E(u) = Σ w_t f(u, t), by hand."""

import weakref
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recommender.ml import purchases as module
from recommender.ml.history import History, Snapshot
from recommender.ml.product_sets import SET, ProductSets, sets_of_coupons
from recommender.ml.purchases import (
    AGE,
    DAYS_SINCE_LAST,
    FADED_AMOUNT,
    FADED_TIMES,
    FADED_TIMES_WITH_COUPON,
    HALF_LIFE,
    NEVER,
    RECENT_TIMES,
    SHORT_HALF_LIFE,
    TIMES,
    Purchases,
    age_in_days,
    all_purchases,
    fading_weight,
    passing_purchases,
    purchases,
)
from tests.ml.shops import LAST_START, Shop, day, generated_shop, numbers_of

#: A half-life of 90 days: what was bought at day 10 weighs exactly one half, at day −80 a quarter.
MOMENT = day(100)


def weight(age: float, half_life: float = HALF_LIFE) -> float:
    return pl.select(fading_weight(pl.lit(age), half_life)).item()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    shop = Shop()
    shop.sell("u", day(10), "milk", "bread", amount=4.0)
    shop.sell("u", day(-80), "milk", amount=8.0)
    shop.sell("u", day(99.5), "tea", amount=-3.0)
    shop.sell("v", day(58), "milk", amount=1.0)
    shop.sell("v", MOMENT, "milk", amount=1000.0)
    return shop.write(tmp_path_factory.mktemp("purchases") / "shop").before(MOMENT)


def bought(history: History, shopper: str, product: str) -> dict[str, float]:
    shopper_number, product_number = (
        numbers_of(history.snapshot, thing)[name] for thing, name in (("shopper", shopper), ("product", product))
    )
    (row,) = all_purchases(history).filter(shopper=shopper_number, product=product_number).to_dicts()
    return row


def test_half_of_it_is_left_after_a_half_life() -> None:
    assert weight(0.0) == 1.0
    assert weight(90.0) == 0.5
    assert weight(180.0) == 0.25
    assert weight(21.0, SHORT_HALF_LIFE) == 0.5


@given(age=st.floats(0, 5000), more=st.floats(0, 5000), half_life=st.floats(0.5, 1000))
def test_the_weight_fades_by_factors(age: float, more: float, half_life: float) -> None:
    """Equal ages more take away equal shares, and nothing weighs more than what happens now."""
    assert 0 <= weight(age + more, half_life) <= weight(age, half_life) <= 1
    product = weight(age, half_life) * weight(more, half_life)
    assert weight(age + more, half_life) == pytest.approx(product, rel=1e-9, abs=1e-300)


def test_age_counts_days_and_parts_of_days(history: History) -> None:
    ages = history.scan("orders").select(age_in_days("ordered_at", history).alias(AGE)).collect()[AGE]

    assert sorted(ages) == [0.5, 42.0, 90.0, 180.0]


def test_purchases_by_hand(history: History) -> None:
    milk = bought(history, "u", "milk")

    assert milk[TIMES] == 2.0
    assert milk[FADED_TIMES] == 0.5 + 0.25
    assert milk[RECENT_TIMES] == pytest.approx(2 ** (-90 / 21) + 2 ** (-180 / 21))
    assert milk[FADED_AMOUNT] == 0.5 * 4.0 + 0.25 * 8.0
    assert milk[DAYS_SINCE_LAST] == 90.0
    assert bought(history, "v", "milk")[RECENT_TIMES] == 0.25  # two short half-lives ago; what is at the moment is not


def test_a_row_for_each_product_that_a_shopper_bought(history: History) -> None:
    found = all_purchases(history)

    assert len(found) == 4
    assert found.equals(found.sort("shopper", "product"))


@pytest.mark.parametrize("at_once", [1, 7, 1_000])
def test_a_large_shop_is_counted_some_shoppers_at_a_time(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = generated_shop().write(tmp_path / "shop")
    whole = Purchases(snapshot.before(LAST_START))
    everybody = pl.concat(whole.parts())
    monkeypatch.setattr(module, "SHOPPERS_AT_ONCE", at_once)
    monkeypatch.setattr("recommender.ml.history.MOST_KEPT_LINES", 0)
    monkeypatch.setattr("recommender.ml.history.LINES_AT_ONCE", 100)

    parts = Purchases(Snapshot(snapshot.folder).before(LAST_START))

    assert parts.shoppers.equals(whole.shoppers)
    assert parts.products.equals(whole.products)
    assert len(list(parts.parts())) == -(-len(parts.shoppers) // at_once)
    assert_frame_equal(pl.concat(parts.parts()), everybody)
    assert parts.varieties.tolist() == everybody.group_by("shopper", maintain_order=True).len()["len"].to_list()
    assert parts.buyers.tolist() == everybody.group_by("product").len().sort("product")["len"].to_list()
    for kind in (TIMES, FADED_TIMES, FADED_TIMES_WITH_COUPON):
        assert parts.sold(kind) == pytest.approx(whole.sold(kind), rel=1e-12)
        assert whole.sold(kind) == pytest.approx(
            everybody.group_by("product").agg(pl.col(kind).sum()).sort("product")[kind]
        )
    assert_frame_equal(pl.concat(parts.parts([TIMES])), everybody.select("shopper", "product", TIMES))
    some = parts.shoppers[1:4]
    assert_frame_equal(parts.of(some), everybody.filter(pl.col("shopper").is_in(some.implode())))
    for either in (parts, whole):
        last = pl.concat(either.last_times()).group_by("shopper", "product").min().sort("shopper", "product")
        assert_frame_equal(last, everybody.select("shopper", "product", DAYS_SINCE_LAST))
    assert_frame_equal(parts.lines_of(some), whole.lines_of(some))
    assert parts.lines_of(some).height == everybody.filter(pl.col("shopper").is_in(some.implode()))[TIMES].sum()


def test_what_is_looked_at_in_passing_displaces_nothing(history: History) -> None:
    earlier = history.snapshot.before(history.moment - timedelta(days=100))
    kept = purchases(history)

    passing = passing_purchases(earlier)

    assert passing_purchases(earlier) is passing
    assert purchases(earlier) is passing
    assert purchases(history) is kept
    assert passing.buyers.sum() < kept.buyers.sum()
    gone = weakref.ref(passing)
    del passing
    assert gone() is None


def test_what_several_ask_of_the_same_coupons_is_counted_once(history: History) -> None:
    coupons = pl.Series("coupon", [], dtype=pl.UInt32)

    assert sets_of_coupons(history, coupons) is sets_of_coupons(history, coupons)
    assert sets_of_coupons(history, coupons).popularity.is_empty()


def test_sets_of_products_add_up(history: History) -> None:
    shoppers, products = (numbers_of(history.snapshot, thing) for thing in ("shopper", "product"))
    members = pl.DataFrame(
        {SET: [0, 0, 1, 2], "product": [products[name] for name in ("bread", "milk", "tea", "bread")]},
        schema={SET: pl.UInt32, "product": pl.UInt32},
    )
    asked = pl.DataFrame(
        {"shopper": [shoppers[name] for name in "vuuv"], SET: [0, 1, 0, 2]},
        schema={"shopper": pl.UInt32, SET: pl.UInt32},
    )

    found = ProductSets(history, members).describe(asked).to_dicts()

    assert [row[TIMES] for row in found] == [1.0, 1.0, 3.0, 0.0]
    assert [row["own_products"] for row in found] == [1.0, 1.0, 2.0, 0.0]
    assert [row[DAYS_SINCE_LAST] for row in found] == [42.0, 0.5, 90.0, NEVER]
    assert found[2][FADED_TIMES] == 0.5 + 0.25 + 0.5
    assert found[2][FADED_AMOUNT] == 2.0 + 2.0 + 2.0
    assert [row["buyers"] for row in found] == [2.0, 1.0, 2.0, 1.0]
    assert [row["buyers_share"] for row in found] == [1.0, 0.5, 1.0, 0.5]
    assert found[0]["recent_buyers_share"] == pytest.approx((0.25 + 2 ** (-90 / 21)) / 2)


def test_more_refunded_than_paid_counts_as_nothing_spent(history: History) -> None:
    """Features start at 0: algorithms take their logarithms."""
    members = pl.DataFrame(
        {SET: [0], "product": [numbers_of(history.snapshot, "product")["tea"]]},
        schema={SET: pl.UInt32, "product": pl.UInt32},
    )
    asked = pl.DataFrame({"shopper": [0], SET: [0]}, schema={"shopper": pl.UInt32, SET: pl.UInt32})

    (row,) = ProductSets(history, members).describe(asked).to_dicts()

    assert bought(history, "u", "tea")[FADED_AMOUNT] < 0
    assert (row[TIMES], row[FADED_AMOUNT]) == (1.0, 0.0)


def test_nobody_bought_anything(tmp_path: Path) -> None:
    history = Shop().product("milk").shopper("u").write(tmp_path / "shop").before(MOMENT)
    members = pl.DataFrame({SET: [0], "product": [0]}, schema={SET: pl.UInt32, "product": pl.UInt32})
    asked = pl.DataFrame({"shopper": [0], SET: [0]}, schema={"shopper": pl.UInt32, SET: pl.UInt32})

    (row,) = ProductSets(history, members).describe(asked).to_dicts()

    assert all_purchases(history).is_empty()
    assert row.pop(DAYS_SINCE_LAST) == NEVER
    assert set(row.values()) == {0.0}
