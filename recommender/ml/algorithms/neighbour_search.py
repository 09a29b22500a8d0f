"""The most alike rows of a sparse matrix of ratings: exact up to :data:`EXACT_ROWS` rows, approximate beyond.

To be exact, every two rows that share a column must be compared, so asking for everybody's neighbours grows with the
square of the rows. Beyond the stated size a truncated singular value decomposition (Halko et al. 2011) gives each row a
short vector whose inner products come near the similarities. The :data:`CANDIDATES` rows that are nearest by these
vectors are compared exactly, so that only who is missing is approximate, never how alike somebody is.
``python -m tests.load.neighbours`` measures what is missing, and the time and memory of both.
"""

from typing import Literal

import numpy as np
from joblib import cpu_count
from scipy import sparse
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from sparse_dot_topn import sp_matmul_topn

Similarity = Literal["cosine", "pearson"]
SIMILARITIES: tuple[Similarity, ...] = ("cosine", "pearson")

#: About where the approximate search becomes the cheaper one. Of generated shoppers with 77 products each, a shopper's
#: neighbours by cosine took 2 ms of processor time exactly and 5 ms approximately among 100,000, and 56 ms and 30 ms
#: among a million.
EXACT_ROWS = 250_000
#: Of the exact 50 nearest among a million, 4,000 candidates hold 92 % by cosine and 95 % by Pearson; 1,000 hold 83 % by
#: cosine.
CANDIDATES = 4_000
DIMENSIONS = 128
#: Rows that the decomposition is learned from: many times its dimensions, and seconds whatever the size of the shop.
SAMPLED_ROWS = 16_000
#: Rows asked for at once: what bounds the memory of their products with all rows.
BLOCK_ROWS = 32
#: The largest number in a row's short vector. Products of such whole numbers add up without rounding in 32-bit floats
#: (DIMENSIONS · 127² < 2²⁴), in whatever order they are added: who is a candidate does not depend on who else is asked.
LARGEST = 127
#: What a mean of logarithms may be off by.
ROUNDING = 1e-9


class NeighbourSearch:
    """Finds the rows of a matrix that are most like some of its own rows.

    Args:
        ratings: (m, f), positive cells are ratings, empty ones unknown.
        similarity: ``cosine``, or ``pearson`` with each row's mean taken over its known cells.
        exact_rows: with more rows than this the search is approximate.
    """

    def __init__(self, ratings: sparse.csr_matrix, similarity: Similarity, *, exact_rows: int = EXACT_ROWS) -> None:
        self._directions = directions(ratings, similarity)
        self.is_exact = ratings.shape[0] <= exact_rows
        if self.is_exact:
            self._by_column = self._directions.T.tocsr()
        else:
            self._short = _short_vectors(self._directions)

    def neighbours(self, rows: np.ndarray, k: int) -> sparse.csr_matrix:
        """(len(rows), m), at most k positive cells a row: the similarities, in (0, 1].

        Each row finds itself too, where it has a direction. What a row finds depends on that row and the matrix alone;
        of approximate neighbours that are equally alike the first rows are kept.
        """
        if self.is_exact:
            return _top(self._directions[rows], self._by_column, k)
        found = [
            self._neighbours_among(row, candidates, k)
            for start in range(0, len(rows), BLOCK_ROWS)
            for row, candidates in self._candidates(rows[start : start + BLOCK_ROWS], max(k, CANDIDATES))
        ]
        counts = [len(columns) for columns, _ in found]
        return sparse.csr_matrix(
            (
                np.concatenate([np.zeros(0), *(similarities for _, similarities in found)]),
                np.concatenate([np.zeros(0, dtype=np.int64), *(columns for columns, _ in found)]),
                np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            ),
            shape=(len(rows), self._directions.shape[0]),
        )

    def _candidates(self, rows: np.ndarray, count: int) -> list[tuple[int, np.ndarray]]:
        """Each row with the rows nearest by the short vectors: ``count``, and whoever is as near as the last."""
        nearness = self._short[rows] @ self._short.T
        count = min(count, nearness.shape[1])
        least = np.maximum(np.partition(nearness, -count, axis=1)[:, -count], 1)  # orthogonal is not near
        return [(row, np.flatnonzero(near >= bar)) for row, near, bar in zip(rows, nearness, least, strict=True)]

    def _neighbours_among(self, row: int, candidates: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similarities = self._directions[candidates] @ self._directions[row].toarray().ravel()
        nearest = np.argsort(-similarities, kind="stable")[:k]
        nearest = nearest[similarities[nearest] > 0]
        return candidates[nearest], similarities[nearest]


def top_neighbours(
    ratings: sparse.csr_matrix, others: sparse.csr_matrix, similarity: Similarity, k: int
) -> sparse.csr_matrix:
    """The k rows of ``others`` most like each row of ``ratings``, exactly.

    Args:
        ratings: (n, f), positive cells are ratings, empty ones unknown.
        others: (m, f).
        similarity: as of :class:`NeighbourSearch`.
        k: neighbours a row, the row itself included where it is among the others.

    Returns:
        (n, m), at most k positive cells a row: the similarities, in (0, 1].
    """
    return _top(directions(ratings, similarity), directions(others, similarity).T.tocsr(), k)


def directions(ratings: sparse.csr_matrix, similarity: Similarity) -> sparse.csr_matrix:
    """Rows of length 1 whose inner products are the similarities; a row without a direction is all 0."""
    return normalize(_less_row_mean(ratings) if similarity == "pearson" else ratings)


def _top(rows: sparse.csr_matrix, columns: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    return sp_matmul_topn(rows, columns, top_n=k, threshold=0.0, sort=True, n_threads=cpu_count())


def _less_row_mean(ratings: sparse.csr_matrix) -> sparse.csr_matrix:
    counts = np.diff(ratings.indptr)
    means = np.asarray(ratings.sum(axis=1)).ravel() / np.maximum(counts, 1)
    centred = ratings.copy()
    centred.data = centred.data - np.repeat(means, counts)
    centred.data[np.abs(centred.data) < ROUNDING] = 0.0  # equal cells have no direction, whatever their mean rounds to
    return centred


def _short_vectors(rows: sparse.csr_matrix) -> np.ndarray:
    """(m, at most :data:`DIMENSIONS`) whole numbers up to :data:`LARGEST` as 32-bit floats."""
    random = np.random.default_rng(0)
    sample = rows[np.sort(random.choice(rows.shape[0], min(SAMPLED_ROWS, rows.shape[0]), replace=False))]
    _, _, components = randomized_svd(sample, min(DIMENSIONS, *sample.shape), n_iter=2, random_state=0)
    components = np.ascontiguousarray(components.T)
    short = np.empty((rows.shape[0], components.shape[1]), dtype=np.float32)
    for start in range(0, len(short), SAMPLED_ROWS):
        short[start : start + SAMPLED_ROWS] = rows[start : start + SAMPLED_ROWS] @ components
    short *= LARGEST / max(short.max(), -short.min(), ROUNDING)
    return np.rint(short, out=short)
