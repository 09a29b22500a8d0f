"""Folds in time order inside a fit."""

import numpy as np

from recommender.ml.algorithms.forward_validation import ENOUGH_TO_CHOOSE, choosing_folds, forward_folds


def test_each_part_is_judged_by_what_came_before_it() -> None:
    campaigns = np.repeat(np.arange(4), 10)
    labels = np.tile([True] + 9 * [False], 4)

    folds = forward_folds(labels, campaigns)

    assert [(np.unique(campaigns[early]).tolist(), np.unique(campaigns[later]).tolist()) for early, later in folds] == [
        ([0], [1]),
        ([0, 1], [2]),
        ([0, 1, 2], [3]),
    ]


def test_a_large_campaign_is_not_divided() -> None:
    """It holds the middle of the used offers, so it is judged once, by the few before it."""
    campaigns = np.repeat([0, 1, 2], [10, 100, 10])
    labels = np.arange(120) % 5 == 0

    folds = forward_folds(labels, campaigns)

    assert [(np.unique(campaigns[early]).tolist(), np.unique(campaigns[later]).tolist()) for early, later in folds] == [
        ([0], [1]),
        ([0, 1], [2]),
    ]


def test_nothing_to_judge_by() -> None:
    assert forward_folds(np.array([True, False, True, False]), np.zeros(4, dtype=int)) == []
    assert forward_folds(np.zeros(4, dtype=bool), np.arange(4)) == []


def test_few_used_offers_choose_nothing() -> None:
    campaigns = np.repeat(np.arange(4), ENOUGH_TO_CHOOSE // 2)
    labels = np.arange(len(campaigns)) % 2 == 0
    assert len(choosing_folds(labels, campaigns)) == 3

    labels[0] = False
    assert choosing_folds(labels, campaigns) == []
