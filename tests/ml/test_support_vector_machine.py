"""The support vector machine: its margin, how kernel and C are chosen, and its probabilities."""

import time

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from recommender.ml import features as f
from recommender.ml.algorithms.forward_validation import forward_folds
from recommender.ml.algorithms.support_vector_machine import SupportVectorMachine, fit_sigmoid

CAMPAIGNS = 6
Past = tuple[pl.DataFrame, np.ndarray, np.ndarray]


def past(rows: int = 6_000, seed: int = 0, *, ring: bool = False) -> Past:
    """Examples that are used more the higher the first feature and the lower the second, or on a ring of the two."""
    random = np.random.default_rng(seed)
    logarithms = random.uniform(0, 3, size=(rows, len(f.FEATURES)))
    first, second = logarithms[:, 0] - 1.5, logarithms[:, 1] - 1.5
    strength = 6 * (np.hypot(first, second) - 1.7) if ring else 2 * (first - second) - 4.5
    campaigns = np.arange(rows) * CAMPAIGNS // rows
    examples = pl.DataFrame(np.expm1(logarithms).astype(np.float32), schema=list(f.FEATURES))
    return examples, random.uniform(size=rows) < expit(strength), campaigns


def of_two_only(examples: pl.DataFrame) -> pl.DataFrame:
    """Every feature says what the first says, or the second."""
    return examples.select(pl.col(f.FEATURES[number % 2]).alias(name) for number, name in enumerate(f.FEATURES))


@pytest.fixture(scope="module")
def machine() -> SupportVectorMachine:
    return SupportVectorMachine().fit(*past(), 0)


# The machine


def test_ranks_later_offers(machine: SupportVectorMachine) -> None:
    later, labels, _ = past(seed=9)
    best_possible = later[f.FEATURES[0]].log1p() - later[f.FEATURES[1]].log1p()

    assert roc_auc_score(labels, machine.score(later)) > roc_auc_score(labels, best_possible) - 0.02


def test_a_ring_asks_for_the_kernel() -> None:
    examples, labels, campaigns = past(ring=True)
    later, later_labels, _ = past(seed=9, ring=True)
    both = SupportVectorMachine().fit(of_two_only(examples), labels, campaigns, 0)
    linear = SupportVectorMachine(kernels=("linear",)).fit(of_two_only(examples), labels, campaigns, 0)

    assert both.parameters()["kernel"] == "rbf"
    assert roc_auc_score(later_labels, both.score(of_two_only(later))) > 0.85
    assert roc_auc_score(later_labels, linear.score(of_two_only(later))) < 0.6


def test_scores_do_not_run_on_beyond_what_was_seen(machine: SupportVectorMachine) -> None:
    usual = past()[0][:1]
    far, farther = (usual.with_columns(pl.lit(value, dtype=pl.Float32).alias(f.FEATURES[0])) for value in (1e6, 1e30))

    assert machine.score(usual) < machine.score(far)
    assert machine.score(far).tolist() == machine.score(farther).tolist()


def test_c_means_the_same_in_a_shop_of_twice_the_size() -> None:
    """C is the cost of the mean over the offers, not of the sum: each offer twice makes the same machine."""
    examples, labels, _ = past(rows=1_000)
    X = examples.to_numpy()
    fitted = SupportVectorMachine(penalties=(10.0,), kernels=("linear",))
    once, twice = (
        fitted._machine("linear", 10.0, np.tile(X, (times, 1)), np.tile(labels, times), 0).decision_function(X)
        for times in (1, 2)
    )

    np.testing.assert_allclose(once, twice, atol=0.02)


def test_few_used_offers_weigh_as_much_as_the_others(machine: SupportVectorMachine) -> None:
    """Each as heavy as another, nearly all would be on the side of the many."""
    examples, labels, _ = past()
    above = machine.machine_.decision_function(examples.to_numpy()) > 0

    assert labels.mean() < 0.1
    assert above[labels].mean() > 0.6
    assert above[~labels].mean() < 0.4


def test_landmarks_are_among_the_used_offers_too() -> None:
    examples, labels, campaigns = past(rows=3_000)
    few = labels & (np.arange(len(labels)) % 5 == 0)
    machine = SupportVectorMachine(kernels=("rbf",), landmarks=100).fit(examples, few, campaigns, 0)
    landmarks = machine.machine_["nystroem"].components_

    before_kernel = machine.machine_[:3].transform(examples.to_numpy())
    among = {row.tobytes() for row in landmarks}
    assert 2 <= few.sum() < 50
    assert len(landmarks) == few.sum() + 50
    assert {row.tobytes() for row in before_kernel[few]} <= among


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_an_offer_scores_the_same_alone(kernel: str) -> None:
    examples, labels, campaigns = past(rows=1_000)
    machine = SupportVectorMachine(kernels=(kernel,)).fit(examples, labels, campaigns, 0)
    alone = np.concatenate([machine.score(examples[row]) for row in range(20)])

    np.testing.assert_allclose(alone, machine.score(examples)[:20], rtol=1e-12)


