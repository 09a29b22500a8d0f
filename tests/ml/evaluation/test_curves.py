"""Curves of a handful of offers, known by hand, and of many, against scikit-learn."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import auc, roc_auc_score

from recommender.ml.evaluation.curves import POINTS, trace_curves


def frame(scores: list[float], labels: list[bool], algorithm: str = "one") -> pl.DataFrame:
    count = len(scores)
    return pl.DataFrame(
        {
            "algorithm": [algorithm] * count,
            "campaign": np.zeros(count, dtype=np.uint32),
            "shopper": np.arange(count, dtype=np.uint32),
            "coupon": np.zeros(count, dtype=np.uint32),
            "score": scores,
            "label": labels,
        }
    )


def test_the_points_are_those_of_the_definition() -> None:
    curves = trace_curves(frame([0.9, 0.8, 0.8, 0.1], [True, True, False, False]), resamples=10, seed=0)["one"]
    assert curves["roc"] == [[0.0, 0.0], [0.0, 0.5], [0.5, 1.0], [1.0, 1.0]]
    assert curves["precision_recall"] == [[0.5, 1.0], [1.0, 0.66667], [1.0, 0.5]]
    assert (curves["gain"][0], curves["gain"][-1], len(curves["gain"])) == ([0.0, 0.0], [1.0, 1.0], POINTS)
    # A quarter of the offers holds half of the used ones, the next two quarters the other half.
    assert curves["lift"] == pytest.approx([2, 2, 1.5, 1, 1, 1, 1, 0.5, 0, 0])


def test_equal_scores_are_one_step() -> None:
    curves = trace_curves(frame([0.5] * 4, [True, False, False, False]), resamples=10, seed=0)["one"]
    assert curves["roc"] == [[0.0, 0.0], [1.0, 1.0]]
    assert curves["lift"] == [1.0] * 10
    [[predicted, observed, *_interval]] = curves["calibration"]
    assert (predicted, observed) == (0.5, 0.25)


def test_few_points_hold_the_area_under_many() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random(20_000)
    labels = generator.random(20_000) < scores**3
    curves = trace_curves(frame(list(scores), list(labels)), resamples=10, seed=0)["one"]
    assert len(curves["roc"]) <= POINTS
    assert len(curves["precision_recall"]) <= POINTS
    assert curves["roc"][-1] == [1.0, 1.0]
    area = auc(*np.array(curves["roc"]).T)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=0.002)
    assert len(curves["calibration"]) == 10
    for predicted, observed, low, high in curves["calibration"]:
        assert None not in (predicted, observed)
        assert (low, high) == (None, None) or low <= observed <= high


def test_offers_of_one_kind_have_no_curves() -> None:
    with pytest.raises(ValueError, match="used and unused"):
        trace_curves(frame([0.5, 0.6], [False, False]), resamples=10, seed=0)
