"""Rows grouped by two numbers each, as the cells of a table are."""

import numpy as np
import polars as pl


class Cells:
    """The pairs of numbers that rows have, and sums over the rows of each.

    Sums add one row after the other, in the order of the rows. Those of a group in polars differ in their last digits
    with how its rows happen to be divided among threads, and what is equal would not stay equal.

    Args:
        first: n numbers, each below 2 ** 32.
        second: n more.

    Attributes:
        first: (cells,), sorted, UInt32.
        second: (cells,), sorted where the first are equal, UInt32.
        counts: (cells,), how many rows each has.
    """

    def __init__(self, first: pl.Series, second: pl.Series) -> None:
        both = (first.cast(pl.UInt64) * 2**32 + second.cast(pl.UInt64)).to_frame("both").with_row_index("row")
        ordered = both.sort("both")
        cells = ordered["both"].to_numpy()
        begins = np.ones(len(cells), dtype=bool)
        np.not_equal(cells[1:], cells[:-1], out=begins[1:])
        self._cell_of = np.empty(len(cells), dtype=np.int64)
        self._cell_of[ordered["row"].to_numpy()] = np.cumsum(begins) - 1
        self.first = (cells[begins] // 2**32).astype(np.uint32)
        self.second = (cells[begins] % 2**32).astype(np.uint32)
        self.counts = np.diff(np.flatnonzero(begins), append=len(cells)).astype(np.float64)

    def sums(self, values: pl.Series) -> np.ndarray:
        """(cells,): the sum of n values by cell."""
        return np.bincount(self._cell_of, weights=values.to_numpy(), minlength=len(self.counts))

    def least(self, values: pl.Series) -> np.ndarray:
        """(cells,): the least of n values by cell."""
        found = np.full(len(self.counts), np.inf)
        np.minimum.at(found, self._cell_of, values.to_numpy())
        return found
