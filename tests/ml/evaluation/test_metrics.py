"""Metrics: worked by hand, against scikit-learn, under weights, and where there is nothing to measure."""

import math
import warnings
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from recommender.ml.evaluation.metrics import METRICS, Metrics
from recommender.ml.evaluation.pairs import read_pairs
from recommender.ml.evaluation.probabilities import equal_mass_edges
from tests.ml.evaluation.frames import PAIRS, frame, frames, measure

#: Shopper 0 has four coupons, the first and third best used; shopper 1 has two, the worse used; shopper 2 uses none.
WORKED = frame(
    (0, 0, 0, 0.9, 1),
    (0, 0, 1, 0.8, 0),
    (0, 0, 2, 0.4, 1),
    (0, 0, 3, 0.1, 0),
    (0, 1, 0, 0.7, 0),
    (0, 1, 1, 0.4, 1),
    (0, 2, 3, 0.2, 0),
)


def test_the_worked_example() -> None:
    values = measure(WORKED, threshold=0.5)

    # redeemed 0.9 beats all four unredeemed; each 0.4 beats 0.1 and 0.2
    assert values["roc_auc"] == pytest.approx((4 + 2 + 2) / 12)
    # thresholds 0.9: 1 of 1 right; 0.4: 3 of 5 right, two redemptions more
    assert values["pr_auc"] == pytest.approx(1 / 3 * 1 + 2 / 3 * 3 / 5)
    # shopper 0: 3 of 4 couples in order; shopper 1: 0 of 1
    assert values["auc_within"] == pytest.approx(3 / 5)
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    assert values["ndcg_at_10"] == pytest.approx(((1 + third) / (1 + second) + second) / 2)
    assert values["map_at_10"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert values["recall_at_10"] == 1
    assert values["hits_at_10"] == 3
    assert values["coverage_at_10"] == 1
    # answered "redeemed": 0.9 (right), 0.8 and 0.7 (wrong)
    assert values["accuracy"] == pytest.approx(3 / 7)
    assert values["accuracy_of_never"] == pytest.approx(4 / 7)
    assert values["precision"] == pytest.approx(1 / 3)
    assert values["recall"] == pytest.approx(1 / 3)
    assert values["f1"] == pytest.approx(1 / 3)
    assert values["precision_weighted"] == pytest.approx(3 / 7 * 1 / 3 + 4 / 7 * 2 / 4)
    assert values["expected_redemptions"] == pytest.approx(3.5)
    assert values["redemptions"] == 3
    errors = [0.1, 0.8, 0.6, 0.1, 0.7, 0.6, 0.2]
    assert values["brier"] == pytest.approx(sum(error**2 for error in errors) / 7)
    assert values["log_loss"] == pytest.approx(-sum(math.log(1 - error) for error in errors) / 7)


OF_PROBABILITIES = ("log_loss", "brier", "calibration_error", "expected_redemptions")


def test_probabilities_count_as_far_as_the_window_is_observed() -> None:
    """Half of campaign 0's uses were to be expected by the cut: its pairs promised 0.4 and 0.1, the other's 0.6."""
    partly = frame((0, 0, 0, 0.8, 1), (0, 0, 1, 0.2, 0), (1, 0, 2, 0.6, 0)).with_columns(
        share=pl.when(campaign=0).then(0.5).otherwise(1.0)
    )
    values = measure(partly)

    assert values["expected_redemptions"] == pytest.approx(0.4 + 0.1 + 0.6)
    assert values["brier"] == pytest.approx((0.6**2 + 0.1**2 + 0.6**2) / 3)
    assert values["log_loss"] == pytest.approx(-(math.log(0.4) + math.log(0.9) + math.log(0.4)) / 3)
    assert values["calibration_error"] == pytest.approx((0.6 + 0.1 + 0.6) / 3)


@given(frames())
def test_order_and_answers_do_not_depend_on_how_far_windows_are_observed(pairs: pl.DataFrame) -> None:
    whole, partly = measure(pairs), measure(pairs.with_columns(share=0.25 + 0.5 * pl.col("campaign")))
    for name in set(METRICS) - set(OF_PROBABILITIES):
        assert partly[name] == pytest.approx(whole[name], nan_ok=True)
    observed = measure(pairs.with_columns(score=pl.col("score") * (0.25 + 0.5 * pl.col("campaign"))))
    assert [partly[name] for name in OF_PROBABILITIES] == pytest.approx([observed[name] for name in OF_PROBABILITIES])


def test_calibration_error_by_hand() -> None:
    pairs = frame((0, 0, 0, 0.1, 0), (0, 0, 1, 0.2, 1), (0, 0, 2, 0.6, 1), (0, 0, 3, 0.8, 0))

    # bins [0.1, 0.2] and [0.6, 0.8]: expected 0.3 and 1.4, one redeemed in each
    assert measure(pairs, edges=[0.5])["calibration_error"] == pytest.approx((0.7 + 0.4) / 4)
    # an edge belongs to the bin above
    assert measure(pairs, edges=[0.6])["calibration_error"] == pytest.approx((0.7 + 0.4) / 4)
    assert measure(pairs, edges=[])["calibration_error"] == pytest.approx(0.3 / 4)


def test_bins_of_equal_mass() -> None:
    scores = np.arange(100) / 100
    assert np.bincount(np.searchsorted(equal_mass_edges(scores), scores, side="right")).tolist() == [10] * 10
    assert equal_mass_edges(np.full(50, 0.25)).tolist() == [0.25]
    assert equal_mass_edges(np.empty(0)).tolist() == []


def test_only_the_first_ten_count() -> None:
    scores = [(0, 0, coupon, 0.9 - coupon / 20, coupon in (9, 10)) for coupon in range(12)]
    values = measure(frame(*scores))

    assert values["hits_at_10"] == 1
    assert values["recall_at_10"] == 1 / 2
    assert values["map_at_10"] == pytest.approx(1 / 10 / 2)
    assert values["ndcg_at_10"] == pytest.approx(1 / math.log2(11) / (1 + 1 / math.log2(3)))
    assert values["coverage_at_10"] == pytest.approx(10 / 12)


def test_more_than_ten_used_can_be_perfect_but_for_recall() -> None:
    values = measure(frame(*((0, 0, coupon, 0.5, 1) for coupon in range(20))))

    assert values["ndcg_at_10"] == pytest.approx(1)
    assert values["map_at_10"] == pytest.approx(1)
    assert values["recall_at_10"] == pytest.approx(1 / 2)


def test_the_lists_of_a_shopper_in_two_campaigns_are_two() -> None:
    values = measure(frame((0, 7, 0, 0.2, 1), (0, 7, 1, 0.1, 0), (1, 7, 0, 0.2, 0), (1, 7, 1, 0.1, 1)))

    assert values["auc_within"] == 1 / 2
    assert values["ndcg_at_10"] == pytest.approx((1 + 1 / math.log2(3)) / 2)


@given(frames(), st.integers(0, 8).map(lambda number: number / 8))
def test_metrics_over_all_pairs_are_those_of_scikit_learn(pairs: pl.DataFrame, threshold: float) -> None:
    labels, scores = pairs["label"].to_numpy(), pairs["score"].to_numpy()
    values = measure(pairs, threshold=threshold)
    answers = scores >= threshold

    if labels.any() and not labels.all():
        assert values["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, scores))
    else:
        assert math.isnan(values["roc_auc"])
    if labels.any():
        assert values["pr_auc"] == pytest.approx(reference.average_precision_score(labels, scores))
    else:
        assert math.isnan(values["pr_auc"])
    assert values["log_loss"] == pytest.approx(reference.log_loss(labels, scores, labels=[False, True]))
    assert values["brier"] == pytest.approx(np.mean((scores - labels) ** 2))
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(labels, answers))
    assert values["accuracy_of_never"] == pytest.approx(reference.accuracy_score(labels, np.zeros_like(labels)))
    for average, suffix in (("binary", ""), ("weighted", "_weighted")):
        expected = reference.precision_recall_fscore_support(labels, answers, average=average, zero_division=0)
        assert [values[f"{name}{suffix}"] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])


