"""Collaborative filtering by hand: who is alike, and what that says of a coupon."""

from math import log, log1p, sqrt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recommender.ml.algorithms.neighbours import (
    FEWEST_BUYERS,
    ItemBasedFiltering,
    SimilarProducts,
    SimilarShoppers,
    UserBasedFiltering,
)
from recommender.ml.history import Snapshot
from tests.ml.shops import Shop, day, pairs_of

# A shop of three by three, where every product has the three buyers that it takes to count, and one rare product


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Times bought, all on the day that is a half-life before the moment, so that each time counts one half.

    ====  ====  =====  ===  ====
          milk  bread  tea  rare
    ann      2      2    2     1
    bob      2      2    2     1
    cem      2      4    6
    ====  ====  =====  ===  ====
    """
    shop = Shop().shopper("new")
    for shopper, times in {"ann": (2, 2, 2, 1), "bob": (2, 2, 2, 1), "cem": (2, 4, 6, 0)}.items():
        for product, count in zip(("milk", "bread", "tea", "rare"), times, strict=True):
            for _ in range(count):
                shop.sell(shopper, day(0), product)
    shop.coupon("milk", "milk").coupon("bread or tea", "bread", "tea").coupon("rare", "rare")
    return shop.write(tmp_path_factory.mktemp("neighbours") / "shop")


#: The cells: log(1 + half the times) of ann and bob, and of cem.
A = log1p(1)
CEM = np.log1p([1.0, 2.0, 3.0])
COUPONS = ["milk", "bread or tea", "rare"]


def described(shop: Snapshot, inputs: SimilarShoppers | SimilarProducts, shopper: str) -> pl.DataFrame:
    pairs = pairs_of(shop, [(shopper, coupon) for coupon in COUPONS])
    return inputs.prepare(shop.before(day(90)), pairs["coupon"]).describe(pairs)


def test_what_similar_shoppers_buy(shop: Snapshot) -> None:
    """Bob is as ann is; cem is like her by the cosine of their rows. What they bought of all that a coupon is for, on
    the scale of the cells, weighs by that.
    """
    like_cem = CEM.sum() / (sqrt(3) * np.linalg.norm(CEM))

    of_ann = described(shop, SimilarShoppers(), "ann")
    of_cem = described(shop, SimilarShoppers(), "cem")

    by_hand = [(A + like_cem * CEM[0]) / (1 + like_cem), (log(3) + like_cem * log(6)) / (1 + like_cem), 0]
    np.testing.assert_allclose(of_ann["cosine"], by_hand, rtol=1e-6)
    np.testing.assert_allclose(of_cem["cosine"], [A, log(3), 0], rtol=1e-6)  # ann and bob, alike like cem


def test_who_buys_all_alike_correlates_with_nobody(shop: Snapshot) -> None:
    assert described(shop, SimilarShoppers(), "ann")["pearson"].to_list() == [0.0, 0.0, 0.0]


def test_own_purchases_are_no_news_of_others(tmp_path: Path) -> None:
    """Only the neighbours' purchases count: what nobody else like her buys gets nothing from her own buying it."""
    shop = Shop()
    for shopper in ("ann", "bob"):
        shop.sell(shopper, day(0), "milk", "bread")
    for shopper in ("ann", "cem", "dan"):
        shop.sell(shopper, day(0), "tea" if shopper == "ann" else "milk")
    for shopper in ("eve", "fay"):
        shop.sell(shopper, day(0), "tea")
    snapshot = shop.coupon("tea", "tea").write(tmp_path / "shop")
    pairs = pairs_of(snapshot, [("ann", "tea"), ("bob", "tea")])

    found = SimilarShoppers().prepare(snapshot.before(day(90)), pairs["coupon"]).describe(pairs)["cosine"]

    # of ann's neighbours bob, cem, dan (milk, 1/√2 each, bread has too few buyers), eve and fay, two bought tea
    like, bought = 1 / sqrt(2), log1p(0.5)
    assert found[0] == pytest.approx(2 * like * bought / (5 * like), rel=1e-6)
    assert found[1] == pytest.approx(like * bought / (2 + like), rel=1e-6)  # bob's: cem and dan wholly, ann by 1/√2


