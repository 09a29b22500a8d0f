"""Algorithms side by side: figures, intervals, paired differences."""

import json
import math

import numpy as np
import polars as pl
import pytest

from recommender.ml.evaluation.bootstrap import Estimate, draw_weights
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.metrics import METRICS
from recommender.progress import Cancelled, Progress
from tests.ml.evaluation.frames import frame, measure

THRESHOLDS = {"good": 0.5, "poor": 0.4, "random": 0.6}


def scores(shoppers: int = 60, coupons: int = 15) -> pl.DataFrame:
    """Scores of three algorithms: one that knows, one that knows a little, one that knows nothing."""
    random = np.random.default_rng(0)
    shopper, coupon = np.repeat(np.arange(shoppers), coupons), np.tile(np.arange(coupons), shoppers)
    truth = random.random(shoppers * coupons)
    label = random.random(len(truth)) < truth**3
    noise = random.random(len(truth))
    return pl.concat(
        pl.DataFrame(
            {
                "algorithm": name,
                "campaign": shopper % 2,
                "shopper": shopper,
                "coupon": coupon,
                "score": share * truth + (1 - share) * noise,
                "label": label,
            }
        )
        for name, share in (("poor", 0.3), ("good", 0.9), ("random", 0.0))
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(scores(), THRESHOLDS, resamples=200, seed=1)


def test_every_figure_of_every_algorithm(comparison: Comparison) -> None:
    assert list(comparison.estimates) == ["good", "poor", "random"]
    for algorithm, estimates in comparison.estimates.items():
        expected = measure(scores().filter(pl.col("algorithm") == algorithm), threshold=THRESHOLDS[algorithm], seed=1)
        assert {name: found.value for name, found in estimates.items()} == expected
        for name, found in estimates.items():
            if METRICS[name].resampled:
                assert found.low <= found.value <= found.high
                assert found.low < found.high
            else:
                assert (found.low, found.high) == (None, None)
    assert (comparison.pair_count, comparison.shopper_count, comparison.campaign_count) == (900, 60, 2)
    assert comparison.redemption_count == comparison.estimates["good"]["redemptions"].value


def test_an_interval_is_that_of_resampled_rows() -> None:
    """The draws are the metric of the frames in which each shopper is repeated as often as drawn."""
    good = scores(shoppers=6).filter(pl.col("algorithm") == "good")
    comparison = compare(good, THRESHOLDS, resamples=5, seed=3)
    (weights,) = draw_weights(6, resamples=5, seed=3)

    for resample in range(5):
        rows = pl.concat(
            good.filter(pl.col("shopper") == shopper).with_columns(shopper=pl.lit(100 * shopper + copy))
            for shopper in range(6)
            for copy in range(int(weights[shopper, resample]))
        )
        expected = measure(rows, threshold=0.5)
        for name in set(METRICS) - {"calibration_error"}:  # its bins belong to the original scores
            assert comparison.draws["good"][name][resample] == pytest.approx(expected[name])


def test_the_seed_decides(comparison: Comparison) -> None:
    again = compare(scores().reverse(), THRESHOLDS, resamples=200, seed=1)
    other = compare(scores(), THRESHOLDS, resamples=200, seed=2)

    assert again.estimates == comparison.estimates
    assert other.estimates["good"]["roc_auc"].value == comparison.estimates["good"]["roc_auc"].value
    assert other.estimates["good"]["roc_auc"].low != comparison.estimates["good"]["roc_auc"].low


def test_differences_are_paired(comparison: Comparison) -> None:
    better = comparison.difference("good", "poor", "roc_auc")
    good, poor = (comparison.estimates[name]["roc_auc"] for name in ("good", "poor"))

    assert better.value == good.value - poor.value
    assert 0 < better.low < better.value < better.high
    assert comparison.difference("good", "good", "roc_auc") == Estimate(0.0, 0.0, 0.0)
    unpaired = math.hypot(good.high - good.low, poor.high - poor.low)
    assert comparison.difference("good", "poor", "log_loss").high < 0
    assert better.high - better.low < 1.2 * unpaired


def test_ranked_by_what_is_better(comparison: Comparison) -> None:
    assert comparison.ranked("roc_auc") == ["good", "poor", "random"]
    assert comparison.ranked("log_loss") == ["good", "poor", "random"]
    for name in ("expected_redemptions", "charm"):
        with pytest.raises(ValueError, match=f"'{name}' does not say which algorithm is better; expected one of roc_"):
            comparison.ranked(name)


def test_figures_are_json(comparison: Comparison) -> None:
    figures = comparison.figures("good")
    assert figures["roc_auc"] == {
        "value": comparison.estimates["good"]["roc_auc"].value,
        "low": comparison.estimates["good"]["roc_auc"].low,
        "high": comparison.estimates["good"]["roc_auc"].high,
    }
    assert json.loads(json.dumps(comparison.as_json(), allow_nan=False)) == comparison.as_json()
    assert comparison.as_json()["pairs"] == 900


def test_nothing_redeemed_is_undefined_and_not_wrong() -> None:
    pairs = frame((0, 0, 0, 0.1, 0), (0, 0, 1, 0.2, 0), (0, 1, 0, 0.3, 0)).with_columns(algorithm=pl.lit("one"))
    comparison = compare(pairs, {"one": 0.5}, resamples=10, seed=0)

    assert comparison.estimates["one"]["roc_auc"] == Estimate(None, None, None)
    assert comparison.estimates["one"]["accuracy"] == Estimate(1.0, 1.0, 1.0)
    assert comparison.difference("one", "one", "roc_auc") == Estimate(None, None, None)
    assert json.dumps(comparison.as_json(), allow_nan=False)


def test_one_shopper_has_intervals_without_width() -> None:
    pairs = frame((0, 0, 0, 0.1, 0), (0, 0, 1, 0.2, 1)).with_columns(algorithm=pl.lit("one"))
    comparison = compare(pairs, {"one": 0.5}, resamples=10, seed=0)

    assert comparison.estimates["one"]["roc_auc"] == Estimate(1.0, 1.0, 1.0)


def test_a_missing_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="There is no threshold for poor, random"):
        compare(scores(), {"good": 0.5}, resamples=10, seed=0)


def test_it_says_how_far_it_is_and_can_be_stopped() -> None:
    class Watch(Progress):
        said: list[tuple[str, int, int | None]] = []

        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            self.said.append((message, done, total))
            if message.startswith("Resampling"):
                raise Cancelled

    with pytest.raises(Cancelled):
        compare(scores(), THRESHOLDS, resamples=10, seed=0, progress=Watch())
    assert Watch.said == [("Measuring the algorithms", n, 3) for n in range(3)] + [("Resampling the shoppers", 0, 30)]
