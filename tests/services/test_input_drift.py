"""Drift of inputs: runs are counted as they are scored, whatever happens to their shards, and compared once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recommender import models
from recommender.ml import input_drift as of_model_layer
from recommender.ml.features import FEATURES
from recommender.models import LearnedInputs, Run, RunInput, RunShard
from recommender.progress import Cancelled, Progress
from recommender.services import runs, scorer, scoring
from recommender.services.input_drift import choose_reference, measure_inputs, record_inputs
from recommender.services.runs import compute_run, finish_run, plan_run, score_shard
from recommender.services.training import train
from tests.services.learning_shop import STARTS, load_learning_shop
from tests.services.small_shop import NOW, START, add_model_version, add_run, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

#: As a training keeps it. Of the small shop's twenty pairs 14 were never bought, 2 once, 3 twice, and so on.
TIMES = ["times", [-1e-45, 0.0, 2.0], [0, 14, 4, 2, 0], 0.5]
COUNTED = [[0, 12, 5, 3, 0]]


@pytest.fixture(autouse=True)
def few_shoppers(small_shards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_model_layer, "FEWEST_SHOPPERS", 1)


@pytest.fixture
def campaign(data_dir: Path) -> models.Campaign:
    """Of the small shop, whose champion knows how often shoppers bought."""
    campaign = make_shop()
    shop = models.Shop.current()
    shop.champion = add_model_version(learned_until=START)
    shop.save()
    shop.champion.learned_inputs.create(campaign_count=3, inputs=[TIMES])
    return campaign


def plan(campaign: models.Campaign) -> Run:
    return plan_run(campaign=campaign, as_of=NOW, top=2)


def compared(run: Run) -> list[tuple[Any, ...]]:
    return list(run.inputs.order_by("name").values_list("name", "index", "usual", "learned_counts", "counts"))


# A run


def test_all_pairs_that_a_run_scores_are_counted(campaign: models.Campaign) -> None:
    run = compute_run(run=plan(campaign))
    index = of_model_layer.population_stability_index(TIMES[2], COUNTED[0])
    assert compared(run) == [("times", pytest.approx(index, abs=1e-4), 0.5, TIMES[2], COUNTED[0])]
    assert run.inputs.get().edges == TIMES[1]
    assert sum(COUNTED[0]) == 5 * 4, "every shopper with every coupon, listed or not"


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_run_that_was_broken_off_and_resumed_counts_the_same(campaign: models.Campaign, done: int) -> None:
    class Impatient(Progress):
        def report(self, message: str, at: int = 0, total: int | None = None) -> None:
            if at == done:
                raise Cancelled

    run = plan(campaign)
    with pytest.raises(Cancelled):
        compute_run(run=run, progress=Impatient())
    assert compared(run) == []
    scoring.forget_scorer()
    assert compared(compute_run(run=run))[0][-1] == COUNTED[0]


def test_a_shard_that_died_while_it_was_written_is_counted_once(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(campaign)
    with monkeypatch.context() as context:
        context.setattr(runs, "insert_frame", lambda _model, _frame: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score_shard(shard_id=run.shards.get(number=1).pk)
    assert list(run.shards.values_list("input_counts", flat=True)) == [[]] * 3
    assert compared(compute_run(run=run))[0][-1] == COUNTED[0]


def test_neither_the_order_of_shards_nor_doing_it_again_matters(campaign: models.Campaign) -> None:
    run = plan(campaign)
    for shard_id in run.shards.order_by("-number").values_list("pk", flat=True):
        score_shard(shard_id=shard_id)
        score_shard(shard_id=shard_id)
    finish_run(run=run)
    before = list(RunInput.objects.values())
    assert before[0]["counts"] == COUNTED[0]
    finish_run(run=run)
    compute_run(run=run)
    assert list(RunInput.objects.values()) == before
    run.refresh_from_db()
    record_inputs(run=run)
    assert compared(run)[0][-1] == COUNTED[0]


def test_what_was_not_recorded_at_training_is_not_compared(campaign: models.Campaign) -> None:
    LearnedInputs.objects.all().delete()
    run = compute_run(run=plan(campaign))
    assert (run.state, run.learned_inputs, compared(run)) == ("drafted", None, [])
    assert list(RunShard.objects.values_list("input_counts", flat=True)) == [[]] * 3
    found = measure_inputs(version=run.model_version)
    assert (found.recorded, found.run, found.moved) == (False, None, [])


def test_few_shoppers_say_nothing(campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_model_layer, "FEWEST_SHOPPERS", 6)
    run = compute_run(run=plan(campaign))
    assert (run.state, compared(run)) == ("drafted", [])
    found = measure_inputs(version=run.model_version)
    assert (found.recorded, found.run) == (True, None)


def test_a_run_is_compared_with_campaigns_of_its_kind_if_there_are_any(campaign: models.Campaign) -> None:
    version = models.Shop.current().champion
    of_all = version.learned_inputs.get()
    of_mail = version.learned_inputs.create(kind="mail", campaign_count=3, inputs=[TIMES])
    version.learned_inputs.create(kind="app", campaign_count=3, inputs=[TIMES])
    for kind, reference in (("", of_all), ("mail", of_mail), ("post", of_all)):
        campaign.kind = kind
        assert choose_reference(version=version, campaign=campaign) == reference


def test_what_a_run_is_compared_with_is_settled_when_it_is_planned(campaign: models.Campaign) -> None:
    run = plan(campaign)
    models.Shop.current().champion.learned_inputs.create(
        kind="mail", campaign_count=3, inputs=[["other", [], [1, 0], 0]]
    )
    models.Campaign.objects.update(kind="mail")
    assert [name for name, *_rest in compared(compute_run(run=run))] == ["times"]


# Verdicts


@pytest.mark.parametrize(
    ("index", "usual", "verdict"),
    [
        (0.0999, 0, "steady"),
        (0.1, 0, "shifted"),
        (0.25, 0, "shifted"),
        (0.2501, 0.25, "moved"),
        (3, 3, "usual"),
        (3, 2.9, "moved"),
    ],
)
def test_an_input_moved_where_it_lies_further_off_than_campaigns_do(index: float, usual: float, verdict: str) -> None:
    campaign = models.Campaign.objects.create(campaign_id="one", starts_at=START, ends_at=NOW)
    row = RunInput.objects.create(run=add_run(campaign), name="spend", index=index, usual=usual)
    assert row.verdict == verdict
    assert RunInput.objects.moved().exists() is (verdict == "moved")


def test_the_latest_compared_run_counts_with_what_moved_first() -> None:
    campaign = models.Campaign.objects.create(campaign_id="one", starts_at=START, ends_at=NOW)
    first, second, third = (add_run(campaign) for _ in range(3))
    RunInput.objects.create(run=first, name="spend", index=9, usual=0)
    for name, index, usual in (("clicks", 5, 6), ("times", 0.3, 0.2), ("spend", 0.4, 0.3), ("buyers", 0.01, 0)):
        RunInput.objects.create(run=second, name=name, index=index, usual=usual)
    found = measure_inputs(version=third.model_version)
    assert found.run == second
    assert [each.name for each in found.inputs] == ["spend", "times", "clicks", "buyers"]
    assert [each.name for each in found.moved] == ["spend", "times"]


# From training to run


def test_a_planted_shift_is_found_in_its_input_and_a_run_of_what_was_learned_shows_none(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last campaign computed anew as of its start, by what was learned from it and the others."""
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 20)
    monkeypatch.setattr(scorer, "BLOCK_PAIRS", 250_000)
    load_learning_shop(tmp_path / "export")
    report = train(algorithms=["decision_tree"])
    for version in report.versions:
        learned = version.learned_inputs.get()
        assert (learned.kind, learned.campaign_count) == ("", len(STARTS))
    version = report.versions[1]
    assert [name for name, *_rest in version.learned_inputs.get().inputs] == FEATURES
    models.ModelVersion.objects.update(learned_until=STARTS["last"])  # so that it may score what it knows
    campaign = models.Campaign.objects.get(campaign_id="last")

    def compute() -> Run:
        scoring.forget_scorer()
        return compute_run(run=plan_run(campaign=campaign, as_of=STARTS["last"], algorithm="decision_tree"))

    same = compute()
    assert same.inputs.count() == len(FEATURES)
    assert not same.inputs.moved().exists(), "it is one of the campaigns that was learned from"

    recommend = scorer.Scorer.recommend

    def with_more_spend(self: Any, shoppers: pl.DataFrame, top: int) -> Any:
        history = self.described()

        class Shifted:
            def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
                return history.describe(pairs).with_columns(pl.col("spend") * 10)

        return recommend(replace(self, described=Shifted), shoppers, top)

    Run.objects.all().delete()
    monkeypatch.setattr(scorer.Scorer, "recommend", with_more_spend)
    shifted = compute()
    assert [each.name for each in shifted.inputs.moved()] == ["spend"]
