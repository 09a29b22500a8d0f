"""Both forests."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from recommender.ml.algorithms import forests
from recommender.ml.algorithms.forests import ExtraTrees, RandomForest
from tests.ml.test_trees import past

Forest = RandomForest | ExtraTrees
KINDS = (RandomForest, ExtraTrees)
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module", params=KINDS)
def forest(request: pytest.FixtureRequest) -> Any:
    return request.param(trees=20, trial_trees=5).fit(*past(noise=0.01), 0)


def test_every_tree_knows_the_few_used_offers(forest: Forest) -> None:
    _, labels, _ = past(noise=0.01)
    drawn = np.mean([tree.tree_.value[0, 0, 1] for tree in forest.forest_.estimators_])

    assert drawn == pytest.approx(max(0.1, labels.mean()), abs=0.01)
    assert forest.forest_.max_samples == pytest.approx(labels.sum() / drawn, rel=0.1)


@every_kind
def test_a_rare_use_is_as_likely_as_it_is(kind: type[Forest]) -> None:
    """Used offers weigh more while it learns, and probabilities are brought back."""
    examples, labels, campaigns = past(noise=0.0, rows=20_000)
    rare = labels & (np.random.default_rng(3).uniform(size=len(labels)) < 0.1)
    forest = kind(trees=20, trial_trees=5).fit(examples, rare, campaigns, 0)

    assert forest.factor_ > 5
    assert forest.score(examples).sum() == pytest.approx(rare.sum(), rel=0.25)


@every_kind
def test_its_leaf_size_is_the_one_that_later_campaigns_ask_for(kind: type[Forest]) -> None:
    examples, labels, campaigns = past(noise=0.01)
    by_noise = kind(trees=5, trial_trees=5, min_samples_leafs=(1, 300)).fit(
        examples, np.random.default_rng(1).permutation(labels), campaigns, 0
    )

    assert by_noise.parameters()["min_samples_leaf"] == 300


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_digit(forest: Forest, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _, _ = past(noise=0.01)
    at_once = forest.score(examples)
    monkeypatch.setattr(forests, "ROWS_AT_ONCE", 300)
    monkeypatch.setattr("recommender.ml.threads.cpu_count", lambda: threads)
    assert forest.score(examples).tolist() == at_once.tolist()


def test_heavy_buyers_do_not_take_the_cuts_of_extra_trees() -> None:
    """A thousandfold outlier leaves evenly drawn cuts nothing to say of the others; on logarithms it does not."""
    examples, labels, campaigns = past(noise=0.0)
    X = 10 * examples.to_numpy() ** 2
    X[0] = 10_000.0
    heavy = pl.DataFrame(X, schema=examples.columns)
    score = ExtraTrees(trees=20, trial_trees=5).fit(heavy, labels, campaigns, 0).score(heavy)

    assert score[labels].mean() > 3 * score[~labels].mean()


@every_kind
def test_more_unused_offers_than_are_learned_from_at_once_are_all_learned_from(
    kind: type[Forest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tenth of the trees grows on a sample of its own, and the number of trees stays what was asked for."""
    examples, labels, campaigns = past(noise=0.01)
    at_once = kind(trees=25, trial_trees=5).fit(examples, labels, campaigns, 0)
    learned: list[pl.DataFrame] = []
    unused: list[float] = []
    grow_on = kind._grow_on

    def watched(self: Forest, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, trees: int) -> None:
        learned.append(pl.DataFrame(X))
        unused.append(weights[~labels].sum())
        grow_on(self, X, labels, weights, trees)

    monkeypatch.setattr(kind, "most_unused", 500)
    monkeypatch.setattr(kind, "_grow_on", watched)
    forest = kind(trees=25, trial_trees=5, min_samples_leafs=(5,)).fit(examples, labels, campaigns, 0)

    assert at_once.trees_after_ == [25]
    assert forest.trees_after_ == [2, 5, 7, 10, 12, 15, 17, 20, 22, 25]
    assert len(forest.forest_.estimators_) == 25
    assert unused[-10:] == [pytest.approx(np.count_nonzero(~labels))] * 10
    samples = learned[-10:]
    assert {len(sample) for sample in samples} == {500 + np.count_nonzero(labels)}
    assert pl.concat(samples).unique().height > 5 * 500 + np.count_nonzero(labels)
    assert (
        forest.score(examples).tolist()
        == kind(trees=25, trial_trees=5, min_samples_leafs=(5,))
        .fit(examples, labels, campaigns, 0)
        .score(examples)
        .tolist()
    )
