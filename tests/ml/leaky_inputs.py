"""Inputs that know what they must not: what the leak check is there to catch."""

from datetime import timedelta
from typing import ClassVar, Self

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recommender.ml.algorithms import Algorithm
from recommender.ml.contract import DescribedHistory, Inputs, Reason
from recommender.ml.history import History
from tests.ml.shops import CAMPAIGN_DAYS

HONEST = ("orders_before", "redemptions_before")
LEAKY = ("lines_whenever", "lines_until_and_at", "used_in_the_campaign", "popular_whenever", "events_whenever")


class LeakyInputs(Inputs):
    """Two honest columns between those that leak, each in a way of its own."""

    name: ClassVar[str] = "leaky"
    columns: ClassVar[tuple[str, ...]] = (HONEST[0], *LEAKY, HONEST[1])

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _Described(history, self.columns)


class HonestInputs(LeakyInputs):
    """The honest columns alone."""

    name: ClassVar[str] = "honest"
    columns: ClassVar[tuple[str, ...]] = HONEST


class _Described(DescribedHistory):
    def __init__(self, history: History, columns: tuple[str, ...]) -> None:
        shop, moment = history.snapshot, history.moment
        lines, redemptions = shop.scan("order_lines"), shop.scan("redemptions")
        self._columns = columns
        self._counts: dict[str, tuple[list[str], pl.LazyFrame]] = {
            "orders_before": (["shopper"], history.scan("orders")),
            "redemptions_before": (["shopper"], history.scan("redemptions")),
            "lines_whenever": (["shopper"], lines),
            "lines_until_and_at": (["shopper"], lines.filter(pl.col("ordered_at") <= moment)),
            "used_in_the_campaign": (
                ["shopper", "coupon"],
                redemptions.filter(pl.col("redeemed_at").is_between(moment, moment + timedelta(days=CAMPAIGN_DAYS))),
            ),
            "popular_whenever": (
                ["coupon"],
                lines.select("product").join(shop.scan("coupon_products"), on="product"),
            ),
            "events_whenever": (["shopper"], shop.scan("events")),
        }

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        frame = pairs.select("shopper", "coupon")
        for column in self._columns:
            key, rows = self._counts[column]
            counted = rows.group_by(key).agg(pl.len().alias(column)).collect()
            frame = frame.join(counted, on=key, how="left", maintain_order="left")
        return frame.select(pl.col(column).fill_null(0).cast(pl.Float32) for column in self._columns)


class LogisticOnHonest(Algorithm):
    """A plain logistic regression, which takes inputs of any kind."""

    name: ClassVar[str] = "logistic_on_honest"
    inputs: ClassVar[Inputs] = HonestInputs()

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        self.model_ = None
        if labels.any() and not labels.all():
            self.model_ = make_pipeline(StandardScaler(), LogisticRegression()).fit(examples.to_numpy(), labels)
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        return np.zeros(len(inputs)) if self.model_ is None else self.model_.predict_proba(inputs.to_numpy())[:, 1]

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        raise NotImplementedError


class LogisticOnLeaky(LogisticOnHonest):
    name: ClassVar[str] = "logistic_on_leaky"
    inputs: ClassVar[Inputs] = LeakyInputs()
