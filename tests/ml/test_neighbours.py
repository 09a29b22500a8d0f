"""Collaborative filtering by hand: who is alike, and what that says of a coupon."""

from math import log1p, sqrt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recommender.ml.algorithms.neighbours import (
    FEWEST_BUYERS,
    ItemBasedFiltering,
    Similarity,
    SimilarProducts,
    SimilarShoppers,
    UserBasedFiltering,
    top_neighbours,
)
from recommender.ml.history import Snapshot
from tests.ml.shops import Shop, day, pairs_of

#: Four shoppers × three products; 0 is unknown.
RATINGS = sparse.csr_matrix([[3.0, 4.0, 0.0], [6.0, 8.0, 0.0], [0.0, 1.0, 0.0], [4.0, 0.0, 3.0]])


def alike(similarity: Similarity, k: int = 4) -> np.ndarray:
    return top_neighbours(RATINGS, RATINGS, similarity, k).toarray()


def test_cosine_by_hand() -> None:
    expected = [
        [1.0, 1.0, 0.8, 12 / 25],
        [1.0, 1.0, 0.8, 12 / 25],
        [0.8, 0.8, 1.0, 0.0],
        [12 / 25, 12 / 25, 0.0, 1.0],
    ]
    np.testing.assert_allclose(alike("cosine"), expected, rtol=1e-12)


def test_pearson_by_hand() -> None:
    """Less the mean of what is known the rows are (−½, ½, ·), (−1, 1, ·), (·, 0, ·) and (½, ·, −½).

    The first two are one direction, the third has none, the fourth points away from the first: nobody's neighbour.
    """
    expected = [[1.0, 1.0, 0, 0], [1.0, 1.0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]]
    np.testing.assert_allclose(alike("pearson"), expected, rtol=1e-12)


def test_pearson_is_the_correlation_where_all_is_known() -> None:
    ratings = np.random.default_rng(0).uniform(1, 5, size=(6, 9))
    correlation = np.corrcoef(ratings)

    found = top_neighbours(sparse.csr_matrix(ratings), sparse.csr_matrix(ratings), "pearson", 6).toarray()

    np.testing.assert_allclose(found, np.where(correlation > 0, correlation, 0.0), atol=1e-12)


def test_equal_cells_have_no_direction() -> None:
    """A mean that is off by a rounding error would point everybody who bought everything once the same way."""
    values = np.log1p(np.random.default_rng(0).uniform(0, 3, 50))
    ratings = sparse.csr_matrix(np.vstack([np.tile(values[:, None], 10), [[0.1, 0.5, 0.2] + [0.0] * 7]]))

    assert np.diff(top_neighbours(ratings, ratings, "pearson", 5).indptr).tolist() == [0] * 50 + [1]


def test_only_the_k_nearest_are_kept() -> None:
    ratings = sparse.csr_matrix([[1.0, 0, 0], [1.0, 0.2, 0], [1.0, 0.5, 0], [1.0, 1.0, 1.0]])

    nearest = top_neighbours(ratings[:1], ratings, "cosine", 2).toarray()

    np.testing.assert_allclose(nearest, [[1.0, 1 / sqrt(1.04), 0, 0]], rtol=1e-12)


def test_of_equally_near_ones_k_are_kept() -> None:
    ratings = sparse.csr_matrix(np.ones((5, 2)))

    kept = top_neighbours(ratings, ratings, "cosine", 3)

    assert np.diff(kept.indptr).tolist() == [3] * 5
    np.testing.assert_allclose(kept.data, 1.0)


@given(
    cells=st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=4, max_size=4), min_size=1, max_size=7),
    k=st.integers(1, 8),
)
@pytest.mark.parametrize("similarity", ["cosine", "pearson"])
def test_neighbours_are_the_k_largest_positive_similarities(
    similarity: Similarity, cells: list[list[float]], k: int
) -> None:
    ratings = np.array(cells)
    if similarity == "pearson":
        known = np.where(ratings > 0, ratings, np.nan)
        means = np.array([np.nanmean(row) if (row > 0).any() else 0.0 for row in known])
        directions = np.where(ratings > 0, ratings - means[:, None], 0.0)
    else:
        directions = ratings
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    units = np.divide(directions, norms, out=np.zeros_like(directions), where=norms > 1e-9)
    every = units @ units.T

    found = top_neighbours(sparse.csr_matrix(ratings), sparse.csr_matrix(ratings), similarity, k).toarray()

    for row, similarities in zip(found, every, strict=True):
        largest = np.sort(similarities[similarities > 1e-9])[::-1][:k]
        np.testing.assert_allclose(np.sort(row[row > 1e-9])[::-1], largest, rtol=1e-9)


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
    """Bob is as ann is; cem is like her by the cosine of their rows. Their cells weigh by that."""
    like_cem = CEM.sum() / (sqrt(3) * np.linalg.norm(CEM))

    of_ann = described(shop, SimilarShoppers(), "ann")
    of_cem = described(shop, SimilarShoppers(), "cem")

    by_hand = [(A + like_cem * CEM[0]) / (1 + like_cem), (2 * A + like_cem * (CEM[1] + CEM[2])) / (1 + like_cem), 0]
    np.testing.assert_allclose(of_ann["cosine"], by_hand, rtol=1e-6)
    np.testing.assert_allclose(of_cem["cosine"], [A, 2 * A, 0], rtol=1e-6)  # ann and bob, alike like cem


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
    """A coupon's products speak for each product by their similarity; a shopper's cells weigh by that."""
    cells = np.array([[A, A, A], [A, A, A], CEM])
    directions = cells / np.linalg.norm(cells, axis=0)
    similar = directions.T @ directions  # milk, bread, tea
    np.testing.assert_allclose(similar[0, 1], A * (2 * A + CEM[1]) / (sqrt(3) * A * sqrt(2 * A**2 + CEM[1] ** 2)))

    for shopper, own in (("ann", cells[0]), ("cem", CEM)):
        by_hand = [own @ similar[0], own @ (similar[1] + similar[2]), 0]
        np.testing.assert_allclose(described(shop, SimilarProducts(), shopper)["cosine"], by_hand, rtol=1e-6)


