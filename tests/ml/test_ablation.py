"""What each part brings: groups of features and members of the blend, left out in turn."""

import re
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from recommender.ml import ablation as module
from recommender.ml.ablation import LEARNER, WHOLE, Ablation, WithoutGroup, ablate, render_ablation
from recommender.ml.algorithms import Algorithm
from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.evaluation.comparison import compare
from recommender.ml.examples import Casebook
from recommender.ml.features import GROUPS
from recommender.ml.walk_forward import fit_as_of, score_period
from recommender.progress import Progress
from tests.ml.shops import LAST_DAY, LAST_START, day, numbers_of

START, END = LAST_START, day(LAST_DAY)
RESAMPLES = 10
#: Few, so that it is quick; the first is not worth much in a shop where everybody buys what they like.
SOME_GROUPS = ("own purchases", "coupon habit", "brand")


def scored(casebook: Casebook, algorithms: list[type[Algorithm]]) -> pl.DataFrame:
    return score_period(casebook, algorithms, START, END, labels_before=END, seed=0, progress=Progress()).scores


def ablated(casebook: Casebook, scores: pl.DataFrame) -> Ablation | None:
    return ablate(casebook, scores, START, END, resamples=RESAMPLES, seed=0, progress=Progress())


@pytest.fixture(scope="module", autouse=True)
def some_groups() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUPS", {group: GROUPS[group] for group in SOME_GROUPS})
        yield


@pytest.fixture(scope="module")
def members(casebook: Casebook) -> pl.DataFrame:
    """The scores of the blend and of all that it is made of."""
    return scored(casebook, [*Blend.members, Blend])


@pytest.fixture(scope="module")
def ablation(casebook: Casebook, members: pl.DataFrame) -> Ablation:
    found = ablated(casebook, members)
    assert found is not None
    return found


def test_every_part_is_left_out_once(ablation: Ablation) -> None:
    assert list(ablation.groups.estimates) == [WHOLE, *SOME_GROUPS]
    assert list(ablation.members.estimates) == [WHOLE, *(member.name for member in Blend.members)]
    assert {comparison.campaign_count for comparison in (ablation.groups, ablation.members)} == {1}
    assert {comparison.resamples for comparison in (ablation.groups, ablation.members)} == {RESAMPLES}


def test_the_wholes_are_the_learner_and_the_blend_themselves(ablation: Ablation, members: pl.DataFrame) -> None:
    themselves = compare(
        members.filter(pl.col("algorithm").is_in([LEARNER.name, Blend.name])),
        {LEARNER.name: 0.5, Blend.name: 0.5},
        resamples=RESAMPLES,
    )

    for metric in ("roc_auc", "ndcg_at_10"):  # the same resamples, so that differences are paired
        np.testing.assert_array_equal(ablation.groups.draws[WHOLE][metric], themselves.draws[LEARNER.name][metric])
    assert ablation.groups.figures(WHOLE) == themselves.figures(LEARNER.name)
    assert ablation.members.figures(WHOLE) == themselves.figures(Blend.name)


def test_what_was_not_scored_yet_is(ablation: Ablation, casebook: Casebook) -> None:
    found = ablated(casebook, scored(casebook, [Popularity]))

    assert found is not None
    assert found.groups.as_json() == ablation.groups.as_json()
    assert found.members.as_json() == ablation.members.as_json()


def test_what_is_left_out_tells_nothing(casebook: Casebook) -> None:
    inputs = casebook.described(LEARNER.inputs, numbers_of(casebook.snapshot, "campaign")["last"])
    model = fit_as_of(module.Configured(WithoutGroup, {"group": "own purchases"}), casebook, LAST_START, seed=0).model

    scores = model.score(inputs)

    for group, moves in (("own purchases", False), ("coupon habit", True)):
        other = inputs.with_columns(pl.col(*GROUPS[group]).reverse())
        assert np.array_equal(model.score(other), scores) is not moves
    whole = fit_as_of(LEARNER, casebook, LAST_START, seed=0).model
    assert not np.array_equal(whole.score(inputs), scores)


def test_differences_are_those_of_what_is_left_to_the_whole(ablation: Ablation) -> None:
    group = "coupon habit"
    without, whole = (ablation.groups.estimates[name]["roc_auc"].value for name in (group, WHOLE))
    assert without is not None
    assert whole is not None
    gap = ablation.groups.difference(group, WHOLE, "roc_auc")

    text = render_ablation(ablation, (START, END))

    (row,) = re.findall(rf"^\| {group} .*\|$", text, re.MULTILINE)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:3] == [group, f"{without:.3f}", f"{without - whole:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"]
    assert f"({START:%Y-%m-%d} to {END:%Y-%m-%d}, labels cut at its end: " in text
    assert len(re.findall(rf"^\| {WHOLE} ", text, re.MULTILINE)) == 2
    assert f"{LEARNER.name}, fitted anew without each group of features:" in text


def test_a_period_without_a_use_tells_nothing(casebook: Casebook, members: pl.DataFrame) -> None:
    assert ablated(casebook, members.with_columns(pl.lit(False).alias("label"))) is None
