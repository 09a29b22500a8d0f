"""What a search tries next, what it chooses by, and when the best replaces the champion."""

from collections.abc import Mapping, Sequence
from inspect import signature
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from recommender.ml import selection
from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.algorithms.configured import Configured
from recommender.ml.algorithms.gradient_boosting import GradientBoosting
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.evaluation.comparison import compare
from recommender.ml.examples import Casebook
from recommender.ml.search import (
    NothingToSearchBy,
    Trial,
    best_trial,
    choosing_shoppers,
    configurations,
    confirm,
    measure,
    next_candidate,
)
from recommender.ml.selection import METRIC, Selection
from recommender.ml.walk_forward import SCORES_SCHEMA, fit_as_of, score_period
from recommender.progress import Progress
from tests.ml.shops import LAST_START, day


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "RESAMPLES", 200)


# Configurations


class _Tried(Popularity):
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {"a": (1, 2, 3), "b": ((1, 2), (3,))}

    def __init__(self, a: int = 1, b: tuple[int, ...] = (1, 2)) -> None:
        self.a, self.b = a, b


class Good(_Tried):
    name: ClassVar[str] = "good"


class Middling(_Tried):
    name: ClassVar[str] = "middling"


class Bad(_Tried):
    name: ClassVar[str] = "bad"


VALUES = {"good": 0.6, "middling": 0.5, "bad": 0.4}


def test_a_configuration_is_written_the_same_way_however_it_is_given() -> None:
    given = Configured.of(Good, {"b": (3,), "a": 2})

    assert given.parameters == {"a": 2, "b": [3]}
    assert given.name == "good(a=2, b=[3])"
    assert given == Configured.of(Good, {"a": 2, "b": [3]})
    assert Configured.of(Good, {"b": [1, 2], "a": 2}).name == "good(a=2)"
    assert Configured.of(Good, {"b": [1, 2], "a": 1}) == Configured(Good)
    assert Configured(Good).name == "good"
    made = given()
    assert isinstance(made, Good)
    assert (made.a, made.b) == (2, [3])


def test_what_the_algorithm_no_longer_has_is_left_out() -> None:
    assert Configured.of(Good, {"a": 2, "dropped": 1}).name == "good(a=2)"
    assert Configured.of(Popularity, {"a": 2}) == Configured(Popularity)


def test_a_configuration_is_fitted_and_scored_by_its_name(casebook: Casebook) -> None:
    shallow = Configured(DecisionTree, {"max_depth": 1})
    period = day(150), LAST_START

    walk = score_period(
        casebook, [DecisionTree, shallow], *period, labels_before=LAST_START, seed=0, progress=Progress()
    )

    assert walk.scores["algorithm"].unique(maintain_order=True).to_list() == ["decision_tree", shallow.name]
    assert walk.seconds.keys() == {"decision_tree", "decision_tree(max_depth=1)"}
    distinct = {name: frame["score"].n_unique() for (name,), frame in walk.scores.group_by("algorithm")}
    assert distinct[shallow.name] < distinct["decision_tree"]
    assert fit_as_of(shallow, casebook, LAST_START, 0).model.parameters()["depth"] == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))
def test_every_search_space_is_of_parameters_that_there_are(algorithm: type[Algorithm]) -> None:
    parameters = signature(algorithm).parameters
    assert algorithm.search_space.keys() <= parameters.keys()
    for name, values in algorithm.search_space.items():
        assert parameters[name].default in values, "the default is one of what is tried"
    drawn = list(configurations(algorithm, 0))
    assert drawn[0] == Configured(algorithm)
    assert len({each.name for each in drawn}) == np.prod([len(values) for values in algorithm.search_space.values()])
    assert [each.name for each in configurations(algorithm, 0)] == [each.name for each in drawn]


