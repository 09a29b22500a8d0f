"""Reading scores: what is refused, and that what is read does not depend on the order of rows."""

import numpy as np
import polars as pl
import pytest

from recommender.ml.evaluation.pairs import ScoresError, read_pairs, read_scores
from tests.ml.evaluation.frames import frame

PAIRS = frame((1, 5, 2, 0.2, 1), (0, 5, 1, 0.4, 0), (0, 3, 1, 0.3, 0), (0, 3, 0, 0.1, 1))


def scores(**frames: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        [one.select(pl.lit(name).alias("algorithm"), pl.all()) for name, one in frames.items()], how="vertical_relaxed"
    )


def test_pairs_are_ordered_and_numbered() -> None:
    pairs, by_algorithm = read_scores(scores(one=PAIRS, other=PAIRS.reverse()), seed=0)

    assert pairs.label.tolist() == [True, False, False, True]
    assert pairs.shopper.tolist() == [0, 0, 1, 1]
    assert pairs.shopper_count == 2
    assert pairs.coupon.tolist() == [0, 1, 1, 2]
    assert pairs.coupon_count == 3
    assert pairs.campaign_count == 2
    assert pairs.list_number.tolist() == [0, 0, 1, 2]
    assert pairs.list_start.tolist() == [0, 2, 3]
    assert {name: values.tolist() for name, values in by_algorithm.items()} == {
        "one": [0.1, 0.3, 0.4, 0.2],
        "other": [0.1, 0.3, 0.4, 0.2],
    }


def test_a_window_is_observed_whole_unless_said_otherwise() -> None:
    partly = PAIRS.with_columns(share=pl.when(campaign=0).then(0.25).otherwise(1.0))

    assert read_pairs(PAIRS, seed=0).observed_probabilities(np.array([0.4, 0.2, 0.8, 0.6])).tolist() == [
        0.4,
        0.2,
        0.8,
        0.6,
    ]
    found = read_pairs(partly, seed=0).observed_probabilities(np.array([0.4, 0.2, 0.8, 0.6]))
    assert found.tolist() == [0.1, 0.05, 0.2, 0.6]


def test_the_tie_breaker_depends_on_the_seed_and_the_pair_alone() -> None:
    whole, part = read_pairs(PAIRS, seed=4), read_pairs(PAIRS[1:3], seed=4)

    assert len(set(whole.tie_breaker.tolist())) == 4
    assert part.tie_breaker.tolist() == whole.tie_breaker[1:3].tolist()
    assert read_pairs(PAIRS, seed=5).tie_breaker.tolist() != whole.tie_breaker.tolist()
    assert read_pairs(PAIRS, seed=-1).tie_breaker.tolist() != whole.tie_breaker.tolist()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (scores(one=PAIRS).drop("score"), "no column score"),
        (scores(one=PAIRS).drop("coupon"), "no column coupon"),
        (scores(one=PAIRS).clear(), "no scores"),
        (
            scores(one=PAIRS.with_columns(score=pl.lit(None, pl.Float64))),
            "4 of 4 scores of one are not between 0 and 1",
        ),
        (scores(one=PAIRS.with_columns(score=pl.lit(float("nan")))), "4 of 4 scores of one are not between 0 and 1"),
        (scores(one=PAIRS.with_columns(score=pl.col("score") * 3)), "1 of 4 scores of one are not between 0 and 1"),
        (scores(one=PAIRS.with_columns(label=pl.lit(None, pl.Boolean))), "Column label of the pairs is empty in 4"),
        (scores(one=PAIRS.cast({"shopper": pl.String})), "Column shopper of the pairs is String"),
        (scores(one=pl.concat([PAIRS, PAIRS[:1]])), "1 of 5 pairs are there more than once"),
        (scores(one=PAIRS.with_columns(share=1.5)), "Column share of the pairs is not between 0 and 1 in 4 of 4 rows"),
        (scores(one=PAIRS.with_columns(share=-0.5)), "Column share of the pairs is not between 0 and 1 in 4"),
        (scores(one=PAIRS.with_columns(share=float("nan"))), "Column share of the pairs is not between 0 and 1 in 4"),
        (scores(one=PAIRS.with_columns(share=pl.lit(None, pl.Float64))), "Column share of the pairs is empty in 4"),
        (
            scores(one=PAIRS.with_columns(share=1.0), other=PAIRS.with_columns(share=0.5)),
            "other has other pairs, labels or shares",
        ),
        (scores(one=PAIRS, other=PAIRS[:3]), r"other has other pairs, labels or shares \(3 rows\) than one \(4 rows\)"),
        (
            scores(one=PAIRS, other=PAIRS.with_columns(label=~pl.col("label"))),
            "other has other pairs, labels or shares",
        ),
    ],
)
def test_bad_scores_are_refused(bad: pl.DataFrame, message: str) -> None:
    with pytest.raises(ScoresError, match=message):
        read_scores(bad, seed=0)
