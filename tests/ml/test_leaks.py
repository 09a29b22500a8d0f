"""Nothing that happens at or after the moment of decision moves a feature or a score."""

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.algorithms.base import Inputs
from recommender.ml.examples import Casebook
from recommender.ml.history import DATED_BY, Snapshot
from recommender.ml.walk_forward import fit_as_of
from tests.ml.shops import (
    COUPONS,
    LAST_START,
    LEAF_COUPONS,
    NEW_SHOPPER,
    PRODUCTS,
    SHOPPERS,
    Shop,
    day,
    generated_shop,
    pairs_of,
)

INPUTS: dict[str, Inputs] = {algorithm.inputs.name: algorithm.inputs for algorithm in ALGORITHMS.values()}
ASKED = [(shopper, coupon) for shopper in [*SHOPPERS[::4], NEW_SHOPPER] for coupon in COUPONS]


def plant(shop: Shop, at: datetime) -> Shop:
    """A copy of a shop with rows of every dated table from a moment on, some of them at the moment itself.

    There is a campaign with coupons, shoppers, products, categories and a brand of its own. Their identifiers sort
    before and between those that were there, so all numbers shift. Its coupons are further ones of the same offers.
    """
    shop = deepcopy(shop)
    moments = [at + (day(number) - day(0)) for number in np.linspace(0, 20, 80)]
    assert moments[0] == at
    for number in range(8):
        shop.product(f"A{number}", f"Apparel / Shoes / Kind {number}", "a new brand", price=99.0, rating=1.0)
        shop.product(f"P{number:02}a", "Drinks / Cold / Juice", "brand 1", price=50.0)
        shop.coupon(f"A-coupon-{number}", f"A{number}", PRODUCTS[number], offer=f"offer {number}", value=9.0)
        shop.shopper(f"A{number}", joined=at).shopper(f"S{number:02}a", joined=at)
    strangers = [f"A{number}" for number in range(8)] + [f"S{number:02}a" for number in range(8)]
    later_coupons = [f"A-coupon-{number}" for number in range(8)]
    shop.campaign(
        "A later one", at, moments[-1], [*later_coupons, *COUPONS], [*strangers, *SHOPPERS[:30]], SHOPPERS[30:]
    )
    for number, moment in enumerate(moments):
        shopper = ([*SHOPPERS, NEW_SHOPPER, *strangers])[(7 * number) % 77]
        product = ([*PRODUCTS, "A0", "A5", "P03a"])[(5 * number) % 43]
        coupon = ([*LEAF_COUPONS, *later_coupons])[number % 16]
        for _ in range(5):
            order = shop.sell(shopper, moment, product, PRODUCTS[-1], amount=70.0, discount=9.0, coupon_discount=8.0)
        for campaign in ("A later one", "fourth", "last"):
            shop.redeem(shopper, coupon, campaign, moment, order)
            shop.redeem(SHOPPERS[number % 60], LEAF_COUPONS[number % 8], campaign, moment)
        for kind in ("click", "claim", "dismiss", "view"):
            shop.event(shopper, kind, moment, coupon).event(SHOPPERS[0], "click", moment, LEAF_COUPONS[number % 8])
        shop.offer("A later one", shopper, coupon, moment)
        shop.offer("last", SHOPPERS[number % 60], COUPONS[number % 15], moment)
    return shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return generated_shop()


@pytest.fixture(scope="module")
def with_later_rows(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return plant(shop, LAST_START).write(tmp_path_factory.mktemp("later") / "shop")


@pytest.fixture(scope="module")
def with_earlier_rows(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The same rows, dated so that they are known: the test's own test."""
    return plant(shop, day(185)).write(tmp_path_factory.mktemp("earlier") / "shop")


def describe(snapshot: Snapshot, inputs: Inputs) -> pl.DataFrame:
    pairs = pairs_of(snapshot, ASKED)
    return inputs.prepare(snapshot.before(LAST_START), pairs["coupon"]).describe(pairs)


@pytest.fixture(scope="module")
def score() -> Callable[[Snapshot, type[Algorithm]], np.ndarray]:
    casebooks: dict[Path, Casebook] = {}

    def of(snapshot: Snapshot, algorithm: type[Algorithm]) -> np.ndarray:
        casebook = casebooks.setdefault(snapshot.folder, Casebook(snapshot))
        model = fit_as_of(algorithm, casebook, LAST_START, seed=0).model
        return model.score(describe(snapshot, algorithm.inputs))

    return of


def test_rows_of_every_dated_table_are_planted(snapshot: Snapshot, with_later_rows: Snapshot) -> None:
    for table, column in DATED_BY.items():
        before, after = (shop.scan(table).collect()[column] for shop in (snapshot, with_later_rows))
        assert (after >= LAST_START).sum() > (before >= LAST_START).sum(), table
        assert (after == LAST_START).sum() > (before == LAST_START).sum(), table
        assert (after < LAST_START).sum() == (before < LAST_START).sum(), table
    for table in ("shoppers", "products", "categories", "coupons", "campaign_coupons", "campaign_shoppers"):
        assert len(with_later_rows.scan(table).collect()) > len(snapshot.scan(table).collect()), table
    assert not pairs_of(with_later_rows, ASKED).equals(pairs_of(snapshot, ASKED))  # all numbers shifted


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=list(INPUTS))
def test_no_feature_moves(inputs: Inputs, snapshot: Snapshot, with_later_rows: Snapshot) -> None:
    now, with_later = describe(snapshot, inputs), describe(with_later_rows, inputs)

    assert [name for name in inputs.columns if not now[name].equals(with_later[name])] == []


def test_no_score_moves(
    algorithm: type[Algorithm],
    snapshot: Snapshot,
    with_later_rows: Snapshot,
    score: Callable[[Snapshot, type[Algorithm]], np.ndarray],
) -> None:
    np.testing.assert_array_equal(score(with_later_rows, algorithm), score(snapshot, algorithm))


def test_known_rows_do_move_scores(
    algorithm: type[Algorithm],
    snapshot: Snapshot,
    with_earlier_rows: Snapshot,
    score: Callable[[Snapshot, type[Algorithm]], np.ndarray],
) -> None:
    """Else the tests above would prove nothing."""
    moved = score(with_earlier_rows, algorithm) != score(snapshot, algorithm)

    assert moved.mean() > 0.5


@pytest.mark.parametrize("table", ["order_lines", "redemptions", "events", "offers"])
def test_each_dated_table_alone_moves_features_when_known(
    table: str, shop: Shop, snapshot: Snapshot, with_earlier_rows: Snapshot, tmp_path: Path
) -> None:
    """So none of them is left unread, and each would be seen if it leaked."""
    known = plant(shop, day(185))
    for other in {"order_lines", "redemptions", "events", "offers"} - {table}:
        known.rows[other] = shop.rows[other]
    without = deepcopy(known)
    without.rows[table] = shop.rows[table]

    features = INPUTS["features"]
    one, other = (each.write(tmp_path / name) for each, name in ((known, "with"), (without, "without")))

    assert not describe(one, features).equals(describe(other, features))


def test_the_examples_do_not_move(algorithm: type[Algorithm], snapshot: Snapshot, with_later_rows: Snapshot) -> None:
    """Redemptions of a past campaign that come in later are no labels yet."""
    now, with_later = (Casebook(shop).examples(algorithm.inputs, LAST_START) for shop in (snapshot, with_later_rows))

    assert now is not None
    assert with_later is not None
    assert with_later.inputs.equals(now.inputs)
    np.testing.assert_array_equal(with_later.labels, now.labels)
    np.testing.assert_array_equal(with_later.campaigns, now.campaigns)
