"""Figures are drawn from whatever was compared, as PNG and as SVG."""

import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.figure import draw_comparison, draw_reliability
from recommender.ml.evaluation.reliability import measure_reliability

PERIOD = (datetime(2017, 9, 4, tzinfo=UTC), datetime(2017, 12, 28, tzinfo=UTC))


def scores(algorithms: int, redeemed: float) -> pl.DataFrame:
    random = np.random.default_rng(0)
    label = random.random(300) < redeemed
    return pl.concat(
        pl.DataFrame(
            {
                "algorithm": f"algorithm_{number}",
                "campaign": np.arange(300) // 150,
                "shopper": np.arange(300) // 10 % 20,
                "coupon": np.arange(300) % 10,
                "score": np.zeros(300) if number == 1 else random.random(300),
                "label": label,
            }
        )
        for number in range(algorithms)
    )


def compared(frame: pl.DataFrame) -> Comparison:
    return compare(frame, dict.fromkeys(frame["algorithm"].unique(), 0.5), resamples=20, seed=0)


@pytest.mark.parametrize(("algorithms", "redeemed"), [(1, 1.0), (10, 0.3), (2, 0.0)])
def test_figures_of_any_comparison_without_a_warning(tmp_path: Path, algorithms: int, redeemed: float) -> None:
    frame = scores(algorithms, redeemed)
    comparison = compared(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_comparison(comparison, tmp_path / "comparison.png", champion="algorithm_0", period=PERIOD)
        draw_reliability(
            measure_reliability(frame, resamples=20, seed=0),
            comparison,
            tmp_path / "reliability.png",
            champion="algorithm_0",
            period=PERIOD,
        )

    for name in ("comparison.png", "reliability.png"):
        assert imread(tmp_path / name).shape[1] == 1920
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.png", "reliability.png"]


def test_what_is_compared_stands_in_the_figure(tmp_path: Path) -> None:
    frame = scores(3, 0.2)
    path = tmp_path / "comparison.svg"
    path.write_text("an older figure")
    draw_comparison(compared(frame), path, champion="algorithm_2", period=PERIOD)

    drawn = path.read_text()
    redeemed = frame["label"].sum() // 3
    for text in (
        "Campaigns: 2 (4 September 2017 to 28 December 2017) · "
        f"pairs of shopper and coupon: 300 · redeemed: {redeemed}",
        "Orange: the champion.",
        "algorithm 0",
        "ROC-AUC",
        "Recall@10",
    ):
        assert f">{text}" in drawn or f" {text}" in drawn


def test_reliability_says_whose_probabilities_and_how_far_they_are_off(tmp_path: Path) -> None:
    frame = scores(2, 0.2).filter(algorithm="algorithm_0")
    path = tmp_path / "reliability.svg"
    comparison = compared(frame)
    draw_reliability(measure_reliability(frame, resamples=20, seed=0), comparison, path, period=PERIOD)

    drawn = path.read_text()
    error = comparison.estimates["algorithm_0"]["calibration_error"]
    for text in (
        "algorithm 0",
        f"calibration error {error.value:.5f} [{error.low:.5f}, {error.high:.5f}]",
        "Campaigns: 2 (4 September 2017 to 28 December 2017)",
        "mean probability",
        "share used",
        "10 %",
    ):
        assert text in drawn


def test_another_format_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="txt"):
        draw_comparison(compared(scores(2, 0.2)), tmp_path / "comparison.txt")
    assert list(tmp_path.iterdir()) == []
