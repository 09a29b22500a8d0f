"""How long what is in stock keeps, rhythms and seasons, and that nothing later is known of any."""

from pathlib import Path

import polars as pl
import pytest

from recommender.ml.features import GROUPS, PairFeatures, told_by
from recommender.ml.freshness import (
    DAYS_GOOD,
    GONE_SHARE,
    MOST_DAYS_GOOD,
    MOST_GONE,
    NO_FRESHNESS,
    SEASON,
    USUAL_GAP,
    VISITS,
    FreshnessOfCoupons,
)
from recommender.ml.history import Snapshot
from recommender.ml.leaks import Occasion, moved_columns, with_another_future
from recommender.ml.purchases import NEVER
from tests.ml.shops import Shop, day, numbers_of, pairs_of

NOW = 500


def market() -> Shop:
    """Coupons for milk (of two brands), bread, rice, milk or bread, and the whole shop."""
    shop = Shop()
    for product, category in (("milk", "Dairy / Milk"), ("other milk", "Dairy / Milk"), ("bread", "Bakery / Bread")):
        shop.product(product, category)
    shop.product("rice")
    for coupon, *products in (
        ("V-milk", "milk"),
        ("V-other", "other milk"),
        ("V-bread", "bread"),
        ("V-rice", "rice"),
        ("V-both", "milk", "bread"),
    ):
        shop.coupon(coupon, *products)
    return shop.coupon("V-all")


def told(shop: Shop, tmp_path: Path, *pairs: tuple[str, str], at: float = NOW) -> list[dict[str, float]]:
    snapshot = shop.write(tmp_path / "shop")
    asked = pairs_of(snapshot, pairs)
    coupons = pl.Series("coupon", [*numbers_of(snapshot, "coupon").values()], dtype=pl.UInt32)
    return FreshnessOfCoupons(snapshot.before(day(at)), coupons).describe(asked, asked["shopper"]).to_dicts()


def test_stock_keeps_as_long_as_the_last_of_it(tmp_path: Path) -> None:
    shop = market().shopper("anna")
    shop.batch("milk", day(490), day(503)).batch("milk", day(495), day(507))
    shop.batch("milk", day(496), day(530), sold_out=day(499)).batch("milk", day(NOW), day(540))
    shop.batch("bread", day(480), day(490)).batch("other milk", day(NOW), day(540))

    found = told(shop, tmp_path, *(("anna", f"V-{name}") for name in ("milk", "other", "bread", "rice", "both")))

    assert [each[DAYS_GOOD] for each in found] == [7, MOST_DAYS_GOOD, 0, MOST_DAYS_GOOD, 7]


def test_what_will_be_sold_out_is_in_stock_still(tmp_path: Path) -> None:
    shop = market().shopper("anna").batch("milk", day(490), day(505), sold_out=day(NOW))

    assert told(shop, tmp_path, ("anna", "V-milk"))[0][DAYS_GOOD] == 5


def test_visits_are_counted_at_the_pace_of_late(tmp_path: Path) -> None:
    shop = market().batch("milk", day(499), day(507))
    for at in (NOW - 50, NOW - 30.6, NOW - 30.7, NOW - 10):
        shop.sell("anna", day(at), "rice")
    shop.sell("ben", day(NOW - 60), "rice")

    found = told(shop, tmp_path, ("anna", "V-milk"), ("ben", "V-milk"), ("anna", "V-rice"))

    assert [each[VISITS] for each in found] == [
        pytest.approx(7 * 3 / 56),
        0,
        pytest.approx(MOST_DAYS_GOOD * 3 / 56),
    ]


def test_a_rhythm_is_of_a_kind_of_thing_whatever_its_brand(tmp_path: Path) -> None:
    shop = market().batch("milk", day(499), day(507))
    for at, product in ((460, "milk"), (470, "other milk"), (474, "milk"), (484, "milk"), (484.2, "other milk")):
        shop.sell("anna", day(at + 0.5), product)
    shop.sell("anna", day(400), "bread")
    shop.sell("anna", day(490), "milk", quantity=0.0)  # is none
    shop.sell("ben", day(100), "rice")
    shop.sell("ben", day(110), "rice")

    found = told(shop, tmp_path, ("anna", "V-milk"), ("anna", "V-other"), ("anna", "V-bread"), ("ben", "V-rice"))

    # Days of purchase 40, 30, 26 and 16 days ago: the gaps are 10, 4 and 10
    assert [(each[USUAL_GAP], each[GONE_SHARE]) for each in found] == [
        (10, pytest.approx(15.5 / 10)),
        (10, pytest.approx(15.5 / 10)),
        (NEVER, 0),
        (10, MOST_GONE),
    ]


