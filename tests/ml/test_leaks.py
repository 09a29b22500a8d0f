"""Nothing that happens at or after the moment of decision moves a feature or a score; the check finds what does."""

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recommender.ml import leaks
from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.algorithms.blend import Blend
from recommender.ml.contract import Inputs
from recommender.ml.examples import Casebook
from recommender.ml.history import DATED_BY, SCHEMAS, Snapshot
from recommender.ml.leaks import (
    MOST_PAIRS,
    Moved,
    Occasion,
    choose_occasions,
    moved_columns,
    moved_scores,
    thin,
    with_another_future,
)
from recommender.ml.walk_forward import Fit, fit_as_of
from tests.ml.leaky_inputs import LEAKY, HonestInputs, LeakyInputs, LogisticOnHonest, LogisticOnLeaky
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
        shop.device(shopper, product, moment).batch(product, moment, moment + timedelta(days=9))
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


# The check that the project ships


@pytest.fixture(scope="module")
def occasion(casebook: Casebook) -> Occasion:
    """The fourth campaign's decision: three taught before it, one comes after it."""
    return choose_occasions(casebook, 5, seed=0)[3]


@pytest.fixture(scope="module")
def other(snapshot: Snapshot, occasion: Occasion, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The shop with another future."""
    return with_another_future(snapshot, occasion, tmp_path_factory.mktemp("future") / "shop", seed=1)


def compare_scores(
    algorithm: type[Algorithm], casebook: Casebook, other: Snapshot, occasion: Occasion
) -> tuple[np.ndarray, Moved | None]:
    described = leaks.describe(algorithm.inputs, casebook.snapshot, occasion)
    return moved_scores(algorithm, casebook, Casebook(other), occasion, described=described, fits=({}, {}))


def test_the_check_passes_the_real_inputs(snapshot: Snapshot, other: Snapshot, occasion: Occasion) -> None:
    for inputs in (*INPUTS.values(), HonestInputs()):
        assert moved_columns(inputs, snapshot, other, occasion) == []


def test_the_check_passes_the_real_algorithms(
    algorithm: type[Algorithm], casebook: Casebook, other: Snapshot, occasion: Occasion
) -> None:
    scores, moved = compare_scores(algorithm, casebook, other, occasion)

    assert moved is None
    assert len(scores) == len(occasion.pairs)


def test_the_check_names_each_leaky_column_with_a_pair(snapshot: Snapshot, other: Snapshot, occasion: Occasion) -> None:
    moved = {each.what: each for each in moved_columns(LeakyInputs(), snapshot, other, occasion)}

    assert tuple(moved) == LEAKY
    found = moved["used_in_the_campaign"]
    pair = pairs_of(snapshot, [(found.shopper_id, found.coupon_id)])
    one, two = (
        LeakyInputs()
        .prepare(shop.before(occasion.moment), occasion.coupons)
        .describe(pair)["used_in_the_campaign"]
        .item()
        for shop in (snapshot, other)
    )
    assert (found.before, found.after) == (one, two)
    assert one != two
    assert found.occasion == "fourth"
    assert 0.05 < found.share < 1


def test_a_leak_shows_in_tables_that_have_no_row_yet(shop: Shop, tmp_path: Path) -> None:
    """Events come with the first campaign that is published; what reads them is proved before."""
    young = deepcopy(shop)
    young.rows["events"], young.rows["redemptions"] = [], []
    snapshot = young.write(tmp_path / "shop")
    occasion = choose_occasions(Casebook(snapshot), 1, seed=0)[0]
    other = with_another_future(snapshot, occasion, tmp_path / "other", seed=0)

    assert [each.what for each in moved_columns(LeakyInputs(), snapshot, other, occasion)] == list(LEAKY)


def test_a_leak_into_what_is_learned_moves_scores(casebook: Casebook, other: Snapshot, occasion: Occasion) -> None:
    (_, honest), (_, leaky) = (
        compare_scores(algorithm, casebook, other, occasion) for algorithm in (LogisticOnHonest, LogisticOnLeaky)
    )

    assert honest is None
    assert leaky is not None
    assert (leaky.what, leaky.share) == ("logistic_on_leaky", pytest.approx(1, abs=0.05))


def test_a_blend_is_fitted_once_with_its_members(casebook: Casebook, other: Snapshot, occasion: Occasion) -> None:
    described = leaks.describe(Blend.inputs, casebook.snapshot, occasion)
    fits: tuple[dict[str, Fit], dict[str, Fit]] = ({}, {})
    for algorithm in (*Blend.members, Blend):
        scores, moved = moved_scores(algorithm, casebook, Casebook(other), occasion, described=described, fits=fits)

    assert moved is None
    for known in fits:
        assert known["blend"].model.members_ == [known[member.name].model for member in Blend.members]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(scores, compare_scores(Blend, casebook, other, occasion)[0])


def test_another_future_is_the_same_past(snapshot: Snapshot, other: Snapshot, occasion: Occasion) -> None:
    for table in SCHEMAS:
        one, two = (shop.before(occasion.moment).scan(table).collect() for shop in (snapshot, other))
        assert one.equals(two), table


def test_another_future_has_no_row_of_the_old_one(snapshot: Snapshot, other: Snapshot, occasion: Occasion) -> None:
    for table, column in DATED_BY.items():
        one, two = (shop.scan(table).filter(pl.col(column) >= occasion.moment).collect() for shop in (snapshot, other))
        assert len(two) > 0, table
        assert two.join(one, on=one.columns, how="semi", nulls_equal=True).is_empty(), table
        assert two[column].min() == occasion.moment, table  # where < and <= are told apart
        assert set(two.columns) == set(SCHEMAS[table])
    for table in ("campaign_coupons", "campaign_shoppers"):
        one, two = (set(shop.scan(table).collect().rows()) for shop in (snapshot, other))
        assert one - two, table
        assert two - one, table


def test_another_future_renumbers_nothing(snapshot: Snapshot, other: Snapshot) -> None:
    for table in ("shoppers", "products", "coupons", "categories"):
        one, two = (shop.scan(table).drop("joined_at", strict=False).collect() for shop in (snapshot, other))
        assert one.equals(two), table
    one, two = (
        dict(shop.scan("campaigns").select("campaign", "campaign_id").collect().iter_rows())
        for shop in (snapshot, other)
    )
    assert two == one | {5: "planted by the leak check"}


def test_joining_later_is_moved_too(shop: Shop, tmp_path: Path) -> None:
    snapshot = deepcopy(shop).shopper("S00b", joined=day(215)).write(tmp_path / "shop")
    occasion = choose_occasions(Casebook(snapshot), 5, seed=0)[4]
    assert occasion.moment == LAST_START
    other = with_another_future(snapshot, occasion, tmp_path / "other", seed=0)

    one, two = (
        each.scan("shoppers").filter(shopper_id="S00b").collect()["joined_at"].item() for each in (snapshot, other)
    )

    assert one == day(215)
    assert two != one
    assert two >= LAST_START


# On what it is proved


def test_occasions_are_spread_over_time_with_used_offers_first(casebook: Casebook) -> None:
    occasions = choose_occasions(casebook, 2, seed=0)

    assert len(occasions) == 2
    names = dict(casebook.campaigns.select("campaign_id", "campaign").iter_rows())
    uses = {name: int(casebook.labels(number, day(400)).sum()) for name, number in names.items()}
    assert occasions[0].name == max(("first", "second", "third"), key=uses.__getitem__)
    assert occasions[1].name == max(("fourth", "last"), key=uses.__getitem__)
    for occasion in occasions:
        campaign = names[occasion.name]
        assert occasion.moment == casebook.decided_at(campaign)
        assert occasion.pairs.equals(casebook.pairs(campaign).select("shopper", "coupon"))
        np.testing.assert_array_equal(occasion.labels, casebook.labels(campaign, day(400)))


def test_of_many_pairs_the_used_ones_are_kept(casebook: Casebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recommender.ml.leaks.MOST_PAIRS", 100)

    for occasion in choose_occasions(casebook, 5, seed=0):
        assert occasion.campaign is not None
        assert len(occasion.pairs) == len(occasion.labels) == 100
        assert occasion.labels.sum() == casebook.labels(occasion.campaign, day(400)).sum()
        assert len(occasion.coupons) == casebook.pairs(occasion.campaign)["coupon"].n_unique()


def test_without_campaigns_moments_are_chosen(shop: Shop, tmp_path: Path) -> None:
    bare = deepcopy(shop)
    bare.things["campaigns"].clear()
    for table in ("campaign_coupons", "campaign_shoppers", "redemptions", "events"):
        bare.rows[table] = []
    snapshot = bare.write(tmp_path / "shop")

    occasions = choose_occasions(Casebook(snapshot), 3, seed=0)

    orders = snapshot.scan("orders").collect()["ordered_at"]
    assert len(occasions) == 3
    for occasion, share in zip(occasions, (0.25, 0.5, 0.75), strict=True):
        assert (orders < occasion.moment).mean() == pytest.approx(share, abs=0.01)
        assert not occasion.labels.any()
        assert len(occasion.pairs) <= MOST_PAIRS
    other = with_another_future(snapshot, occasions[1], tmp_path / "other", seed=0)
    assert [each.what for each in moved_columns(LeakyInputs(), snapshot, other, occasions[1])] == list(LEAKY)
    assert moved_columns(INPUTS["features"], snapshot, other, occasions[1]) == []


@pytest.mark.parametrize("shop", [Shop(), Shop().product("P").coupon("C", "P")], ids=["nothing", "no sale"])
def test_a_shop_with_nothing_to_check_has_no_occasion(shop: Shop, tmp_path: Path) -> None:
    assert choose_occasions(Casebook(shop.write(tmp_path / "shop")), 3, seed=0) == []


def test_a_thin_shop_keeps_its_numbers(snapshot: Snapshot, tmp_path: Path) -> None:
    small = thin(snapshot, tmp_path / "small", most_shoppers=20, seed=0)

    kept = small.scan("shoppers").collect()["shopper"]
    assert len(kept) == 20
    for table, schema in SCHEMAS.items():
        whole = snapshot.scan(table).collect()
        expected = whole.filter(pl.col("shopper").is_in(kept.implode())) if "shopper" in schema else whole
        assert small.scan(table).collect().equals(expected), table
    redeemers = snapshot.scan("redemptions").collect()["shopper"].unique()
    assert kept.is_in(redeemers.implode()).sum() >= 10


def test_a_small_shop_is_taken_whole(snapshot: Snapshot, tmp_path: Path) -> None:
    assert thin(snapshot, tmp_path / "small", most_shoppers=61, seed=0) is snapshot