def test_configurations_are_drawn_in_an_order_of_the_seeds() -> None:
    drawn = [[each.name for each in configurations(GradientBoosting, seed)] for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    assert set(drawn[0]) == set(drawn[1])
    depths = [each.parameters.get("max_depth") for each in configurations(GradientBoosting, 0)]
    assert sum(one != other for one, other in pairwise(depths)) > len(depths) / 2, "not in the order of the grid"


# What is tried next


def try_all(algorithms: Sequence[type[Algorithm]], *first: Configured, trials: Sequence[Trial] = ()) -> list[str]:
    """The names of what is tried, until nothing is left."""
    done = list(trials)
    while (candidate := next_candidate(first, algorithms, done, 0)) is not None:
        done.append(Trial(candidate, VALUES.get(candidate.algorithm.name)))
    return [trial.candidate.name for trial in done]


def test_the_first_then_the_defaults_then_the_better_half_in_turns() -> None:
    champion = Configured(Good, {"a": 3})

    tried = try_all([Bad, Good, Middling], champion)

    assert tried[:4] == ["good(a=3)", "bad", "good", "middling"]
    # Good has two trials and middling one, so middling catches up; bad waits until one of them is exhausted.
    rounds = [name.split("(")[0] for name in tried[4:]]
    assert rounds[:4] == ["middling", "good", "middling", "good"]
    assert "bad" not in rounds[: rounds.index("bad")]
    assert rounds.index("bad") >= 7
    assert len(tried) == len(set(tried)) == 3 * 6


def test_what_has_most_to_choose_from_is_tried_first() -> None:
    assert try_all([Popularity, Good])[:2] == ["good", "popularity"]


def test_a_search_that_was_broken_off_goes_on_as_if_it_had_not_been() -> None:
    whole = try_all([Bad, Good, Middling])
    configured = {each.name: each for algorithm in (Bad, Good, Middling) for each in configurations(algorithm, 0)}
    for stopped in (1, 3, 8, len(whole)):
        known = [Trial(configured[name], VALUES[name.split("(")[0]]) for name in whole[:stopped]]
        assert try_all([Bad, Good, Middling], trials=known) == whole


def test_what_is_undefined_comes_last() -> None:
    undefined = Trial(Configured(Bad), None)
    assert best_trial([undefined, Trial(Configured(Good), 0.0)]).candidate == Configured(Good)
    assert best_trial([undefined]) is undefined
    assert next_candidate([], [Bad, Good], [undefined, Trial(Configured(Good), 0.1)], 0).algorithm is Good  # type: ignore[union-attr]


def test_nothing_to_try() -> None:
    assert next_candidate([], [Popularity], [Trial(Configured(Popularity), 0.1)], 0) is None


# The two halves of the shoppers


def outcomes(uses: Sequence[int] | np.ndarray, offers: int = 6) -> pl.DataFrame:
    """Shoppers who were offered as much and used so much of it."""
    numbers = np.repeat(np.arange(len(uses)), offers)
    labels = np.concatenate([np.arange(offers) < used for used in uses])
    return pl.DataFrame({"shopper": numbers, "label": labels}, schema={"shopper": pl.UInt32, "label": pl.Boolean})


def test_both_halves_know_as_much() -> None:
    uses = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 5], [61, 20, 10, 4]))

    half = choosing_shoppers(outcomes(uses), 0).to_numpy()

    assert len(set(half)) == 48
    assert np.bincount(uses[half])[[1, 2, 5]].tolist() == [10, 5, 2]
    assert set(half) == set(choosing_shoppers(outcomes(uses).sample(fraction=1, shuffle=True, seed=1), 0))
    assert set(half) != set(choosing_shoppers(outcomes(uses), 1))


@pytest.mark.parametrize("uses", [[0, 0, 0, 3], [0, 0], []])
def test_too_few_uses_are_refused(uses: list[int]) -> None:
    message = f"{np.count_nonzero(uses)} of {len(uses)} shoppers used an offer of the validation period; a search needs"
    frame = outcomes(uses) if uses else pl.DataFrame(schema={"shopper": pl.UInt32, "label": pl.Boolean})
    with pytest.raises(NothingToSearchBy, match=message):
        choosing_shoppers(frame, 0)


def test_two_shoppers_with_a_use_are_one_for_each_half() -> None:
    assert len(set(choosing_shoppers(outcomes([0, 3, 0, 0, 1]), 0)) & {1, 4}) == 1


# The best one against the champion

SHOPPERS, COUPONS = 200, 12
CHOOSING = pl.Series(np.arange(0, SHOPPERS, 2), dtype=pl.UInt32)