def test_products_that_correlate(shop: Snapshot) -> None:
    """Less its buyers' mean, bread is as tea is (one buyer above two equal ones), and milk has no direction."""
    for shopper, own in (("ann", [A, A, A]), ("cem", CEM)):
        by_hand = [0, 2 * (own[1] + own[2]), 0]
        np.testing.assert_allclose(described(shop, SimilarProducts(), shopper)["pearson"], by_hand, rtol=1e-6)


@pytest.mark.parametrize("inputs", [SimilarShoppers(), SimilarProducts()])
def test_popularity_stands_beside_them(shop: Snapshot, inputs: SimilarShoppers | SimilarProducts) -> None:
    """Also of products too rare to be like others, and for shoppers who bought nothing."""
    of_new = described(shop, inputs, "new")

    assert FEWEST_BUYERS == 3
    assert of_new["cosine"].to_list() == of_new["pearson"].to_list() == [0.0, 0.0, 0.0]
    assert of_new["buyers"].to_list() == [3.0, 3.0, 2.0]
    np.testing.assert_allclose(of_new["buyers_share"], [1.0, 1.0, 2 / 3], rtol=1e-6)


@pytest.mark.parametrize("algorithm", [UserBasedFiltering, ItemBasedFiltering])
def test_the_similarity_that_ranks_better_is_taken(
    algorithm: type[UserBasedFiltering] | type[ItemBasedFiltering],
) -> None:
    labels = np.array([True, False, False, True])
    good, bad = [0.9, 0.1, 0.2, 0.8], [0.1, 0.9, 0.8, 0.2]
    popularity = {"buyers": [5.0, 4.0, 3.0, 2.0], "buyers_share": [0.5, 0.4, 0.3, 0.2]}

    for similarity, other in (("cosine", "pearson"), ("pearson", "cosine")):
        inputs = pl.DataFrame({similarity: good, other: bad, **popularity}).select(algorithm.inputs.columns)
        model = algorithm().fit(inputs, labels, np.zeros(4, dtype=np.int64), 0)

        assert model.parameters() == {"similarity": similarity, "neighbours": 50}
        assert model.score(inputs)[labels].min() > model.score(inputs)[~labels].max()


@pytest.mark.parametrize("algorithm", [UserBasedFiltering, ItemBasedFiltering])
def test_a_similarity_that_examples_speak_against_is_no_reason(
    algorithm: type[UserBasedFiltering] | type[ItemBasedFiltering],
) -> None:
    against = [0.1, 0.9, 0.8, 0.2]
    inputs = pl.DataFrame(
        {"cosine": against, "pearson": against, "buyers": [9.0, 1.0, 2.0, 8.0], "buyers_share": [0.9, 0.1, 0.2, 0.8]}
    )
    model = algorithm().fit(inputs, np.array([True, False, False, True]), np.zeros(4, dtype=np.int64), 0)

    assert [reasons[0]["kind"] for reasons in model.explain(inputs)] == ["popular"] * 4


@pytest.mark.parametrize("algorithm", [UserBasedFiltering, ItemBasedFiltering])
def test_popularity_orders_what_neighbours_know_nothing_of(
    algorithm: type[UserBasedFiltering] | type[ItemBasedFiltering],
) -> None:
    """Even where the examples speak against popularity, which then gets no weight."""
    similar = [0.9, 0.8, 0.0, 0.0, 0.0]
    inputs = pl.DataFrame(
        {
            "cosine": similar,
            "pearson": similar,
            "buyers": [1.0, 2.0, 9.0, 8.0, 3.0],
            "buyers_share": [0.1, 0.2, 0.9, 0.8, 0.3],
        }
    )
    model = algorithm().fit(inputs, np.array([True, True, False, False, False]), np.zeros(5, dtype=np.int64), 0)
    scores = model.score(inputs)

    assert scores[:2].min() > scores[2:].max()
    assert scores[2] > scores[3] > scores[4] > 0
