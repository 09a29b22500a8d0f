"""Rows grouped by two numbers each, as the cells of a table are."""

import numpy as np
import polars as pl
from scipy import sparse


class Cells:
    """The pairs of numbers that rows have, and sums over the rows of each.

    Sums add one row after the other, in the order of the rows. Those of a group in polars differ in their last digits
    with how its rows happen to be divided among threads, and what is equal would not stay equal.

    Args:
        first: n numbers of a snapshot (UInt32), which count from 0: memory grows with the largest.
        second: n more.

    Attributes:
        first: (cells,), sorted, UInt32.
        second: (cells,), sorted where the first are equal, UInt32.
        counts: (cells,), how many rows each has.
    """

    def __init__(self, first: pl.Series, second: pl.Series) -> None:
        firsts, seconds = first.to_numpy(), second.to_numpy()
        order = _ordered(_ordered(np.arange(len(firsts)), seconds), firsts)
        firsts, seconds = firsts[order], seconds[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (firsts[1:] != firsts[:-1]) | (seconds[1:] != seconds[:-1])
        self._cell_of = np.empty(len(order), dtype=np.int64)
        self._cell_of[order] = np.cumsum(begins) - 1
        self.first, self.second = firsts[begins], seconds[begins]
        self.counts = np.diff(np.flatnonzero(begins), append=len(order)).astype(np.float64)

    def sums(self, values: pl.Series) -> np.ndarray:
        """(cells,): the sum of n values by cell."""
        sums = np.bincount(self._cell_of, weights=values.to_numpy(), minlength=len(self.counts))
        return sums.astype(np.float64, copy=False)  # of no rows they are integers

    def least(self, values: pl.Series) -> np.ndarray:
        """(cells,): the least of n values by cell."""
        found = np.full(len(self.counts), np.inf)
        np.minimum.at(found, self._cell_of, values.to_numpy())
        return found


def _ordered(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Rows by the number that each has; those of equal numbers stay as they stand. By counting, not by comparing: time
    grows with the rows, as it does where scipy turns rows of a matrix into columns."""
    its_numbers = numbers[rows]
    matrix = sparse.csr_matrix((rows, its_numbers, [0, len(rows)]), shape=(1, int(its_numbers.max(initial=0)) + 1))
    return matrix.tocsc().data
