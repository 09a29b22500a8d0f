"""What fits the devices that shoppers own, how far its parts are worn, and that nothing later is known of either."""

from pathlib import Path

import polars as pl
import pytest

from recommender.ml.devices import (
    DAYS_UNTIL_WORN,
    FITTED_DEVICES,
    MAY_HAVE,
    MOST_DAYS,
    MOST_WORN,
    NO_DEVICES,
    WORN_SHARE,
    CouponsForDevices,
)
from recommender.ml.features import FEATURES, GROUPS, OPTIONAL_GROUPS, PairFeatures, told_by
from recommender.ml.history import Snapshot
from recommender.ml.leaks import Occasion, moved_columns, with_another_future
from tests.ml.shops import Shop, day, numbers_of, pairs_of

NOW = 100


def home() -> Shop:
    """Coupons for a filter (of two brands), a brush and a jug of a kettle, for tea, for both tea and a filter, and for
    the whole shop."""
    shop = Shop()
    for product in ("filter", "other filter"):
        shop.part(product, "kettle", "filter", life=50.0)
    shop.part("brush", "kettle", life=200.0).part("jug", "kettle").part("bag", "vacuum", "bag", life=10.0)
    for coupon, *products in (
        ("V-filter", "filter"),
        ("V-brush", "brush"),
        ("V-jug", "jug"),
        ("V-bag", "bag"),
        ("V-tea", "tea"),
        ("V-tea-or-filter", "tea", "filter"),
    ):
        shop.coupon(coupon, *products)
    shop.coupon("V-all")
    shop.sell("nobody", day(1), "tea")
    return shop


def told(shop: Shop, tmp_path: Path, *pairs: tuple[str, str], at: float = NOW) -> list[dict[str, float]]:
    snapshot = shop.write(tmp_path / "shop")
    asked = pairs_of(snapshot, pairs)
    coupons = pl.Series("coupon", [*numbers_of(snapshot, "coupon").values()], dtype=pl.UInt32)
    devices = CouponsForDevices(snapshot.before(day(at)), coupons)
    return devices.describe(asked, asked["shopper"]).to_dicts()


def facts(fitted: float = 1, worn: float = 0, days: float = MOST_DAYS, may: float = 1) -> dict[str, float]:
    return {MAY_HAVE: may, FITTED_DEVICES: fitted, WORN_SHARE: worn, DAYS_UNTIL_WORN: days}


def test_parts_wear_with_the_use_of_their_device(tmp_path: Path) -> None:
    shop = home().device("anna", "kettle", day(40))
    for at in (41, 61, 81):
        shop.event("anna", "usage", day(at), product="kettle", value=15.0)
    shop.event("anna", "usage", day(70), product="vacuum", value=900.0)  # is not hers
    shop.event("anna", "view", day(70), product="kettle", value=900.0)

    found = told(shop, tmp_path, *(("anna", f"V-{name}") for name in ("filter", "brush", "jug", "tea-or-filter")))

    # 45 of 50 used in 60 days, at a pace of 0.75 a day
    assert found[0] == facts(worn=0.9, days=pytest.approx(5 / 0.75))
    assert found[1] == facts(worn=0.225, days=pytest.approx(155 / 0.75))
    assert found[2] == facts()
    assert found[3] == found[0]


def test_a_part_is_new_once_any_product_of_the_same_part_is_bought(tmp_path: Path) -> None:
    shop = home().device("anna", "kettle", day(0))
    for at in (20, 60, 90):
        shop.event("anna", "usage", day(at), product="kettle", value=30.0)
    shop.sell("anna", day(60), "other filter")
    shop.sell("anna", day(70), "brush", quantity=0.0)  # is none

    found = told(shop, tmp_path, ("anna", "V-filter"), ("anna", "V-brush"))

    assert [each[WORN_SHARE] for each in found] == [60 / 50, 90 / 200]
    assert [each[DAYS_UNTIL_WORN] for each in found] == [0.0, pytest.approx(110 / (60 / 60))]


def test_a_device_may_tell_of_its_part_itself(tmp_path: Path) -> None:
    shop = home().device("anna", "kettle", day(20)).device("ben", "kettle", day(20)).device("carl", "kettle", day(20))
    for who in ("anna", "ben", "carl"):
        shop.event(who, "usage", day(30), product="filter", value=0.1)
        shop.event(who, "usage", day(80), product="filter", value=0.6)
        shop.event(who, "usage", day(80), product="kettle", value=5.0)
    shop.sell("ben", day(85), "other filter")  # which is new, and was not told of yet
    shop.sell("carl", day(85), "filter")
    shop.event("carl", "usage", day(90), product="other filter", value=0.0)

    found = told(shop, tmp_path, *((who, "V-filter") for who in ("anna", "ben", "carl")))

    # 0.6 in 60 days, so 40 more from day 80
    assert found == [facts(worn=0.6, days=pytest.approx(20)), facts(), facts()]


