"""Both forests."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from joblib import parallel_config

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
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", str(threads))
    with parallel_config(backend="threading", n_jobs=threads):
        assert forest.score(examples).tolist() == at_once.tolist()


def test_heavy_buyers_do_not_take_the_cuts_of_extra_trees() -> None:
    """A thousandfold outlier leaves evenly drawn cuts nothing to say of the others; on logarithms it does not."""
    examples, labels, campaigns = past(noise=0.0)
    X = 10 * examples.to_numpy() ** 2
    X[0] = 10_000.0
    heavy = pl.DataFrame(X, schema=examples.columns)
    score = ExtraTrees(trees=20, trial_trees=5).fit(heavy, labels, campaigns, 0).score(heavy)

    assert score[labels].mean() > 3 * score[~labels].mean()