# Parameters


@pytest.mark.parametrize(
    ("labels", "campaigns"),
    [
        pytest.param([1, 0, 1, 0], [0, 0, 0, 0], id="one campaign"),
        pytest.param([0, 0, 1, 0], [0, 0, 1, 1], id="nothing used before"),
        pytest.param([1, 0, 0, 0], [0, 0, 1, 1], id="nothing used later"),
        pytest.param([1, 1, 1, 0], [0, 0, 1, 1], id="all used before"),
    ],
)
def test_without_a_fold_the_first_parameters_are_taken(labels: list[int], campaigns: list[int]) -> None:
    used = np.array(labels, dtype=bool)
    machine = SupportVectorMachine(penalties=(7.0, 1.0)).fit(past(rows=4)[0], used, np.array(campaigns), 0)

    assert forward_folds(used, np.array(campaigns)) == []
    assert machine.parameters() == {"kernel": "linear", "C": 7.0}


def test_c_is_the_one_that_later_campaigns_ask_for() -> None:
    """With few examples of many features, a margin that gives way nowhere learns what does not hold later."""
    examples, labels, campaigns = past(rows=900)

    assert SupportVectorMachine(penalties=(1e6, 1.0), kernels=("linear",)).fit(
        examples, labels, campaigns, 0
    ).parameters() == {"kernel": "linear", "C": 1.0}


# Probabilities


def test_a_sigmoid_finds_the_odds_again() -> None:
    random = np.random.default_rng(0)
    decision = random.normal(size=50_000)
    slope, intercept = fit_sigmoid(decision, random.uniform(size=50_000) < expit(1.5 * decision - 3), np.ones(50_000))

    assert (slope, intercept) == (pytest.approx(1.5, abs=0.06), pytest.approx(-3, abs=0.06))


def test_two_offers_make_nothing_certain() -> None:
    """Platt's targets: of one used offer and one unused, the one is 2/3 likely and the other 1/3."""
    slope, intercept = fit_sigmoid(np.array([1.0, -1.0]), np.array([True, False]), np.ones(2))

    assert expit(slope + intercept) == pytest.approx(2 / 3, abs=1e-3)
    assert expit(-slope + intercept) == pytest.approx(1 / 3, abs=1e-3)


def test_a_sigmoid_never_turns_the_order_round() -> None:
    labels = np.array([True, False, False, False])

    assert fit_sigmoid(np.array([-1.0, 1.0, 2.0, 3.0]), labels, np.ones(4)) == (0.0, pytest.approx(logit(0.25)))


def test_probabilities_add_up_though_unused_offers_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SupportVectorMachine, "most_unused", 1_500)
    examples, labels, campaigns = past(rows=8_000)
    later, later_labels, _ = past(rows=8_000, seed=9)
    machine = SupportVectorMachine().fit(examples, labels, campaigns, 0)

    assert machine.score(later).sum() == pytest.approx(later_labels.sum(), rel=0.15)


def test_what_is_learned_by_heart_does_not_count_as_sure() -> None:
    """Labels by chance: the machine parts offers that it learned from, but its probabilities promise nothing."""
    examples, labels, campaigns = past(rows=400)
    by_chance = np.random.default_rng(5).permutation(labels)
    machine = SupportVectorMachine(penalties=(30.0,)).fit(examples, by_chance, campaigns, 0)

    assert roc_auc_score(by_chance, machine.machine_.decision_function(examples.to_numpy())) > 0.9
    assert machine.score(examples).max() < 3 * by_chance.mean()


def test_one_used_offer_is_enough() -> None:
    examples, _, campaigns = past(rows=300)
    machine = SupportVectorMachine().fit(examples, np.arange(300) == 40, campaigns, 0)

    assert machine.slope_ > 0
    assert machine.score(examples).argmax() == 40


# Cost


@pytest.mark.prove
def test_cost_of_fitting_stops_growing_and_of_scoring_is_linear() -> None:
    seconds = {}
    for rows in (50_000, 200_000):
        examples, labels, campaigns = past(rows=rows)
        rare = labels & (np.arange(rows) % (rows // 5_000) == 0)
        started = time.process_time()
        machine = SupportVectorMachine(kernels=("rbf",)).fit(examples, rare, campaigns, 0)
        fitted = time.process_time()
        machine.score(examples)
        seconds[rows] = fitted - started, time.process_time() - fitted

    assert seconds[200_000][0] < 2 * seconds[50_000][0] + 1
    assert seconds[200_000][1] < 6 * seconds[50_000][1] + 1