def test_a_part_without_a_life_wears_as_its_device_tells(tmp_path: Path) -> None:
    shop = home().device("anna", "kettle", day(0)).event("anna", "usage", day(50), product="jug", value=1.25)

    assert told(shop, tmp_path, ("anna", "V-jug")) == [facts(worn=1.25, days=0.0)]


def test_what_is_worn_out_for_long_is_worn_no_more(tmp_path: Path) -> None:
    shop = home().device("anna", "kettle", day(0)).event("anna", "usage", day(5), product="kettle", value=1e6)

    assert told(shop, tmp_path, ("anna", "V-filter")) == [facts(worn=MOST_WORN, days=0.0)]


def test_who_owns_no_device_may_have_what_is_for_none_alone(tmp_path: Path) -> None:
    shop = home().device("anna", "kettle", day(5)).device("anna", "kettle", day(6)).shopper("bob")
    shop.device("carl", "kettle", day(5), retired=day(50))
    names = ("filter", "bag", "tea", "tea-or-filter", "all")

    found = told(shop, tmp_path, *((who, f"V-{name}") for who in ("anna", "bob", "carl") for name in names))

    without = [facts(fitted=0, may=0), facts(fitted=0, may=0), NO_DEVICES, NO_DEVICES, NO_DEVICES]
    assert found[:5] == [facts(fitted=2), facts(fitted=0, may=0), NO_DEVICES, facts(fitted=2), NO_DEVICES]
    assert found[5:] == [*without, *without]


def test_a_device_given_up_later_is_owned_still(tmp_path: Path) -> None:
    shop = home().device("carl", "kettle", day(5), retired=day(NOW)).device("dora", "kettle", day(NOW))

    assert [each[MAY_HAVE] for each in told(shop, tmp_path, ("carl", "V-jug"), ("dora", "V-jug"))] == [1, 0]


def test_a_shop_without_devices_is_told_nothing_and_shown_nothing(tmp_path: Path) -> None:
    shop = Shop().coupon("V", "tea")
    shop.sell("anna", day(1), "tea")
    snapshot = shop.write(tmp_path / "shop")
    pairs = pairs_of(snapshot, [("anna", "V")])
    described = PairFeatures().prepare(snapshot.before(day(NOW)), pairs["coupon"]).describe(pairs)

    assert described.select(GROUPS["devices"]).to_dicts() == [NO_DEVICES]
    of_other_kinds = {feature for group in OPTIONAL_GROUPS for feature in GROUPS[group]}
    assert told_by(described) == [feature for feature in FEATURES if feature not in of_other_kinds]
    worn = described.with_columns(pl.lit(0.5, dtype=pl.Float32).alias(WORN_SHARE))
    assert told_by(pl.concat([described, worn])) == [*told_by(described), *GROUPS["devices"]]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Devices are bought, used, cared for and given up before and after the moment."""
    shop = home()
    for number in range(30):
        who = f"s{number:02}"
        shop.device(who, "kettle", day(number), retired=day(60 + 3 * number) if number % 2 else None)
        shop.device(who, "vacuum", day(80 + number), retired=day(200) if number % 3 else None)
        for at in range(number, 160, 7):
            shop.event(who, "usage", day(at + 0.5), product="kettle", value=1.0 + number)
        for at in range(number, 160, 31):
            shop.sell(who, day(at), "filter", "tea")
    return shop.write(tmp_path_factory.mktemp("devices") / "shop")


def test_nothing_later_is_known_of_devices(busy: Snapshot, tmp_path: Path) -> None:
    coupons = sorted(numbers_of(busy, "coupon"))
    pairs = pairs_of(busy, [(f"s{number:02}", coupon) for number in range(30) for coupon in coupons])
    occasion = Occasion(
        "now", day(NOW), pairs["coupon"].unique(), pairs, pl.repeat(False, len(pairs), eager=True).to_numpy()
    )
    other = with_another_future(busy, occasion, tmp_path / "future", seed=1)
    known, then = (busy.before(day(at)) for at in (NOW, 160))

    assert moved_columns(PairFeatures(), busy, other, occasion) == []
    for table in ("devices", "device_parts", "events"):
        assert known.scan(table).collect().equals(other.before(day(NOW)).scan(table).collect())
    # and there is something to see
    now, later = (
        CouponsForDevices(history, occasion.coupons).describe(pairs, pairs["shopper"]) for history in (known, then)
    )
    assert all(not now[name].equals(later[name]) for name in NO_DEVICES)
    assert not busy.scan("devices").collect().equals(other.scan("devices").collect())
