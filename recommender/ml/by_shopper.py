"""Rows of a few shoppers, found without a look at those of all others."""

import numpy as np
import polars as pl

from recommender.ml import columns as c


class ByShopper:
    """A frame whose rows are looked up by shopper. What joins cost grows with the frame, and there are many blocks of
    shoppers: this costs what is found.

    Args:
        frame: has a column ``shopper``. Rows of a shopper keep their order.

    Attributes:
        shoppers: those who have any row, sorted.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        numbers = frame[c.SHOPPER].to_numpy()
        self._order: np.ndarray | None = None
        if (numbers[1:] < numbers[:-1]).any():
            self._order = np.argsort(numbers, kind="stable").astype(np.uint32)
            numbers = numbers[self._order]
        is_first = np.ones(len(numbers), dtype=bool)
        is_first[1:] = numbers[1:] != numbers[:-1]
        firsts = np.flatnonzero(is_first)
        self._numbers = numbers[firsts]
        self._ends = np.append(firsts, len(numbers))  # where the rows of each begin, and where all end
        self.shoppers = pl.Series(c.SHOPPER, self._numbers)

    def of(self, shoppers: pl.Series) -> pl.DataFrame:
        """The rows of these shoppers, sorted by shopper. Who has none is left out."""
        asked = np.unique(shoppers.to_numpy())
        places = self._numbers.searchsorted(asked)
        known = places < len(self._numbers)
        places = places[known][self._numbers[places[known]] == asked[known]]
        begins, counts = self._ends[places], self._ends[places + 1] - self._ends[places]
        rows = np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return self._frame[rows if self._order is None else self._order[rows]]


def all_pairs(shoppers: pl.Series, coupons: pl.Series) -> pl.DataFrame:
    """Every one of the shoppers with every coupon, a shopper after the other."""
    return pl.DataFrame(
        {
            c.SHOPPER: shoppers.gather(np.repeat(np.arange(len(shoppers)), len(coupons))),
            c.COUPON: coupons.gather(np.tile(np.arange(len(coupons)), len(shoppers))),
        }
    )
