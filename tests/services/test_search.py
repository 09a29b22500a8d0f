"""A search for the model: what it keeps, how it goes on, its time, and whom it promotes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from recommender import models
from recommender.ml import artifact, selection
from recommender.ml.algorithms import UnknownAlgorithm
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.evaluation.gate import GateDecision
from recommender.ml.search import NothingToSearchBy
from recommender.ml.selection import METRIC
from recommender.models import ModelVersion, Promotion, SearchTrial, Shop
from recommender.progress import Cancelled, Progress
from recommender.services import search as search_service
from recommender.services import training
from recommender.services.runs import finish_run, plan_run, score_shard
from recommender.services.search import SearchReport
from recommender.services.training import NothingToLearnFrom, promote, train
from tests.services.learning_shop import STARTS, load_learning_shop
from tests.services.small_shop import add_model_version, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

FEW = ["decision_tree"]  # the baseline comes by itself
SECONDS_A_TRIAL = 10


class Clock:
    """Time stands still but for trials, each of which takes ten seconds."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Watch(Progress):
    """Remembers the trials that were begun, and stops the work in one of them."""

    def __init__(self, stop_at: str = "none") -> None:
        self.stop_at = stop_at
        self.trials: list[str] = []

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if message.startswith("Trial "):
            number, name = message.removeprefix("Trial ").split(": ", 1)
            if name not in self.trials:
                self.trials.append(name)
            if number == self.stop_at:
                raise Cancelled


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "RESAMPLES", 100)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    measure = search_service.measure

    def measure_slowly(*arguments: Any) -> Any:
        clock.seconds += SECONDS_A_TRIAL
        return measure(*arguments)

    monkeypatch.setattr(search_service, "monotonic", clock)
    monkeypatch.setattr(search_service, "measure", measure_slowly)
    return clock


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def search(*, trials: int, **options: Any) -> SearchReport:
    """Search so long that so many trials are begun."""
    budget = timedelta(seconds=SECONDS_A_TRIAL * trials - 1)
    return search_service.search(**{"budget": budget, "algorithms": FEW, **options})


def champion() -> ModelVersion | None:
    return Shop.current().champion


def trail() -> list[tuple[str, float | None]]:
    return [(trial.name, trial.ndcg_at_10) for trial in SearchTrial.objects.order_by("pk")]


def kept() -> list[list[dict[str, Any]]]:
    return [list(model.objects.order_by("pk").values()) for model in (ModelVersion, SearchTrial, Promotion)]


def let_pass(monkeypatch: pytest.MonkeyPatch, passed: bool) -> None:
    """What the gate says from now on."""
    monkeypatch.setattr(
        selection, "passes_gate", lambda _comparison, *, candidate, **_options: GateDecision(candidate, passed, ())
    )


def make_champion(**configuration: Any) -> ModelVersion:
    """A decision tree that was promoted by the start of the last campaign."""
    version = add_model_version(learned_until=STARTS["last"], algorithm="decision_tree")
    version.configuration = configuration
    version.save()
    promote(model_version=version, reason="it is here")
    return version


# What is kept


