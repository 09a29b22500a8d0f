"""The search for neighbours: by hand, against the definition, and what the approximate one may miss."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recommender.ml.algorithms import neighbour_search
from recommender.ml.algorithms.neighbour_search import (
    DIMENSIONS,
    EXACT_ROWS,
    LARGEST,
    SIMILARITIES,
    NeighbourSearch,
    Similarity,
    directions,
    top_neighbours,
)
from tests.load.neighbours import generate_ratings

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
    expected = [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
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


# The search among a matrix's own rows


@pytest.fixture(scope="module")
def ratings() -> sparse.csr_matrix:
    return generate_ratings(3_000, products=800, seed=1)


@pytest.fixture(scope="module")
def approximate(ratings: sparse.csr_matrix) -> dict[Similarity, NeighbourSearch]:
    return {similarity: NeighbourSearch(ratings, similarity, exact_rows=2_999) for similarity in SIMILARITIES}


def test_exact_up_to_the_stated_size(ratings: sparse.csr_matrix) -> None:
    assert EXACT_ROWS == 250_000
    assert NeighbourSearch(ratings, "cosine").is_exact
    assert NeighbourSearch(ratings, "cosine", exact_rows=3_000).is_exact
    assert not NeighbourSearch(ratings, "cosine", exact_rows=2_999).is_exact


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_exact_search_is_the_definition(similarity: Similarity, ratings: sparse.csr_matrix) -> None:
    rows = np.array([5, 2, 2_999])

    found = NeighbourSearch(ratings, similarity).neighbours(rows, 20)

    assert (found != top_neighbours(ratings[rows], ratings, similarity, 20)).nnz == 0


def recall(found: sparse.csr_matrix, exact: sparse.csr_matrix) -> float:
    return found.sign().multiply(exact.sign()).sum() / exact.nnz


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_approximate_search_finds_nine_in_ten(
    similarity: Similarity, ratings: sparse.csr_matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reduced form of ``tests.load.neighbours``: with a tenth of the shoppers as candidates."""
    monkeypatch.setattr(neighbour_search, "CANDIDATES", 300)
    rows = np.arange(0, 3_000, 30)

    found = NeighbourSearch(ratings, similarity, exact_rows=0).neighbours(rows, 50)
    exact = NeighbourSearch(ratings, similarity).neighbours(rows, 50)

    assert np.diff(exact.indptr).tolist() == [50] * 100
    assert 0.9 <= recall(found, exact) < 1


@pytest.mark.prove
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_nine_in_ten_beyond_the_stated_size(similarity: Similarity) -> None:
    shoppers = EXACT_ROWS + 1
    ratings = generate_ratings(shoppers, products=20_000, seed=1)
    rows = np.arange(0, shoppers, 2_500)

    found = NeighbourSearch(ratings, similarity).neighbours(rows, 50)
    exact = NeighbourSearch(ratings, similarity, exact_rows=shoppers).neighbours(rows, 50)

    assert recall(found, exact) >= 0.9


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_approximate_neighbours_are_as_alike_as_they_are(
    similarity: Similarity, ratings: sparse.csr_matrix, approximate: dict[Similarity, NeighbourSearch]
) -> None:
    """Only who is missing is approximate. The nearest comes first, and oneself before all others."""
    rows = np.array([7, 1_500, 8])
    units = directions(ratings, similarity)
    every = (units[rows] @ units.T).toarray()

    found = approximate[similarity].neighbours(rows, 50)

    for number, row in enumerate(rows):
        neighbours = found[[number]]
        np.testing.assert_allclose(neighbours.data, every[number, neighbours.indices], rtol=1e-9)
        assert neighbours.indices[0] == row
        assert (np.diff(neighbours.data) <= 0).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_who_else_is_asked_changes_nothing(
    similarity: Similarity, approximate: dict[Similarity, NeighbourSearch]
) -> None:
    rows = np.arange(100, 175)
    together = approximate[similarity].neighbours(rows, 50)

    for number in (0, 31, 32, 74):
        alone = approximate[similarity].neighbours(rows[[number]], 50)
        assert alone.indices.tolist() == together[[number]].indices.tolist()
        assert alone.data.tolist() == together[[number]].data.tolist()


def test_the_same_matrix_gives_the_same_neighbours(
    ratings: sparse.csr_matrix, approximate: dict[Similarity, NeighbourSearch]
) -> None:
    again = NeighbourSearch(ratings, "cosine", exact_rows=0)
    rows = np.arange(10)

    assert (again.neighbours(rows, 50) != approximate["cosine"].neighbours(rows, 50)).nnz == 0


def test_short_vectors_multiply_without_rounding() -> None:
    """Else who is a candidate would depend on how many are asked for at once."""
    assert DIMENSIONS * LARGEST**2 < 2**24


@pytest.mark.parametrize("exact_rows", [0, 10])
def test_few_rows_and_rows_alike(exact_rows: int) -> None:
    """More neighbours asked for than there are, a row without ratings, and nobody asked at all."""
    ratings = sparse.csr_matrix([[1.0, 2.0, 0], [1.0, 2.0, 0], [0, 0, 0], [0, 0, 3.0]])
    search = NeighbourSearch(ratings, "cosine", exact_rows=exact_rows)

    found = search.neighbours(np.arange(4), 9)

    np.testing.assert_allclose(found.toarray(), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], rtol=1e-12)
    assert search.neighbours(np.zeros(0, dtype=np.int64), 9).shape == (0, 4)


def test_of_equally_alike_ones_the_first_are_approximately_found() -> None:
    ratings = sparse.csr_matrix(np.tile([1.0, 2.0, 4.0], (6, 1)))

    assert NeighbourSearch(ratings, "cosine", exact_rows=0).neighbours(np.array([5]), 3).indices.tolist() == [0, 1, 2]
