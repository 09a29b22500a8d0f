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


# A shop of three by three: every product has the three buyers that it takes to count


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """All bought on the same day, 90 days (one half-life) before the moment: each time counts one half.

    ====  ====  =====  ===
          milk  bread  tea
    ann      2      2    2
    bob      2      2    2
    cem      2      4    6
    ====  ====  =====  ===
    """
    shop = Shop()
    for shopper, times in {"ann": (2, 2, 2), "bob": (2, 2, 2), "cem": (2, 4, 6)}.items():
        for product, count in zip(("milk", "bread", "tea"), times, strict=True):
            for _ in range(count):
                shop.sell(shopper, day(0), product)
    shop.sell("ann", day(0), "rare").sell if False else None
    shop.coupon("for milk", "milk").coupon("for bread and tea", "bread", "tea").coupon("for what is rare", "rare")
    shop.shopper("new").product("rare")
    return shop.write(tmp_path_factory.mktemp("neighbours") / "shop")


#: log(1 + faded times) of the table above.
ONE, TWO, THREE = log1p(1), log1p(2), log1p(3)
COUPONS = ["for milk", "for bread and tea", "for what is rare"]