def test_each_trial_is_kept_and_the_best_one_becomes_the_champion(
    shop: None, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    job = models.Job.objects.create(kind=models.Job.Kind.SEARCH, key="search")

    report = search(trials=5, progress=watch, job=job)

    assert [name for name, _ndcg in trail()] == watch.trials
    assert watch.trials[:2] == ["popularity", "decision_tree"]
    assert len(set(watch.trials)) == report.new == 5
    assert (report.exhausted, {trial.job for trial in report.trials}) == (False, {job})
    assert sorted(trail(), key=lambda each: -(each[1] or 0)) == [(each.name, each.ndcg_at_10) for each in report.trials]
    best = report.trials[0]
    assert report.best == best.name
    assert best.algorithm == "decision_tree"
    assert all(0 < figure < 1 for figure in (best.roc_auc, best.pr_auc, best.ndcg_at_10, best.recall_at_10))

    version = ModelVersion.objects.get()  # nobody but the winner is fitted
    assert version == report.champion == champion()
    assert (version.name, version.configuration, version.key) == (best.name, best.configuration, best.key)
    assert (version.won, version.learned_until, version.job) == (True, report.period[1], job)
    assert (data_dir / version.figure).stat().st_size > 0
    fitted = artifact.load(data_dir / version.artifact, version.artifact_digest)
    assert isinstance(fitted, DecisionTree)
    assert {name: list(np.atleast_1d(getattr(fitted, name))) for name in version.configuration} == {
        name: list(np.atleast_1d(value)) for name, value in version.configuration.items()
    }
    assert report.selection.comparison is not None
    figure = version.evaluations.get(metric=METRIC)
    assert figure.value == report.selection.comparison.estimates[best.name][METRIC].value
    reason = Promotion.objects.get().reason
    assert reason.startswith("After a search of 5 trials, by the shoppers that it was not chosen by: ")
    assert f"{best.name} is better than popularity by ndcg_at_10" in reason


def test_figures_of_a_trial_are_of_the_half_that_chooses(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half's outcomes, which confirm, do not move a figure of the trail."""
    measured = []
    measure = search_service.measure
    monkeypatch.setattr(
        search_service, "measure", lambda scores, seed: (measured.append(scores), measure(scores, seed))[1]
    )

    report = search(trials=2)

    treated = (
        models.CampaignShopper.objects.filter(campaign__starts_at__gte=report.period[0], group="treatment")
        .values_list("shopper")
        .distinct()
    )
    for scores in measured:
        assert scores["shopper"].n_unique() == (len(treated) + 1) // 2


# It goes on


def test_a_search_that_was_stopped_goes_on_and_tries_nothing_twice(shop: None) -> None:
    first, second = Watch(stop_at="4"), Watch()
    with pytest.raises(Cancelled):
        search(trials=6, progress=first)

    assert [name for name, _ndcg in trail()] == first.trials[:3]
    assert (ModelVersion.objects.exists(), champion()) == (False, None)

    stopped_at = trail()
    report = search(trials=3, progress=second)

    assert trail()[:3] == stopped_at
    assert (report.new, len(report.trials)) == (3, 6)
    assert second.trials == [name for name, _ndcg in trail()[3:]]
    assert second.trials[0] == first.trials[3], "the trial that was not finished is done first"
    assert set(second.trials).isdisjoint(first.trials[:3])

    whole = trail()
    SearchTrial.objects.all().delete()
    ModelVersion.objects.exclude(pk=report.champion.pk).delete()
    Shop.objects.update(champion=None)
    again = search(trials=6)
    assert trail() == whole, "as if it had not been stopped"
    assert again.champion == report.champion


def test_a_search_ends_when_nothing_is_left(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecisionTree, "search_space", {"max_depth": (4, 8)})

    report = search(trials=50)
    assert [name for name, _ndcg in trail()] == ["popularity", "decision_tree", "decision_tree(max_depth=4)"]
    assert (report.new, report.exhausted) == (3, True)

    before = kept()
    again = search(trials=50)
    assert (again.new, again.exhausted, again.champion) == (0, True, report.champion)
    assert kept() == before


def test_new_history_is_searched_anew(shop: None) -> None:
    search(trials=2)
    last = models.Order.objects.latest("ordered_at")
    models.Event.objects.create(
        event_key="later", shopper=last.shopper, kind="view", occurred_at=last.ordered_at + timedelta(days=1)
    )

    report = search(trials=2)

    assert (report.new, len(report.trials), SearchTrial.objects.count()) == (2, 2, 4)


# It keeps its time


def test_no_trial_begins_when_the_time_is_up_and_one_is_always_finished(shop: None, clock: Clock) -> None:
    for seconds, trials in [(1, 1), (10, 1), (11, 2), (35, 4)]:
        began = clock.seconds

        assert search_service.search(budget=timedelta(seconds=seconds), algorithms=FEW).new == trials

        assert clock.seconds - began == trials * SECONDS_A_TRIAL < seconds + SECONDS_A_TRIAL


# It sees nothing later


def test_nothing_from_the_moment_on_moves_a_figure(shop: None) -> None:
    moment = STARTS["last"]
    search(trials=4, as_of=moment)
    before = trail()

    later = models.Redemption.objects.filter(redeemed_at__gte=moment)
    assert later.count() > 5
    later.delete()
    for coupon in models.Coupon.objects.all():
        models.Redemption.objects.create(
            shopper=models.Shopper.objects.earliest("pk"),
            coupon=coupon,
            campaign=models.Campaign.objects.get(campaign_id="fourth"),
            redeemed_at=moment,
        )
    # Of orders by number: PostgreSQL knows nothing yet of how many rows a fresh table has, and plans a join for few.
    orders = list(models.Order.objects.filter(ordered_at__gte=moment).values_list("pk", flat=True))
    models.OrderLine.objects.filter(order__in=orders).update(amount=1000)
    Shop.objects.update(champion=None)  # or it would be tried first
    report = search(trials=4, as_of=moment)

    assert models.Snapshot.objects.count() == 2
    assert trail()[4:] == before
    assert report.period[1] == moment


# Whom it promotes


def test_one_that_the_other_half_does_not_confirm_leaves_the_champion(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = make_champion(max_depth=2)
    let_pass(monkeypatch, False)

    report = search(trials=5)

    assert trail()[0][0] == "decision_tree(max_depth=2)", "the champion is tried first"
    assert report.best != "decision_tree(max_depth=2)"
    assert report.champion == champion() != present, "fitted anew on what is known now"
    assert report.champion.configuration == {"max_depth": 2}
    assert report.champion.parameters["max_depth"] == 2
    assert {version.name for version in ModelVersion.objects.all()} == {"decision_tree(max_depth=2)"}


def test_one_that_the_other_half_confirms_replaces_the_champion(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    present = make_champion(max_depth=1)
    let_pass(monkeypatch, True)

    report = search(trials=5)

    assert report.champion == champion()
    assert report.champion.name == report.best != present.name
    assert [promotion.previous for promotion in Promotion.objects.order_by("pk")] == [None, present]


def test_a_version_that_is_there_is_promoted_and_not_fitted_again(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = train(algorithms=FEW)
    [popularity] = [version for version in trained.versions if version.algorithm == "popularity"]
    promote(model_version=popularity, reason="by hand")
    versions = list(ModelVersion.objects.order_by("pk").values_list("pk", "artifact_digest"))
    monkeypatch.delattr(training, "fit_as_of")

    report = search(trials=2)

    assert report.champion == champion() == trained.champion
    assert list(ModelVersion.objects.order_by("pk").values_list("pk", "artifact_digest")) == versions
    assert [version.won for version in ModelVersion.objects.order_by("pk")] == [False, True]


def test_a_search_as_of_an_earlier_moment_leaves_the_champion(shop: None) -> None:
    present = add_model_version(learned_until=STARTS["last"] + timedelta(days=1), algorithm="decision_tree")
    promote(model_version=present, reason="it is here")

    report = search(trials=3, as_of=STARTS["last"])

    assert report.champion.learned_until == STARTS["last"]
    assert report.champion != present
    assert champion() == present


# What comes after it


def test_a_training_keeps_what_was_found_until_something_is_better(
    shop: None, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_champion(max_depth=2, dropped=1)  # by code that had a parameter more
    let_pass(monkeypatch, False)

    report = train(algorithms=FEW)

    names = ["popularity", "decision_tree", "decision_tree(max_depth=2)"]
    assert [version.name for version in report.versions] == names
    assert report.champion.name == "decision_tree(max_depth=2)"
    assert report.champion == champion()
    fitted = artifact.load(data_dir / report.champion.artifact, report.champion.artifact_digest)
    assert isinstance(fitted, DecisionTree)
    assert fitted.max_depth == 2
    before = kept()
    assert train(algorithms=FEW).selection is None, "nothing is new"
    assert kept() == before

    last = models.Order.objects.latest("ordered_at")
    models.Event.objects.create(
        event_key="later", shopper=last.shopper, kind="view", occurred_at=last.ordered_at + timedelta(days=1)
    )
    let_pass(monkeypatch, True)
    later = train(algorithms=FEW)
    assert later.selection is not None
    assert later.selection.comparison is not None
    assert later.selection.comparison.estimates.keys() == set(names)
    assert later.champion.name == later.selection.comparison.ranked(METRIC)[0]


def test_a_training_of_other_algorithms_compares_with_what_was_found(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_champion(max_depth=2)
    let_pass(monkeypatch, True)

    report = train(algorithms=["item_based_cf"])

    assert [each.name for each in report.versions] == ["popularity", "item_based_cf", "decision_tree(max_depth=2)"]
    assert report.champion.name == "item_based_cf", "no other may win"


def test_after_a_search_a_training_on_the_same_history_says_so(shop: None) -> None:
    train(algorithms=FEW)
    found = search(trials=5)

    again = train(algorithms=FEW)

    assert again.champion == found.champion == champion()


def test_what_was_found_scores_a_run(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    make_champion(max_depth=2)
    let_pass(monkeypatch, False)
    found = search(trials=2).champion
    campaign = models.Campaign.objects.get(campaign_id="last")
    models.Campaign.objects.filter(pk=campaign.pk).update(ends_at=found.learned_until + timedelta(days=30))
    campaign.refresh_from_db()

    run = plan_run(campaign=campaign, as_of=found.learned_until, top=3)
    for shard in run.shards.all():
        score_shard(shard_id=shard.pk)
    run = finish_run(run=run)

    assert (run.model_version, run.state) == (found, models.Run.State.DRAFTED)
    assert run.recommendation_count > 0


# Refusals


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_is_refused(shop: None, seconds: int) -> None:
    with pytest.raises(ValueError, match="A search needs time: give it more than 0 seconds"):
        search_service.search(budget=timedelta(seconds=seconds))

    assert kept() == [[], [], []]
    assert not models.Snapshot.objects.exists()


def test_an_unknown_algorithm_is_refused_before_anything_is_written(shop: None) -> None:
    with pytest.raises(UnknownAlgorithm, match=r"named oracle\. There are: popularity, user_based_cf, "):
        search(trials=2, algorithms=["decision_tree", "oracle"])

    assert not models.Snapshot.objects.exists()


def test_a_shop_without_history_is_refused(data_dir: Path) -> None:
    with pytest.raises(NothingToLearnFrom, match="Load history first"):
        search(trials=2)

    assert kept() == [[], [], []]


def test_a_shop_without_past_uses_is_refused_and_keeps_its_champion(data_dir: Path) -> None:
    make_shop()
    present = train(algorithms=["popularity"], as_of=timezone.now()).champion
    before = kept()

    with pytest.raises(NothingToSearchBy, match="0 of 0 shoppers used an offer of the validation period"):
        search(trials=2)

    assert kept() == before
    assert champion() == present
