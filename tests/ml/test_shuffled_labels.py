"""On labels that mean nothing everything is chance, and a feature that knows the outcome is not."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.supervised import SupervisedAlgorithm
from recommender.ml.contract import Inputs
from recommender.ml.examples import Casebook
from recommender.ml.history import SCHEMAS
from recommender.ml.leaks import Occasion, choose_occasions, describe
from recommender.ml.shuffled_labels import (
    CHANCE,
    ShuffledTask,
    auc_within_campaigns,
    chance,
    draw_equally_used,
    shuffle_outcomes,
    shuffled_evaluations,
    shuffled_task,
    shuffled_training,
)
from tests.ml.leaky_inputs import LogisticOnHonest, LogisticOnLeaky

FEW, MANY = 4, 20
SUPERVISED = [name for name, algorithm in ALGORITHMS.items() if issubclass(algorithm, SupervisedAlgorithm)]

Trainings = Callable[[type[Algorithm], int], list[float]]


@pytest.fixture(scope="module")
def occasions(casebook: Casebook) -> list[Occasion]:
    """The last two campaigns: three teach before them."""
    return choose_occasions(casebook, 5, seed=0)[-2:]


@pytest.fixture(scope="module")
def trainings(casebook: Casebook, occasions: list[Occasion], tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    """The areas of so many shuffled trainings of an algorithm."""
    folder = tmp_path_factory.mktemp("shuffled")
    world = cache(lambda seed: shuffle_outcomes(casebook, occasions[0], folder / str(seed), seed))

    @cache
    def task(name: str, seed: int) -> ShuffledTask:
        found = shuffled_task(kinds[name], world(seed), occasions, seed)
        assert found is not None
        return found

    kinds: dict[str, Inputs] = {}

    def train(algorithm: type[Algorithm], shuffles: int) -> list[float]:
        kinds[algorithm.inputs.name] = algorithm.inputs
        return [shuffled_training(algorithm, task(algorithm.inputs.name, seed)) for seed in range(shuffles)]

    return train


# The proof


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_few_shuffled_trainings_give_chance(name: str, trainings: Trainings) -> None:
    assert chance(trainings(ALGORITHMS[name], FEW)).low <= CHANCE


@pytest.mark.prove
@pytest.mark.parametrize("name", SUPERVISED)
def test_twenty_shuffled_trainings_give_chance(name: str, trainings: Trainings) -> None:
    assert chance(trainings(ALGORITHMS[name], MANY)).holds


def test_shuffled_trainings_on_a_leaky_feature_do_not(trainings: Trainings) -> None:
    """With the few shuffles that always run, and the same algorithm gives chance without the leak."""
    leaky, honest = chance(trainings(LogisticOnLeaky, FEW)), chance(trainings(LogisticOnHonest, FEW))

    assert leaky.low > CHANCE
    assert leaky.mean > 0.9
    assert honest.holds


def test_scores_measured_on_shuffled_labels_are_chance(casebook: Casebook, occasions: list[Occasion]) -> None:
    """Even scores that know the true ones."""
    scores = [occasion.labels.astype(float) for occasion in occasions]

    assert auc_within_campaigns(occasions, scores) == 1.0
    found = chance(shuffled_evaluations(occasions, scores, shuffles=50, seed=0))
    assert found.holds
    assert found.high - found.low < 0.05


# What it is made of


class MoreIsBetter(LogisticOnHonest):
    """Learns nothing: it knows beforehand that who bought more uses more."""

    name: ClassVar[str] = "more_is_better"

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        return inputs["redemptions_before"].to_numpy().astype(float)


def test_what_an_algorithm_knows_beforehand_is_no_leak(casebook: Casebook, occasions: list[Occasion]) -> None:
    examples = casebook.examples(MoreIsBetter.inputs, occasions[0].moment)
    assert examples is not None
    described = [describe(MoreIsBetter.inputs, casebook.snapshot, occasion) for occasion in occasions]
    task = ShuffledTask(examples.inputs, examples.labels, examples.campaigns, occasions, described, seed=0)

    plain = auc_within_campaigns(occasions, [MoreIsBetter().score(each) for each in described])

    assert plain > 0.6
    assert shuffled_training(MoreIsBetter, task) == pytest.approx(CHANCE)


def test_mirrored_inputs_are_turned_around_within_their_range(occasions: list[Occasion]) -> None:
    examples = pl.DataFrame({"a": [0.0, 1.0], "b": [5.0, 5.0]}, schema={"a": pl.Float32, "b": pl.Float32})
    described = pl.DataFrame({"a": [4.0], "b": [2.0]}, schema=examples.schema)
    task = ShuffledTask(examples, np.array([True, False]), np.zeros(2, dtype=int), occasions, [described], seed=0)

    mirrored = task.mirrored

    assert mirrored.examples.to_dict(as_series=False) == {"a": [4.0, 3.0], "b": [2.0, 2.0]}
    assert mirrored.described[0].to_dict(as_series=False) == {"a": [0.0], "b": [5.0]}
    assert mirrored.examples.schema == examples.schema
    assert mirrored.labels.tolist() == [True, False]


def test_a_blend_is_taught_with_its_members(casebook: Casebook, occasions: list[Occasion], tmp_path: Path) -> None:
    world = shuffle_outcomes(casebook, occasions[0], tmp_path / "world", seed=1)
    task = shuffled_task(Blend.inputs, world, occasions, seed=1)
    assert task is not None

    together = shuffled_training(Blend, task)

    assert task.fitted(Blend).members_ == [task.fitted(member) for member in Blend.members]  # type: ignore[attr-defined]
    alone = [Blend().fit(each.examples, each.labels, each.campaigns, 1) for each in (task, task.mirrored)]
    areas = [
        auc_within_campaigns(occasions, [model.score(described) for described in each.described])
        for model, each in zip(alone, (task, task.mirrored), strict=True)
    ]
    assert together == np.mean(areas)


def test_outcomes_are_shuffled_within_the_campaigns_that_teach(
    casebook: Casebook, occasions: list[Occasion], tmp_path: Path
) -> None:
    world = shuffle_outcomes(casebook, occasions[0], tmp_path / "world", seed=1)
    moment = occasions[-1].moment

    teaching = casebook.teaching(occasions[0].moment)
    assert len(teaching) == 3
    for campaign in teaching:
        true, shuffled = casebook.labels(campaign, moment), world.labels(campaign, moment)
        assert shuffled.sum() == true.sum()
        assert (shuffled & true).sum() < true.sum() / 2
    for campaign in set(casebook.campaigns["campaign"]) - set(teaching):
        np.testing.assert_array_equal(world.labels(campaign, moment), casebook.labels(campaign, moment))
    one, two = (each.snapshot.scan("redemptions").collect() for each in (casebook, world))
    assert one.drop("shopper", "coupon").equals(two.drop("shopper", "coupon"))
    for table in set(SCHEMAS) - {"redemptions"}:
        assert world.snapshot.scan(table).collect().equals(casebook.snapshot.scan(table).collect())


def test_the_same_share_of_every_campaign_is_used() -> None:
    sizes = {"large": (2_000, 20), "busy": (60, 3), "seldom": (400, 1), "tiny": (5, 2), "unused": (50, 0)}
    campaigns = np.repeat(list(sizes), [count for count, _used in sizes.values()])
    labels = np.concatenate([np.arange(count) < used for count, used in sizes.values()])
    rows = draw_equally_used(labels, campaigns, most=26 * 21, seed=3)
    kept = {
        name: (int((campaigns[rows] == name).sum()), int(labels[rows][campaigns[rows] == name].sum())) for name in sizes
    }
    # 26 used pairs in all leave room for 20 unused ones for each; "busy" has 57 of them, which is enough for two.
    assert kept == {"large": (420, 20), "busy": (42, 2), "seldom": (21, 1), "tiny": (0, 0), "unused": (0, 0)}
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, draw_equally_used(labels, campaigns, most=26 * 21, seed=4))
    assert np.array_equal(rows, draw_equally_used(labels, campaigns, most=26 * 21, seed=3))


def test_areas_are_measured_within_campaigns(occasions: list[Occasion]) -> None:
    random = np.random.default_rng(0)
    scores = [random.random(len(occasion.labels)).round(1) for occasion in occasions]
    expected = [roc_auc_score(occasion.labels, each) for occasion, each in zip(occasions, scores, strict=True)]

    assert auc_within_campaigns(occasions, scores) == pytest.approx(np.mean(expected))
    unused = replace(occasions[0], labels=np.zeros(len(scores[0]), dtype=bool))
    assert auc_within_campaigns([unused, occasions[1]], scores) == pytest.approx(expected[1])
    assert np.isnan(auc_within_campaigns([unused], scores[:1]))


def test_the_interval_is_students() -> None:
    found = chance([0.4, 0.5, 0.6], false_alarms=0.05)

    # mean ± t(0.975; 2) · sd / √3
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5 - 0.24841, 0.5 + 0.24841), abs=1e-5)
    assert found.holds
    assert not chance([0.8, 0.81, 0.8, 0.79]).holds
    with pytest.raises(ValueError, match="at least 2 shuffles, not 1"):
        chance([0.5])


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Of intervals of means of four values that are chance, about one in a thousand misses it."""
    random = np.random.default_rng(0)
    values = np.clip(random.normal(0.5, 0.15, (2_000, FEW)), 0, 1)

    missed = np.mean([not chance(row.tolist()).holds for row in values])

    assert missed <= 0.003


def test_nothing_is_trained_where_nothing_taught(casebook: Casebook) -> None:
    first = choose_occasions(casebook, 5, seed=0)[0]

    assert shuffled_task(LogisticOnHonest.inputs, casebook, [first], seed=0) is None