def test_products_that_go_together(shop: Snapshot) -> None:
    """For each of a coupon's products, the mean of the shopper's cells weighed by the squares of similarities to it.

    Of two products the sum counts by the root of two.
    """
    cells = np.array([[A, A, A], [A, A, A], CEM])
    directions = cells / np.linalg.norm(cells, axis=0)
    similar = directions.T @ directions  # milk, bread, tea
    np.testing.assert_allclose(similar[0, 1], A * (2 * A + CEM[1]) / (sqrt(3) * A * sqrt(2 * A**2 + CEM[1] ** 2)))

    for shopper, own in (("ann", cells[0]), ("cem", CEM)):
        milk, bread, tea = (own @ squares / squares.sum() for squares in similar**2)
        by_hand = [milk, (bread + tea) / sqrt(2), 0]
        np.testing.assert_allclose(described(shop, SimilarProducts(), shopper)["cosine"], by_hand, rtol=1e-6)


def test_products_that_correlate(shop: Snapshot) -> None:
    """Less its buyers' mean, bread is as tea is (one buyer above two equal ones), and milk has no direction."""
    for shopper, own in (("ann", [A, A, A]), ("cem", CEM)):
        by_hand = [0, (own[1] + own[2]) / sqrt(2), 0]
        np.testing.assert_allclose(described(shop, SimilarProducts(), shopper)["pearson"], by_hand, rtol=1e-6)


def test_what_everybody_buys_tells_nothing_by_rarity(tmp_path: Path) -> None:
    """Tf-idf: of four shoppers all bought milk, log(4 / 4) = 0, and three bread and tea, log(4 / 3)."""
    shop = Shop()
    for shopper in ("ann", "bob", "cem"):
        shop.sell(shopper, day(0), "milk", "bread", "tea")
    shop.sell("dan", day(0), "milk")
    snapshot = shop.coupon("milk", "milk").coupon("tea", "tea").write(tmp_path / "shop")
    pairs = pairs_of(snapshot, [("ann", "milk"), ("ann", "tea"), ("dan", "tea")])

    found = SimilarProducts().prepare(snapshot.before(day(90)), pairs["coupon"]).describe(pairs)

    square = 3**2 / (4 * 3)  # of the similarity of milk to bread and to tea, which are one direction
    of_ann = 2 * log1p(0.5) * log(4 / 3)  # her bread and tea
    by_hand = [of_ann * square / (1 + 2 * square), of_ann / (2 + square), 0]
    np.testing.assert_allclose(found["tf_idf"], by_hand, rtol=1e-6)
    np.testing.assert_allclose(found["cosine"][2], log1p(0.5) * square / (2 + square), rtol=1e-6)


@pytest.mark.parametrize("inputs", [SimilarShoppers(), SimilarProducts()])
def test_own_purchases_and_popularity_stand_beside_them(
    shop: Snapshot, inputs: SimilarShoppers | SimilarProducts
) -> None:
    """Also of products too rare to be like others, and for shoppers who bought nothing."""
    of_new, of_ann = described(shop, inputs, "new"), described(shop, inputs, "ann")

    assert FEWEST_BUYERS == 3
    for verdict in inputs.verdicts:
        assert of_new[verdict].to_list() == [0.0, 0.0, 0.0]
    assert of_new["faded_times"].to_list() == of_new["times"].to_list() == [0.0, 0.0, 0.0]
    assert of_ann["times"].to_list() == [2.0, 4.0, 1.0]
    assert of_ann["faded_times"].to_list() == [1.0, 2.0, 0.5]
    assert of_ann["days_since_last"].to_list() == [90.0, 90.0, 90.0]
    for found in (of_new, of_ann):
        assert found["buyers"].to_list() == [3.0, 3.0, 2.0]
        np.testing.assert_allclose(found["buyers_share"], [1.0, 1.0, 2 / 3], rtol=1e-6)


# What is learned of them

FILTERS = pytest.mark.parametrize("algorithm", [UserBasedFiltering, ItemBasedFiltering])
Filter = type[UserBasedFiltering] | type[ItemBasedFiltering]


def inputs_of(algorithm: Filter, **known: list[float]) -> pl.DataFrame:
    """Inputs of as many pairs as ``known`` lists; what it does not name is 0 throughout."""
    count = len(next(iter(known.values())))
    return pl.DataFrame(
        {column: known.get(column, [0.0] * count) for column in algorithm.inputs.columns},
        schema=algorithm.inputs.none().schema,
    )


def same_verdicts(algorithm: Filter, *values: float) -> dict[str, list[float]]:
    return {verdict: list(values) for verdict in algorithm.inputs.verdicts}