@given(frames(scores=st.floats(0, 1)))
def test_areas_of_any_scores_are_those_of_scikit_learn(pairs: pl.DataFrame) -> None:
    labels, scores = pairs["label"].to_numpy(), pairs["score"].to_numpy()
    values = measure(pairs)

    if labels.any():
        assert values["pr_auc"] == pytest.approx(reference.average_precision_score(labels, scores))
    if labels.any() and not labels.all():
        assert values["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, scores))


def distinct(pairs: pl.DataFrame) -> pl.DataFrame:
    """The frame with scores that never tie, in the order of the old ones."""
    return pairs.with_columns(score=pl.col("score").rank("ordinal") / 100)


@given(frames())
def test_metrics_of_lists_are_those_of_scikit_learn_list_by_list(pairs: pl.DataFrame) -> None:
    pairs = distinct(pairs)
    values = measure(pairs)
    lists = [
        (one["label"].to_numpy(), one["score"].to_numpy())
        for one in pairs.partition_by("campaign", "shopper")
        if one["label"].any()
    ]

    if not lists:
        assert all(math.isnan(values[name]) for name in ("ndcg_at_10", "map_at_10", "recall_at_10", "auc_within"))
        assert values["hits_at_10"] == 0
        return
    # scikit-learn ranks at least two documents; one alone is in its best place
    ndcg = [reference.ndcg_score([labels], [scores], k=10) if len(labels) > 1 else 1.0 for labels, scores in lists]
    assert values["ndcg_at_10"] == pytest.approx(np.mean(ndcg))
    in_order = [labels[np.argsort(-scores)] for labels, scores in lists]
    assert values["hits_at_10"] == sum(labels[:10].sum() for labels in in_order)
    shares = [labels[:10].sum() / labels.sum() for labels in in_order]
    assert values["recall_at_10"] == pytest.approx(np.mean(shares))
    precision = [
        sum(labels[: k + 1].mean() for k in range(min(10, len(labels))) if labels[k]) / min(10, labels.sum())
        for labels in in_order
    ]
    assert values["map_at_10"] == pytest.approx(np.mean(precision))


@given(frames())
def test_auc_within_lists_is_the_lists_auc_weighted_by_couples(pairs: pl.DataFrame) -> None:
    couples, wins = 0, 0.0
    for one in pairs.partition_by("campaign", "shopper"):
        labels, scores = one["label"].to_numpy(), one["score"].to_numpy()
        if labels.any() and not labels.all():
            here = int(labels.sum() * (~labels).sum())
            couples += here
            wins += here * reference.roc_auc_score(labels, scores)

    value = measure(pairs)["auc_within"]
    assert value == pytest.approx(wins / couples) if couples else math.isnan(value)


@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(pairs: pl.DataFrame, random: Random) -> None:
    rows = list(range(pairs.height))
    random.shuffle(rows)

    assert str(measure(pairs[rows])) == str(measure(pairs))


def test_equal_scores_stand_in_a_random_order_that_the_seed_decides() -> None:
    """Of 20 equal scores, half a list's used coupon is among the first ten, whichever coupon it is."""
    pairs = frame(*((0, shopper, coupon, 0.5, coupon == 0) for shopper in range(1000) for coupon in range(20)))

    hits = [measure(pairs, seed=seed)["hits_at_10"] for seed in range(3)]
    assert len(set(hits)) == 3
    assert all(abs(number - 500) < 80 for number in hits)  # five standard deviations of a fair coin
    assert measure(pairs, seed=2)["hits_at_10"] == hits[2]


@settings(deadline=None)
@given(frames(), st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(0, 8).map(lambda number: number / 8))
def test_weighting_shoppers_is_repeating_their_rows(pairs: pl.DataFrame, times: list[int], threshold: float) -> None:
    """Each copy of a shopper is a shopper of its own. Scores without ties, since copies may order these differently."""
    pairs = distinct(pairs)
    read = read_pairs(pairs, seed=0)
    scores = pairs.sort("campaign", "shopper", "coupon")["score"].to_numpy()
    edges = equal_mass_edges(scores)
    shoppers = sorted(pairs["shopper"].unique())
    weights = np.array([[times[shopper], 1] for shopper in shoppers], dtype=float)
    metrics = Metrics(read, scores, threshold=threshold, edges=edges)
    copies = [
        pairs.filter(pl.col("shopper") == shopper).with_columns(shopper=pl.lit(10 * shopper + copy, pl.UInt32))
        for shopper in shoppers
        for copy in range(times[shopper])
    ]

    repeated = measure(pl.concat([pl.DataFrame(schema=PAIRS), *copies]), threshold=threshold, edges=edges)
    weighted = metrics.measure(weights)
    assert {name: float(value[0]) for name, value in weighted.items()} == pytest.approx(repeated, nan_ok=True)
    # another weighting beside it changes nothing
    alone = {name: float(value[1]) for name, value in weighted.items()}
    assert alone == pytest.approx(measure(pairs, threshold=threshold, edges=edges), nan_ok=True)


@given(frames(), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_weighted_ties_are_those_of_scikit_learn(pairs: pl.DataFrame, times: list[int]) -> None:
    pairs = pairs.sort("campaign", "shopper", "coupon")
    labels, scores = pairs["label"].to_numpy(), pairs["score"].to_numpy()
    weight = np.array(times)[pairs["shopper"].to_numpy()]
    shoppers = sorted(pairs["shopper"].unique())
    values = Metrics(read_pairs(pairs, seed=0), scores, threshold=0.5, edges=np.empty(0)).measure(
        np.array([[float(times[shopper])] for shopper in shoppers])
    )

    if weight[labels].any():
        expected = reference.average_precision_score(labels, scores, sample_weight=weight)
        assert values["pr_auc"][0] == pytest.approx(expected)
        if weight[~labels].any():
            assert values["roc_auc"][0] == pytest.approx(reference.roc_auc_score(labels, scores, sample_weight=weight))


NEED_A_REDEMPTION = {"roc_auc", "pr_auc", "auc_within", "ndcg_at_10", "map_at_10", "recall_at_10"}


@pytest.mark.parametrize(
    ("pairs", "undefined"),
    [
        (pl.DataFrame(schema=PAIRS), set(METRICS)),
        (frame((0, 0, 0, 0.5, 0), (0, 1, 0, 0.5, 0)), NEED_A_REDEMPTION),
        (frame((0, 0, 0, 0.5, 1), (0, 1, 0, 1.0, 1)), {"roc_auc", "auc_within"}),
        (frame((0, 0, 0, 0.0, 1)), {"roc_auc", "auc_within"}),
        (frame((0, 0, 0, 0.5, 1), (0, 1, 0, 0.5, 0)), {"auc_within"}),
    ],
    ids=["no pair", "no redemption", "all redeemed", "one pair", "one of two shoppers"],
)
def test_what_cannot_be_measured_is_undefined_without_a_warning(pairs: pl.DataFrame, undefined: set[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = measure(pairs)

    assert {name for name, value in values.items() if math.isnan(value)} == undefined
