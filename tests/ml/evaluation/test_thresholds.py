"""The threshold with the largest F1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from recommender.ml.evaluation.thresholds import UNINFORMED, choose_threshold


def test_by_hand() -> None:
    scores, labels = np.array([0.1, 0.9, 0.4, 0.6]), np.array([False, True, True, False])

    # F1 at 0.9: 2/3; at 0.6: 1/2; at 0.4: 4/5; at 0.1: 2/3
    assert choose_threshold(scores, labels) == 0.4


def test_of_equally_good_thresholds_the_highest() -> None:
    # 0.8: 2/3; 0.5: 1/2; 0.3: 2/5; 0.2: 4/6
    scores, labels = np.array([0.8, 0.5, 0.3, 0.2]), np.array([True, False, False, True])
    assert choose_threshold(scores, labels) == 0.8


def test_constant_scores_and_nothing_redeemed() -> None:
    assert choose_threshold(np.full(4, 0.25), np.array([True, False, False, False])) == 0.25
    assert choose_threshold(np.array([0.1, 0.7]), np.array([False, False])) == UNINFORMED
    assert choose_threshold(np.empty(0), np.empty(0, dtype=bool)) == UNINFORMED


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="2 scores and 1 labels"):
        choose_threshold(np.array([0.1, 0.2]), np.array([True]))
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        choose_threshold(np.array([0.1, np.nan]), np.array([True, False]))


@given(st.lists(st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.booleans()), min_size=1, max_size=25))
def test_no_threshold_is_better(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    chosen = choose_threshold(scores, labels)

    if labels.any():
        f1 = {threshold: f1_score(labels, scores >= threshold) for threshold in set(scores)}
        best = max(f1.values())
        assert chosen == max(threshold for threshold, value in f1.items() if value == pytest.approx(best))
