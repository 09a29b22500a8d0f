"""What matters most to a model, on one whose weights are known."""

from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from recommender.ml import features as f
from recommender.ml import importance
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.algorithms.supervised import SupervisedAlgorithm
from recommender.ml.importance import measure_importance


class Known(SupervisedAlgorithm):
    """Its log-odds are twice the spend less half of the clicks."""

    name: ClassVar[str] = "known"

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        self.medians_ = np.zeros(len(f.FEATURES), dtype=np.float32)

    def _probability(self, X: np.ndarray) -> np.ndarray:
        columns = {name: X[:, f.FEATURES.index(name)].astype(np.float64) for name in ("spend", "clicks")}
        return 1 / (1 + np.exp(-(2 * columns["spend"] - columns["clicks"] / 2)))


class Offers:
    """Stands for a casebook: a campaign's offers have its number as their spend, and a click."""

    asked: list[int]

    def __init__(self) -> None:
        self.asked = []

    def described(self, inputs: object, campaign: int) -> pl.DataFrame:
        self.asked.append(campaign)
        rows = {feature: np.zeros(3, dtype=np.float32) for feature in f.FEATURES}
        rows["spend"], rows["clicks"] = np.full(3, campaign, dtype=np.float32), np.ones(3, dtype=np.float32)
        return pl.DataFrame(rows)


@pytest.fixture
def taught() -> Known:
    offers = Offers().described(None, 1)
    return Known().fit(offers, np.array([True, False, False]), np.zeros(3, dtype=np.int64), seed=0)


def test_a_group_weighs_what_it_moves_the_log_odds_by(taught: Known) -> None:
    found = measure_importance({"known": taught}, Offers(), [1, 2], seed=0)["known"]  # type: ignore[arg-type]
    assert list(found)[:2] == ["spend", "coupon habit"]
    assert found["spend"] == pytest.approx(3.0)  # the mean of 2 and 4
    assert found["coupon habit"] == pytest.approx(0.5)
    assert set(found) == set(f.GROUPS)
    assert sum(found.values()) == pytest.approx(3.5)


def test_a_sample_is_looked_at(taught: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "SAMPLE", 2)
    found = measure_importance({"known": taught}, Offers(), [1, 1], seed=0)  # type: ignore[arg-type]
    assert found["known"]["spend"] == pytest.approx(2.0)


def test_nothing_is_described_for_models_that_do_not_learn_from_features() -> None:
    offers = Offers()
    untaught = Known().fit(offers.described(None, 1), np.zeros(3, dtype=bool), np.zeros(3, dtype=np.int64), seed=0)
    offers.asked.clear()
    found = measure_importance({"popularity": Popularity(), "known": untaught}, offers, [1], seed=0)  # type: ignore[arg-type]
    assert (found, offers.asked) == ({}, [])


def test_without_offers_there_is_nothing(taught: Known) -> None:
    assert measure_importance({"known": taught}, Offers(), [], seed=0) == {}  # type: ignore[arg-type]
