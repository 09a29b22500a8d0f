"""The table that people read."""

from pathlib import Path

import polars as pl
import pytest

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.reliability import Decile
from recommender.ml.evaluation.slices import Slice
from recommender.ml.evaluation.table import render_by_kind, render_reliability, render_slices, render_table
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


def test_reliability_to_the_letter() -> None:
    deciles = (
        Decile(pairs=2000, redemptions=0, predicted=0.0001234, observed=Estimate(0.0, None, None)),
        Decile(pairs=2, redemptions=1, predicted=0.4, observed=Estimate(0.5, 0.0, 1.0)),
    )
    lines = render_reliability(comparison((1, 0, 0, 1)), {"user_cf": deciles}).splitlines()

    assert lines[3:7] == [
        "| Algorithm  |          Calibration error | Expected redemptions | Used |",
        "| ---------- | -------------------------: | -------------------: | ---: |",
        "| popularity | 0.00000 [0.00000, 0.00000] |       2.0 [2.0, 2.0] |    2 |",
        "| user_cf    | 0.15000 [0.10000, 0.20000] |       2.0 [2.0, 2.0] |    2 |",
    ]
    assert lines[8].startswith("The pairs in ten equal parts by the probability from user_cf; equal ones stay together")
    assert lines[10:] == [
        "| Part | Pairs | Used | Mean probability, % |           Share used, % |",
        "| ---- | ----: | ---: | ------------------: | ----------------------: |",
        "| 1    | 2,000 |    0 |               0.012 |                   0.000 |",
        "| 2    |     2 |    1 |              40.000 | 50.000 [0.000, 100.000] |",
    ]


def test_slices_to_the_letter() -> None:
    few = Slice("light buyers", comparison((1, 0, 0, 1)), candidate="user_cf", baseline="popularity")
    enough = Slice("campaigns: A", many(worse=True), candidate="user_cf", baseline="popularity")
    lines = render_slices([few, enough]).splitlines()

    assert lines[0] == (
        "| Slice        | Pairs | Used | ROC-AUC, user_cf | ROC-AUC, popularity | PR-AUC, user_cf | PR-AUC, popularity "
        "| NDCG@10, user_cf | NDCG@10, popularity |"
    )
    assert lines[2] == (
        "| light buyers |     4 |    2 |            1.000 |               0.500 |          1.0000 |             0.5000 "
        "|            1.000 |               0.815 |"
    )
    assert lines[3].startswith("| campaigns: A |    80 |   40 |            0.000 |               1.000 |")
    assert lines[5] == (
        "By how much the user_cf is better than popularity, with the paired 95 % interval from 20 resamples of the "
        "slice's shoppers:"
    )
    assert lines[9].startswith("| light buyers | +0.500 [+0.500, +0.500] | +0.5000 [+0.5000, +0.5000] |")
    assert lines[9].endswith("| not judged: too few used |")
    assert lines[10].startswith("| campaigns: A | -1.000 [-1.000, -1.000] |")
    assert lines[10].endswith("|      significantly worse |")
    assert lines[-1] == (
        "Not better than popularity: campaigns: A. Without a pair: new shoppers, heavy buyers, coupon-averse shoppers, "
        "new coupons, narrow coupons, broad coupons."
    )


def test_each_kind_has_the_main_table() -> None:
    one, other = comparison((1, 0, 0, 1)), many(worse=False)
    lines = render_by_kind({"Type A": one, "Type B": other}).splitlines()

    assert lines[:9] == ["**Type A**", "", *render_table(one).splitlines()[:7]]
    assert lines[9:] == ["", "**Type B**", "", *render_table(other).splitlines()[:7]]


def test_no_slice_is_weak_and_none_at_all() -> None:
    better = Slice("campaigns: A", many(worse=False), candidate="user_cf", baseline="popularity")

    assert "Not better than popularity: no slice that is judged." in render_slices([better])
    assert render_slices([]) == "No slice has a pair.\n"


def many(*, worse: bool) -> Comparison:
    """Forty shoppers use one of two coupons each; one algorithm knows which, the other says the contrary."""
    rows = frame(*((0, shopper, coupon, 0.0, coupon) for shopper in range(40) for coupon in range(2))).drop("score")
    chance = pl.col("label").cast(pl.Float64)
    knowing, contrary = ("popularity", "user_cf") if worse else ("user_cf", "popularity")
    scores = [
        rows.with_columns(pl.lit(knowing).alias("algorithm"), score=chance),
        rows.with_columns(pl.lit(contrary).alias("algorithm"), score=1 - chance),
    ]
    return compare(pl.concat(scores), dict.fromkeys(("user_cf", "popularity"), 0.5), resamples=20, seed=0)
