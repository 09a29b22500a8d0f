"""Reliability by decile: worked by hand, and consistent with the calibration error."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.pairs import ScoresError
from recommender.ml.evaluation.reliability import Decile, measure_reliability
from tests.ml.evaluation.frames import frame, frames, measure


def named(pairs: pl.DataFrame, name: str = "one") -> pl.DataFrame:
    return pairs.with_columns(algorithm=pl.lit(name))


def deciles(pairs: pl.DataFrame, resamples: int = 40) -> tuple[Decile, ...]:
    return measure_reliability(named(pairs), resamples=resamples, seed=0)["one"]


def test_by_hand() -> None:
    """Twenty scores, two a decile; of the last five pairs three are used, one in the ninth decile."""
    found = deciles(frame(*((0, n % 5, n, (n + 1) / 20, n in (17, 18, 19)) for n in range(20))))

    assert [decile.pairs for decile in found] == [2] * 10
    assert [decile.redemptions for decile in found] == [0] * 8 + [1, 2]
    assert [decile.predicted for decile in found] == pytest.approx([(4 * n + 3) / 40 for n in range(10)])
    assert [decile.observed.value for decile in found] == [0.0] * 8 + [0.5, 1.0]


def test_a_partly_observed_window_promises_less() -> None:
    found = deciles(
        frame(*((n % 2, n, 0, 0.4, n < 2) for n in range(8))).with_columns(share=1 - pl.col("campaign") / 2)
    )

    assert [(decile.pairs, decile.predicted, decile.observed.value) for decile in found] == [
        (4, pytest.approx(0.2), 0.25),
        (4, pytest.approx(0.4), 0.25),
    ]


def test_what_was_never_used_has_no_interval() -> None:
    found = deciles(frame(*((0, n, 0, (n + 1) / 20, n == 19) for n in range(20))))

    assert [decile.observed for decile in found[:9]] == [Estimate(0.0, None, None)] * 9
    assert found[9].observed.value == 0.5
    assert (found[9].observed.low, found[9].observed.high) == (0.0, 1.0)


def test_equal_scores_stay_together() -> None:
    (only,) = deciles(frame(*((0, n, 0, 0.25, n < 2) for n in range(8))))
    assert (only.pairs, only.redemptions, only.predicted, only.observed.value) == (8, 2, 0.25, 0.25)

    most, rest = deciles(frame(*((0, n, 0, 0.5 if n > 17 else 0.1, 0) for n in range(20))))
    assert (most.pairs, rest.pairs) == (18, 2)


def test_an_interval_resamples_shoppers_and_not_pairs() -> None:
    """Forty pairs of equal score. Of forty shoppers each with one, half use; of two with twenty each, one uses all."""
    many = deciles(frame(*((0, n, 0, 0.5, n < 20) for n in range(40))), resamples=2000)[0].observed
    few = deciles(frame(*((0, n // 20, n, 0.5, n < 20) for n in range(40))), resamples=2000)[0].observed

    assert (few.low, few.high) == (0.0, 1.0)
    # the binomial distribution of 40 draws with p = 1/2: 2.5 % quantiles at 14 and 26
    assert (many.low, many.high) == (pytest.approx(14 / 40, abs=0.026), pytest.approx(26 / 40, abs=0.026))


def test_the_same_seed_gives_the_same_intervals_in_any_order_of_rows() -> None:
    rows = frame(*((0, n % 7, n, (n * 37 % 50) / 50, n % 3 == 0) for n in range(50)))
    both = pl.concat([named(rows, "other"), named(rows)])

    found = measure_reliability(both.reverse(), resamples=40, seed=0)
    assert list(found) == ["one", "other"]
    assert found["one"] == found["other"] == deciles(rows)
    assert measure_reliability(both, resamples=40, seed=1)["one"] != found["one"]


@settings(deadline=None)
@given(frames())
def test_deciles_hold_every_pair_once_and_make_up_the_calibration_error(pairs: pl.DataFrame) -> None:
    found = deciles(pairs, resamples=5)

    assert sum(decile.pairs for decile in found) == pairs.height
    assert sum(decile.redemptions for decile in found) == pairs["label"].sum()
    assert 1 <= len(found) <= 10
    assert [decile.predicted for decile in found] == sorted(decile.predicted for decile in found)
    gaps = [decile.pairs * abs(decile.predicted - decile.observed.value) for decile in found]
    assert np.sum(gaps) / pairs.height == pytest.approx(measure(pairs)["calibration_error"])


def test_bad_scores_are_refused() -> None:
    with pytest.raises(ScoresError, match="no scores"):
        measure_reliability(named(frame()), resamples=5, seed=0)
    with pytest.raises(ValueError, match="0 resamples"):
        deciles(frame((0, 0, 0, 0.5, 1)), resamples=0)