def fit(algorithm: Filter, inputs: pl.DataFrame, labels: list[bool]) -> UserBasedFiltering | ItemBasedFiltering:
    return algorithm().fit(inputs, np.array(labels), np.zeros(len(labels), dtype=np.int64), 0)


@FILTERS
def test_the_similarity_that_ranks_better_is_taken(algorithm: Filter) -> None:
    labels = [True, False, False, True]
    bad = same_verdicts(algorithm, 0.1, 0.9, 0.8, 0.2)
    for similarity in algorithm.inputs.verdicts:
        inputs = inputs_of(algorithm, **bad | {similarity: [0.9, 0.1, 0.2, 0.8]}, buyers_share=[0.5, 0.4, 0.3, 0.2])

        model = fit(algorithm, inputs, labels)

        assert model.parameters()["similarity"] == similarity
        assert model.parameters()["neighbours"] == 50
        assert model.score(inputs)[labels].min() > model.score(inputs)[np.logical_not(labels)].max()


def test_what_may_be_chosen() -> None:
    assert UserBasedFiltering.inputs.verdicts == ("cosine", "pearson")
    assert ItemBasedFiltering.inputs.verdicts == ("cosine", "pearson", "tf_idf")
    assert "amplification" not in UserBasedFiltering().fit(SimilarShoppers().none(), *NOTHING).parameters()
    assert ItemBasedFiltering().fit(SimilarProducts().none(), *NOTHING).parameters() == {
        "similarity": "cosine",
        "neighbours": 50,
        "weighs": ["neighbours", "own purchases", "popularity"],
        "amplification": 2,
    }


NOTHING = (np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 0)


@FILTERS
def test_a_similarity_that_examples_speak_against_is_no_reason(algorithm: Filter) -> None:
    against = same_verdicts(algorithm, 0.1, 0.9, 0.8, 0.2)
    inputs = inputs_of(algorithm, **against, buyers=[9.0, 1.0, 2.0, 8.0], buyers_share=[0.9, 0.1, 0.2, 0.8])

    model = fit(algorithm, inputs, [True, False, False, True])

    assert model.parameters()["weighs"] == ["own purchases", "popularity"]
    assert model.explain(inputs) == [[{"kind": "popular", "shoppers": buyers}] for buyers in (9, 1, 2, 8)]


@FILTERS
def test_reasons_are_what_the_score_would_lose(algorithm: Filter) -> None:
    """The neighbours' verdict, own purchases, or popularity where there is neither; the larger loss first."""
    similar, own = [0.9, 0.0, 0.9, 0.01, 0.0, 0.0, 0.1, 0.0], [0.0, 5.0, 0.01, 5.0, 0.0, 0.0, 0.0, 0.5]
    inputs = inputs_of(
        algorithm,
        **same_verdicts(algorithm, *similar),
        faded_times=own,
        times=[10 * times for times in own],
        days_since_last=[12.34] * 8,
        buyers=[7.0] * 8,
        buyers_share=[0.1] * 8,
    )
    model = fit(algorithm, inputs, [True, True, True, True, False, False, False, False])
    scores = model.score(inputs)
    without_own = model.score(inputs.with_columns(pl.lit(0.0).alias("faded_times")))

    explained = model.explain(inputs)

    bought = {"kind": "bought_products", "times": 50, "days_since_last": 12.3}
    assert explained[0] == [{"kind": algorithm.reason}]
    assert explained[1] == [bought]
    assert [reason["kind"] for reason in explained[2]] == [algorithm.reason, "bought_products"]
    assert explained[3] == [bought, {"kind": algorithm.reason}]
    assert explained[4] == explained[5] == [{"kind": "popular", "shoppers": 7}]
    names_own = ["bought_products" in [reason["kind"] for reason in reasons] for reasons in explained]
    assert (scores > without_own).tolist() == names_own


@FILTERS
def test_popularity_orders_what_neighbours_know_nothing_of(algorithm: Filter) -> None:
    """Even where the examples speak against popularity, which then gets no weight."""
    inputs = inputs_of(
        algorithm,
        **same_verdicts(algorithm, 0.9, 0.8, 0.0, 0.0, 0.0),
        buyers=[1.0, 2.0, 9.0, 8.0, 3.0],
        buyers_share=[0.1, 0.2, 0.9, 0.8, 0.3],
    )
    scores = fit(algorithm, inputs, [True, True, False, False, False]).score(inputs)

    assert scores[:2].min() > scores[2:].max()
    assert scores[2] > scores[3] > scores[4] > 0
