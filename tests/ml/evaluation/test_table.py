"""The table that people read."""

from pathlib import Path

import polars as pl
import pytest

from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.table import render_table
from tests.ml.evaluation.frames import frame


def comparison(labels: tuple[int, int, int, int]) -> Comparison:
    rows = frame(*((0, shopper, coupon, 0.0, 0) for shopper in range(2) for coupon in range(2))).drop("score", "label")
    scores = {"user_cf": (0.9, 0.1, 0.2, 0.8), "popularity": (0.5, 0.5, 0.5, 0.5)}
    algorithms = [
        rows.select(
            pl.lit(name).alias("algorithm"), pl.all(), pl.Series("score", values), pl.Series("label", labels) > 0
        )
        for name, values in scores.items()
    ]
    return compare(pl.concat(algorithms), {"user_cf": 0.3, "popularity": 0.51234}, resamples=20, seed=0)


def test_a_table_to_the_letter() -> None:
    """The redeemed pairs have the two best of user_cf's scores; all of popularity's scores are equal."""
    expected = Path(__file__).with_name("expected_table.md").read_text(encoding="utf-8")

    assert render_table(comparison((1, 0, 0, 1))) == expected


def test_what_is_undefined_is_a_dash() -> None:
    lines = render_table(comparison((0, 0, 0, 0))).splitlines()

    assert lines[0] == "Campaigns: 1 · shoppers: 2 · pairs: 4 · redeemed: 0"
    assert [cell.strip() for cell in lines[5].split("|")[1:-1]] == ["popularity", "–", "–", "–", "–"]
    assert 'Always answering "not redeemed" has an accuracy of 1.0000.' in lines[-2] + lines[-3]


def test_rows_of_a_table_are_equally_wide() -> None:
    lines = render_table(comparison((1, 0, 0, 0)), sort_by="log_loss").splitlines()
    tables = "\n".join(line if line.startswith("|") else "" for line in lines).strip("\n").split("\n\n")

    assert len(tables) == 3
    for table in tables:
        assert len({len(line) for line in table.splitlines()}) == 1
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_sorting_by_no_measure_of_quality_is_refused() -> None:
    with pytest.raises(ValueError, match="'redemptions' does not say"):
        render_table(comparison((1, 0, 0, 1)), sort_by="redemptions")