def scores(**noise: tuple[float, float]) -> pl.DataFrame:
    """Each shopper uses one coupon of twelve; how wrong each is, for the shoppers who choose and for the others."""
    random = np.random.default_rng(5)
    labels = np.zeros((SHOPPERS, COUPONS), dtype=bool)
    labels[np.arange(SHOPPERS), random.integers(0, COUPONS, SHOPPERS)] = True
    errors = random.normal(size=labels.shape)
    frames = []
    for name, spreads in noise.items():
        spread = np.tile(spreads, SHOPPERS // 2)[:, None]
        frames.append(
            pl.DataFrame(
                {
                    "algorithm": name,
                    "campaign": 0,
                    "shopper": np.repeat(np.arange(SHOPPERS), COUPONS),
                    "coupon": np.tile(np.arange(COUPONS), SHOPPERS),
                    "score": (1 / (1 + np.exp(-(2 * labels + spread * errors)))).ravel(),
                    "label": labels.ravel(),
                    "share": 1.0,
                },
                schema=SCORES_SCHEMA,
            )
        )
        errors = random.normal(size=labels.shape)
    return pl.concat(frames)


def decide(frame: pl.DataFrame, present: str | None = "champion") -> Selection:
    return confirm(frame, CHOOSING, "found", present=present, seed=0, progress=Progress())


def test_one_that_the_other_shoppers_confirm_replaces_the_champion() -> None:
    frame = scores(popularity=(9.0, 9.0), champion=(2.0, 2.0), found=(1.0, 1.0))

    decided = decide(frame)

    assert decided.champion == "found"
    assert decided.decision is not None
    assert [finding.kind for finding in decided.decision.findings] == ["better_than_baseline", "not_below_champion"]
    gain = decided.decision.findings[1].gain
    others = frame.filter(pl.col("shopper") % 2 == 1)
    by_others = compare(others, dict.fromkeys(["popularity", "champion", "found"], 0.5), resamples=200)
    assert gain == by_others.difference("found", "champion", METRIC)
    assert gain.value is not None
    assert gain.value > 0


def test_one_that_only_those_who_chose_it_find_better_does_not() -> None:
    frame = scores(popularity=(9.0, 9.0), champion=(1.4, 1.4), found=(0.1, 1.7))
    by_all = compare(frame, dict.fromkeys(["popularity", "champion", "found"], 0.5), resamples=1)
    assert by_all.ranked(METRIC)[0] == "found", "of all shoppers together it would be"

    decided = decide(frame)

    assert decided.champion == "champion"
    assert decided.decision is not None
    assert [finding.holds for finding in decided.decision.findings] == [True, False]


def test_a_draw_changes_nothing() -> None:
    frame = scores(popularity=(9.0, 9.0), champion=(1.0, 1.0))
    same = frame.filter(algorithm="champion").with_columns(pl.lit("found").alias("algorithm"))

    decided = decide(pl.concat([frame, same]))

    assert decided.champion == "champion"
    assert decided.decision is not None
    assert decided.decision.passed, "the gate of a training would let it pass"


def test_one_that_is_not_surely_better_than_the_baseline_does_not() -> None:
    frame = scores(popularity=(2.0, 2.0), champion=(9.0, 9.0), found=(2.0, 2.0))

    assert decide(frame).champion == "champion"
    assert decide(frame, present=None).champion == "popularity"


def test_without_a_champion_one_that_beats_the_baseline_takes_the_place() -> None:
    assert decide(scores(popularity=(9.0, 9.0), found=(1.0, 1.0)), present=None).champion == "found"


def test_figures_and_thresholds_are_by_all_shoppers() -> None:
    frame = scores(popularity=(9.0, 9.0), champion=(2.0, 2.0), found=(1.0, 1.0))

    decided = decide(frame)

    assert decided.comparison is not None
    assert decided.comparison.shopper_count == SHOPPERS
    by_all = compare(frame, decided.thresholds, resamples=200)
    assert decided.comparison.as_json() == by_all.as_json()


def test_a_trial_is_measured_as_in_a_comparison() -> None:
    frame = scores(found=(1.0, 1.0))
    figures = measure(frame, 0)
    compared = compare(frame, {"found": 0.5}, resamples=1).figures("found")
    assert figures == {name: each["value"] for name, each in compared.items()}
    none = measure(frame.with_columns(label=pl.lit(False)), 0)
    assert none["roc_auc"] is None
    assert none[METRIC] is None