def test_of_several_kinds_the_one_that_is_bought_most_often_tells(tmp_path: Path) -> None:
    shop = market().batch("milk", day(499), day(507))
    for at in (440, 460, 480):
        shop.sell("anna", day(at + 0.5), "milk")
    for at in (480, 485, 490):
        shop.sell("anna", day(at + 0.5), "bread")

    found = told(shop, tmp_path, ("anna", "V-both"))[0]

    assert (found[USUAL_GAP], found[GONE_SHARE]) == (5, pytest.approx(9.5 / 5))


def test_a_season_is_what_was_sold_a_year_ago(tmp_path: Path) -> None:
    shop = market().batch("milk", day(499), day(507))
    shop.sell("ben", day(10), "rice")
    for at in range(100, 500, 5):
        shop.sell("anna", day(at), "bread")
    for at in range(NOW - 365, NOW - 365 + 28):
        shop.sell("anna", day(at + 0.5), "milk")

    found = told(shop, tmp_path, *(("anna", f"V-{name}") for name in ("milk", "bread", "rice")))
    young = told(shop, tmp_path / "young", ("anna", "V-milk"), at=300)

    usual = 28 * 28 / 365
    assert found[0][SEASON] == pytest.approx((28 + 5) / (usual + 5))
    assert found[1][SEASON] == pytest.approx((6 + 5) / (73 * 28 / 365 + 5))
    assert found[2][SEASON] == young[0][SEASON] == 1


def test_a_shop_without_batches_is_told_nothing_and_shown_nothing(tmp_path: Path) -> None:
    shop = market()
    for at in range(0, 490, 7):
        shop.sell("anna", day(at), "milk", "bread")
    snapshot = shop.write(tmp_path / "shop")
    pairs = pairs_of(snapshot, [("anna", "V-milk"), ("anna", "V-bread")])
    described = PairFeatures().prepare(snapshot.before(day(NOW)), pairs["coupon"]).describe(pairs)

    assert described.select(GROUPS["freshness"]).to_dicts() == [NO_FRESHNESS] * 2
    assert not set(told_by(described)) & set(NO_FRESHNESS)
    other = described.with_columns(pl.lit(0.5, dtype=pl.Float32).alias(GONE_SHARE))
    assert set(told_by(pl.concat([described, other]))) >= set(NO_FRESHNESS)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Things come in, are bought and sell out before and after the moment."""
    shop = market()
    for number in range(20):
        for at in range(number, 560, 5 + number):
            shop.sell(f"s{number:02}", day(at + 0.5), "milk", *(["bread"] if at % 3 else ["rice"]))
    for at in range(0, 560, 4):
        for product, keeps in (("milk", 9), ("bread", 3)):
            shop.batch(product, day(at), day(at + keeps), sold_out=day(at + 2) if at % 3 else None)
    return shop.write(tmp_path_factory.mktemp("freshness") / "shop")


def test_nothing_later_is_known_of_stock(busy: Snapshot, tmp_path: Path) -> None:
    coupons = sorted(numbers_of(busy, "coupon"))
    pairs = pairs_of(busy, [(f"s{number:02}", coupon) for number in range(20) for coupon in coupons])
    occasion = Occasion(
        "now", day(NOW), pairs["coupon"].unique(), pairs, pl.repeat(False, len(pairs), eager=True).to_numpy()
    )
    other = with_another_future(busy, occasion, tmp_path / "future", seed=1)
    known, then = (busy.before(day(at)) for at in (NOW, NOW + 40))

    assert moved_columns(PairFeatures(), busy, other, occasion) == []
    assert known.scan("batches").collect().equals(other.before(day(NOW)).scan("batches").collect())
    # and there is something to see
    now, later = (
        FreshnessOfCoupons(history, occasion.coupons).describe(pairs, pairs["shopper"]) for history in (known, then)
    )
    assert all(not now[name].equals(later[name]) for name in NO_FRESHNESS)
    assert not busy.scan("batches").collect().equals(other.scan("batches").collect())
