"""Qini and AUUC by hand."""

import numpy as np
import pytest

from recommender.ml.uplift import NotRandomised, UpliftFigures, evaluate_uplift


def by_blocks(*blocks: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, treated and outcome: of each block 100 treated and 100 held out, who buy at these rates; highest first."""
    score, treated, outcome = [], [], []
    for place, rates in enumerate(blocks):
        for group, rate in zip((True, False), rates, strict=True):
            score += [-place] * 100
            treated += [group] * 100
            outcome += [1.0] * round(100 * rate) + [0.0] * (100 - round(100 * rate))
    return np.array(score, dtype=float), np.array(treated), np.array(outcome)


def figures(*blocks: tuple[float, float], resamples: int = 50) -> UpliftFigures:
    return evaluate_uplift(*by_blocks(*blocks), propensity=0.5, resamples=resamples, seed=0)


def test_an_order_that_puts_the_changed_first() -> None:
    """Half of the shoppers gain 0.4, the others nothing: for each treated shopper 0.2, all of it in the first half."""
    found = figures((0.6, 0.2), (0.3, 0.3))

    assert found.share.tolist() == [0, 0.5, 1]
    assert found.qini_curve == pytest.approx([0, 0.2, 0.2])
    assert found.effect.value == pytest.approx(0.2)
    assert found.qini.value == pytest.approx(0.05 + 0.1 - 0.1)
    # The uplift curve: 0, then 0.4 of the first half times ½, then 0.2 of all.
    assert found.auuc.value == pytest.approx((0 + 0.2) / 4 + (0.2 + 0.2) / 4)


def test_the_other_way_round_it_is_as_bad_as_that_was_good() -> None:
    assert figures((0.3, 0.3), (0.6, 0.2)).qini.value == pytest.approx(-0.05)


def test_shoppers_of_one_score_are_in_no_order() -> None:
    score, treated, outcome = by_blocks((0.6, 0.2), (0.3, 0.3))
    found = evaluate_uplift(np.ones(len(score)), treated, outcome, propensity=0.5, resamples=50, seed=0)
    assert found.share.tolist() == [0, 1]
    assert found.qini.value == pytest.approx(0)


def test_it_does_not_depend_on_the_order_of_the_rows() -> None:
    random = np.random.default_rng(1)
    score, treated, outcome = random.normal(size=900).round(1), random.random(900) < 0.5, random.normal(size=900)
    order = random.permutation(900)
    one = evaluate_uplift(score, treated, outcome, propensity=0.5, resamples=1, seed=0)
    other = evaluate_uplift(score[order], treated[order], outcome[order], propensity=0.5, resamples=1, seed=0)
    assert one.qini_curve == pytest.approx(other.qini_curve)
    assert one.auuc.value == pytest.approx(other.auuc.value)


def test_many_scores_are_drawn_at_few_points_and_end_at_all() -> None:
    random = np.random.default_rng(2)
    found = evaluate_uplift(
        random.normal(size=5_000), random.random(5_000) < 0.5, np.ones(5_000), propensity=0.5, resamples=1, seed=0
    )
    assert len(found.share) == 201
    assert (found.share[0], found.share[-1]) == (0, 1)
    assert (np.diff(found.share) > 0).all()


def test_the_interval_narrows_with_the_shoppers() -> None:
    def width(copies: int) -> float:
        score, treated, outcome = (np.tile(column, copies) for column in by_blocks((0.6, 0.2), (0.3, 0.3)))
        qini = evaluate_uplift(score, treated, outcome, propensity=0.5, resamples=300, seed=0).qini
        assert qini.low < 0.05 < qini.high
        return qini.high - qini.low

    assert width(16) == pytest.approx(width(1) / 4, rel=0.25)


def test_without_held_out_shoppers_nothing_is_measured() -> None:
    score, _treated, outcome = by_blocks((0.6, 0.2))
    with pytest.raises(NotRandomised, match="0 held out"):
        evaluate_uplift(score, np.ones(200, dtype=bool), outcome, propensity=0.5, seed=0)
