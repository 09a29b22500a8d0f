"""The same list for everybody: what most shoppers buy. The bar that every personal algorithm has to clear."""

from typing import ClassVar, Self

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.algorithms.calibration import LogisticScale
from recommender.ml.contract import Algorithm, DescribedHistory, Inputs, Reason
from recommender.ml.history import History
from recommender.ml.product_sets import BUYERS, BUYERS_SHARE, RECENT_BUYERS_SHARE, SET, sets_of_coupons


class CouponPopularity(Inputs):
    """How many bought what a coupon is for, ever and lately."""

    name: ClassVar[str] = "popularity"
    columns: ClassVar[tuple[str, ...]] = (BUYERS, BUYERS_SHARE, RECENT_BUYERS_SHARE)

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _DescribedPopularity(history, coupons)


class _DescribedPopularity(DescribedHistory):
    def __init__(self, history: History, coupons: pl.Series) -> None:
        self._popularity = sets_of_coupons(history, coupons).popularity

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return pairs.join(self._popularity, left_on=c.COUPON, right_on=SET, how="left", maintain_order="left").select(
            pl.col(column).fill_null(0.0).cast(pl.Float32) for column in CouponPopularity.columns
        )


class Popularity(Algorithm):
    """Calibrated share of shoppers who bought what the coupon is for."""

    name: ClassVar[str] = "popularity"
    inputs: ClassVar[Inputs] = CouponPopularity()

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        self.scale_ = LogisticScale().fit(self._shares(examples), labels)
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        return self.scale_.probability(self._shares(inputs))

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        return [[{"kind": "popular", "shoppers": int(buyers)}] for buyers in inputs[BUYERS]]

    @staticmethod
    def _shares(inputs: pl.DataFrame) -> np.ndarray:
        # In hundredths, so that the logarithm that follows tells rare from very rare.
        return 100 * inputs.select(BUYERS_SHARE, RECENT_BUYERS_SHARE).to_numpy()
