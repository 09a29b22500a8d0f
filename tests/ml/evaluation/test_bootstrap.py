"""Resamples of shoppers and the intervals they span."""

import numpy as np
import pytest

from recommender.ml.evaluation import bootstrap
from recommender.ml.evaluation.bootstrap import Estimate, draw_weights, estimate


def test_each_resample_draws_as_many_shoppers_as_there_are() -> None:
    weights = np.hstack(list(draw_weights(50, resamples=400, seed=1)))

    assert weights.shape == (50, 400)
    assert (weights.sum(axis=0) == 50).all()
    assert weights.std() == pytest.approx(np.sqrt(1 - 1 / 50), rel=0.02)


def test_blocks_change_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.hstack(list(draw_weights(7, resamples=20, seed=3)))
    monkeypatch.setattr(bootstrap, "BLOCK_WEIGHTS", 21)
    blocks = list(draw_weights(7, resamples=20, seed=3))

    assert [block.shape for block in blocks] == [(7, 3)] * 6 + [(7, 2)]
    assert (np.hstack(blocks) == whole).all()
    assert (np.hstack(list(draw_weights(7, resamples=20, seed=4))) != whole).any()


def test_one_shopper_is_drawn_each_time() -> None:
    assert np.hstack(list(draw_weights(1, resamples=3, seed=0))).tolist() == [[1, 1, 1]]


def test_no_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="0 resamples"):
        list(draw_weights(3, resamples=0, seed=0))


def test_an_interval_leaves_two_and_a_half_percent_at_either_side() -> None:
    found = estimate(20.0, np.arange(41.0))

    assert (found.value, found.low, found.high) == pytest.approx((20, 1, 39))


def test_undefined_resamples_are_left_out() -> None:
    nan = float("nan")
    assert estimate(0.5, np.array([nan, 0.25, nan])) == Estimate(value=0.5, low=0.25, high=0.25)
    assert estimate(0.5, np.array([nan])) == Estimate(value=0.5, low=None, high=None)
    assert estimate(nan, np.array([0.25])) == Estimate(value=None, low=None, high=None)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(size=400)
    draws = np.concatenate([values @ weights / 400 for weights in draw_weights(400, resamples=2000, seed=0)])
    found = estimate(values.mean(), draws)

    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
