"""What the made-up shops of all kinds have in common. What each is like, and what is true in it, is its own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from recommender.progress import Progress

#: The campaign that begins when history ends.
LIVE_CAMPAIGN = "live"
#: Of the order that ends it.
LAST_ORDER = "A0000000"
#: The day with which history ends unless told.
LAST_DAY = date(2026, 3, 31)


@dataclass(frozen=True)
class MadeUpShop(ABC):
    """A shop whose truth is known.

    Attributes:
        shoppers: how many there are.
        until: the moment at which history ends and the live campaign begins.
        seed: everything follows from it.
    """

    #: How many weeks history has.
    weeks: ClassVar[int]

    shoppers: int
    until: datetime
    seed: int = 0

    @classmethod
    def ending_with(cls, day: date | None, *, shoppers: int, seed: int) -> Self:
        """The shop whose history ends with a day; by UTC, as all that is made up."""
        return cls(shoppers, datetime.combine((day or LAST_DAY) + timedelta(days=1), time(), UTC), seed)

    def starts_at(self, week: float) -> datetime:
        """The moment at which a week of history begins."""
        return self.until - timedelta(weeks=self.weeks - week)

    @abstractmethod
    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        """Its export, by the names of the files."""

    @abstractmethod
    def true_probabilities(self) -> pl.DataFrame:
        """How likely each shopper uses each coupon of the live campaign: ``shopper_id``, ``coupon_id``, ``probability``
        and ``may_have``, false for what the rule of this kind of shop keeps back.

        No ranker that is given the history puts coupons in a better order than these probabilities do.
        """

    def write(self, folder: Path, progress: Progress = Progress()) -> dict[str, int]:
        """Write the shop's export as Parquet files; return the rows of each."""
        tables = self.tables(progress)
        for name, frame in tables.items():
            frame.write_parquet(folder / f"{name}.parquet", compression="lz4", statistics=False)
        return {name: frame.height for name, frame in tables.items()}


def truth_of(
    chances: np.ndarray, may_have: np.ndarray | None = None, coupon_ids: Sequence[str] | None = None
) -> pl.DataFrame:
    """What :meth:`MadeUpShop.true_probabilities` gives.

    Args:
        chances: (shoppers, coupons); they count for nothing where the shopper may not have the coupon.
        may_have: (shoppers, coupons) bool; None where everybody may have all.
        coupon_ids: of the columns, unless they are numbered from 0.
    """
    shoppers, coupons = chances.shape
    if may_have is None:
        may_have = np.ones_like(chances, dtype=bool)
    return pl.DataFrame(
        {
            "shopper_id": np.repeat(identifiers("S", np.arange(shoppers)), coupons),
            "coupon_id": np.tile(coupon_ids or identifiers("C", np.arange(coupons)), shoppers),
            "probability": np.where(may_have, chances, 0.0).ravel(),
            "may_have": may_have.ravel(),
        }
    )


def identifiers(prefix: str, numbers: np.ndarray) -> list[str]:
    """The shop's identifiers of what is numbered."""
    return [f"{prefix}{number:07}" for number in numbers]
