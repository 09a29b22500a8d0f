"""What is told of the purchases behind reasons, by hand."""

from pathlib import Path
from typing import Any

import pytest

from recommender.ml import columns as c
from recommender.ml import narration
from recommender.ml.contract import Reason
from recommender.ml.narration import Narrator
from tests.ml.shops import Shop, day, pairs_of

MOMENT = day(100)
OWN, CATEGORY, BRAND = ({"kind": kind, "times": 1} for kind in ("bought_products", "bought_category", "bought_brand"))


@pytest.fixture
def shop() -> Shop:
    """A coupon for two of the three yoghurts, all of one brand, and for a cheese."""
    shop = Shop()
    for product in ("plain yoghurt", "vanilla yoghurt", "peach yoghurt"):
        shop.product(product, "Dairy / Yoghurt", brand="Alm")
    return shop.product("gouda", "Dairy / Cheese").coupon("c", "plain yoghurt", "vanilla yoghurt", "gouda")


def told(shop: Shop, folder: Path, *reasons: Reason, shopper: str = "ann") -> list[Reason]:
    snapshot = shop.shopper(shopper).write(folder / "shop")
    pairs = pairs_of(snapshot, [(shopper, "c")])
    (of_the_pair,) = Narrator(snapshot.before(MOMENT), pairs[c.COUPON]).tell(pairs, [reasons])
    return of_the_pair


def rhythm_of(shop: Shop, folder: Path, reason: Reason) -> Any:
    (found,) = told(shop, folder, reason)
    assert {name: fact for name, fact in found.items() if name != "rhythm"} == reason
    return found.get("rhythm")


def test_the_rhythm_of_what_was_bought_most(shop: Shop, tmp_path: Path) -> None:
    """Days count back from the moment, and a day counts once however often it was bought that day."""
    shop.sell("ann", day(60.5), "plain yoghurt", "gouda")
    shop.sell("ann", day(60.7), "plain yoghurt")
    for at in (70.5, 78.5, 88.5):
        shop.sell("ann", day(at), "plain yoghurt")
    shop.sell("bob", day(99.5), "plain yoghurt")

    assert rhythm_of(shop, tmp_path, OWN) == {
        "name": "plain yoghurt",
        "days": 4,
        "since_first": 39.5,
        "between": 10.0,
        "since_last": 11.5,
    }


def test_fewer_days_have_no_rhythm(shop: Shop, tmp_path: Path) -> None:
    for at in range(narration.FEWEST_DAYS - 1):
        shop.sell("ann", day(50.5 + 10 * at), "gouda")

    found = rhythm_of(shop, tmp_path, OWN)

    assert (found["days"], found["between"]) == (narration.FEWEST_DAYS - 1, None)


@pytest.mark.parametrize(
    ("bought", "named"),
    [
        pytest.param({"plain yoghurt": 3, "vanilla yoghurt": 3}, "plain yoghurt", id="half of them are of a product"),
        pytest.param({"plain yoghurt": 3, "gouda": 3}, "gouda", id="as often"),
        pytest.param({"plain yoghurt": 2, "gouda": 3}, "gouda", id="the most frequent"),
        pytest.param({"peach yoghurt": 9, "gouda": 1}, "gouda", id="not what the coupon is not for"),
    ],
)
def test_of_own_purchases_the_most_frequent_is_named(
    shop: Shop, tmp_path: Path, bought: dict[str, int], named: str
) -> None:
    for product, times in bought.items():
        for number in range(times):
            shop.sell("ann", day(50 + number), product)

    assert rhythm_of(shop, tmp_path, OWN)["name"] == named


def test_where_no_product_stands_out_their_category_is_named(shop: Shop, tmp_path: Path) -> None:
    for product in ("goat", "sheep", "blue"):
        shop.product(product, "Dairy / Soft cheese")
    shop.coupon("c", "goat", "sheep", "blue").sell("ann", day(90), "goat", "sheep", "blue", "gouda")

    assert rhythm_of(shop, tmp_path, OWN)["name"] == "Soft cheese"


def test_categories_and_brands_count_all_of_their_products(shop: Shop, tmp_path: Path) -> None:
    shop.sell("ann", day(80), "peach yoghurt")
    shop.sell("ann", day(90), "plain yoghurt", "gouda")

    category, brand = told(shop, tmp_path, CATEGORY, BRAND)

    assert (category["rhythm"]["name"], category["rhythm"]["days"]) == ("Yoghurt", 2)
    assert (brand["rhythm"]["name"], brand["rhythm"]["days"]) == ("Alm", 2)


def test_what_is_finer_than_the_categories_in_use_is_named_with_what_it_is_in(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """“Fresh” alone would say little."""
    monkeypatch.setattr("recommender.ml.catalogue.MOST_CATEGORIES", 1)
    for product in ("goat", "sheep", "blue"):
        shop.product(product, "Dairy / Fresh")
    shop.coupon("c", "goat", "sheep", "blue").sell("ann", day(90), "goat", "sheep", "blue", "gouda")

    own, category = told(shop, tmp_path, OWN, CATEGORY)

    assert (own["rhythm"]["name"], category["rhythm"]["name"]) == ("Fresh (Dairy)", "Dairy")


def test_nothing_later_is_told(shop: Shop, tmp_path: Path) -> None:
    shop.sell("ann", day(90), "gouda")
    for at in (100, 101, 102):
        shop.sell("ann", day(at), "plain yoghurt")

    assert rhythm_of(shop, tmp_path, OWN) == {
        "name": "gouda",
        "days": 1,
        "since_first": 10.0,
        "between": None,
        "since_last": 10.0,
    }


def test_nothing_is_told_where_nothing_was_bought_or_has_a_name(shop: Shop, tmp_path: Path) -> None:
    shop.sell("bob", day(90), "gouda")

    assert told(shop, tmp_path, OWN, CATEGORY, BRAND, {"kind": "popular"}) == [
        OWN,
        CATEGORY,
        BRAND,
        {"kind": "popular"},
    ]
