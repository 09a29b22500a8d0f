"""Curves: worked by hand, and consistent with the metrics they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from recommender.ml.evaluation.curves import precision_recall_curve, reliability

SCORES = np.array([0.9, 0.8, 0.8, 0.4, 0.1])
LABELS = np.array([True, True, False, True, False])


def test_precision_and_recall_by_hand() -> None:
    recall, precision = precision_recall_curve(SCORES, LABELS)

    assert recall == pytest.approx([1 / 3, 2 / 3, 1])
    assert precision == pytest.approx([1, 2 / 3, 3 / 4])


def test_nothing_redeemed_has_no_curve() -> None:
    recall, precision = precision_recall_curve(SCORES, np.zeros(5, dtype=bool))
    assert (recall.tolist(), precision.tolist()) == ([], [])


@given(st.lists(st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.booleans()), min_size=1, max_size=25))
def test_the_area_in_steps_is_the_average_precision(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    if labels.any():
        recall, precision = precision_recall_curve(scores, labels)
        area = (np.diff(recall, prepend=0) * precision).sum()
        assert area == pytest.approx(average_precision_score(labels, scores))


def test_reliability_by_hand() -> None:
    scores = np.arange(1, 21) / 20
    labels = np.zeros(20, dtype=bool)
    labels[[18, 19, 17]] = True
    mean, share, pairs = reliability(scores, labels)

    assert mean == pytest.approx([(4 * number + 3) / 40 for number in range(10)])
    assert share == pytest.approx([0, 0, 0, 0, 0, 0, 0, 0, 0.5, 1])
    assert pairs.tolist() == [2] * 10


def test_equal_scores_are_one_point_and_no_pairs_are_none() -> None:
    mean, share, pairs = reliability(np.full(8, 0.25), np.arange(8) < 2)
    assert (mean.tolist(), share.tolist(), pairs.tolist()) == ([0.25], [0.25], [8])
    assert [len(part) for part in reliability(np.empty(0), np.empty(0, dtype=bool))] == [0, 0, 0]
