"""What only some kinds of shop tell of coupons, as features of pairs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import polars as pl

from recommender.ml.by_shopper import all_pairs


class OfKindOfShop(ABC):
    """Features that come of what a kind of shop tells besides.

    Attributes:
        unknown: by column, what a pair has of which nothing is told.
        sketched: the columns that the choice of pairs that are worth scoring looks at.
        any: whether the shop tells anything of it: if not, all pairs have what ``unknown`` says.
    """

    unknown: ClassVar[Mapping[str, float]]
    sketched: ClassVar[tuple[str, ...]]
    any: bool

    @abstractmethod
    def _describe(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.DataFrame:
        """As :meth:`describe`, of a shop that tells of it."""

    def describe(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.DataFrame:
        """The columns of :attr:`unknown` of pairs, n rows in their order.

        Args:
            pairs: columns ``shopper`` and ``coupon``.
            shoppers: those of the pairs.
        """
        if self.any:
            return self._describe(pairs, shoppers)
        return pairs.select(pl.repeat(value, pl.len()).alias(name) for name, value in self.unknown.items())

    def tables(self, shoppers: pl.Series, coupons: pl.Series) -> dict[str, np.ndarray]:
        """(shoppers, coupons) by name: what a sketch of all pairs has to tell of it; nothing where the shop does not.

        Args:
            shoppers: sorted, none twice.
            coupons: likewise.
        """
        if not self.any:
            return {}
        described = self._describe(all_pairs(shoppers, coupons), shoppers)
        shape = len(shoppers), len(coupons)
        return {column.name: column.to_numpy().reshape(shape) for column in self._sketch(described)}

    def _sketch(self, described: pl.DataFrame) -> pl.DataFrame:
        return described.select(self.sketched)
