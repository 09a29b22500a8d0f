"""Training: what is kept of it, who becomes the champion, and that it is all or nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recommender import models
from recommender.ml import artifact, selection
from recommender.ml.algorithms import UnknownAlgorithm
from recommender.ml.evaluation.gate import BASELINE, GateDecision
from recommender.ml.features import GROUPS
from recommender.ml.forecast import Outcome
from recommender.models import ModelVersion, Promotion, Shop
from recommender.progress import Cancelled, Progress
from recommender.services import training
from recommender.services.training import NothingToLearnFrom, promote, train
from tests.services.learning_shop import COUPONS, STARTS, TREATED, load_learning_shop
from tests.services.small_shop import add_model_version, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

FEW = ["decision_tree"]  # the baseline comes by itself


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "RESAMPLES", 100)


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def champion() -> ModelVersion | None:
    return Shop.current().champion


def history_of_champions() -> list[tuple[str, str | None, str]]:
    """The champions, the first one first: its algorithm, its predecessor's, and why."""
    return [
        (each.model_version.algorithm, each.previous.algorithm if each.previous else None, each.reason)
        for each in Promotion.objects.order_by("pk")
    ]


def kept(data_dir: Path) -> tuple[list[Any], ...]:
    """All that a training may leave behind."""
    rows = [list(model.objects.order_by("pk").values()) for model in (ModelVersion, models.Evaluation, Promotion)]
    return *rows, [champion()], sorted((data_dir / "models").glob("*")), sorted((data_dir / "figures").glob("*"))


def more_happens() -> None:
    """The shop's last moment moves on."""
    last = models.Order.objects.latest("ordered_at")
    later = last.ordered_at + timedelta(days=1)
    models.Event.objects.create(event_key="later", shopper=last.shopper, kind="view", occurred_at=later)


def fail_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        selection, "passes_gate", lambda _comparison, *, candidate, **_options: GateDecision(candidate, False, ())
    )


# What is kept


def test_each_algorithm_becomes_a_version_and_the_best_one_the_champion(shop: None, data_dir: Path) -> None:
    report = train(algorithms=FEW)

    assert [version.algorithm for version in report.versions] == ["popularity", "decision_tree"]
    assert list(ModelVersion.objects.order_by("pk")) == report.versions
    assert report.selection is not None
    assert report.selection.comparison is not None
    last = max(
        models.Order.objects.latest("ordered_at").ordered_at,
        models.Redemption.objects.latest("redeemed_at").redeemed_at,
        models.Event.objects.latest("occurred_at").occurred_at,
    )
    for version in report.versions:
        assert version.learned_until == last + timedelta(microseconds=1)
        assert version.training_rows == TREATED * sum(COUPONS.values())
        assert version.training_positives == models.Redemption.objects.count()
        # The first campaign starts before the validation period.
        outcomes = [Outcome(*outcome) for outcome in version.past_outcomes]
        uses = [models.Redemption.objects.filter(campaign__campaign_id=name).count() for name in STARTS]
        assert [outcome.actual for outcome in outcomes] == uses[1:]
        assert [outcome.taught_by for outcome in outcomes] == [sum(uses[:number]) for number in range(1, len(uses))]
        assert all(0 < outcome.expected < TREATED * COUPONS["last"] for outcome in outcomes)
        assert version.threshold == report.selection.thresholds[version.algorithm]
        assert version.library_versions == artifact.library_versions()
        assert version.snapshot == models.Snapshot.objects.get()
        fitted = artifact.load(data_dir / version.artifact, version.artifact_digest)
        assert fitted.name == version.algorithm
        assert fitted.parameters() == version.parameters
        assert (data_dir / version.figure).stat().st_size > 0
        figures = report.selection.comparison.figures(version.algorithm)
        assert {
            row.metric: {"value": row.value, "low": row.low, "high": row.high} for row in version.evaluations.all()
        } == figures
        assert version.score_seconds > 0
        assert version.peak_memory is None or version.peak_memory > 2**20
        assert set(version.curves) == {"roc", "precision_recall", "calibration", "gain", "lift"}
        assert version.curves["roc"][-1] == [1.0, 1.0]
    popularity, tree = report.versions
    assert popularity.importance == {}
    assert set(tree.importance) == set(GROUPS)
    assert max(tree.importance.values()) > 0
    assert popularity.drawing == ""
    assert (data_dir / tree.drawing).read_bytes().startswith(b"\x89PNG")
    assert [version.won for version in report.versions] == [False, True]
    assert report.champion == report.versions[1] == champion()
    assert history_of_champions() == [("decision_tree", None, report.selection.reason)]
    assert "decision_tree is better than popularity by ndcg_at_10" in report.selection.reason


def test_what_is_new_is_learned_and_what_is_not_is_not(
    shop: None, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(algorithms=[BASELINE])
    before = kept(data_dir)

    with monkeypatch.context() as patch:
        patch.delattr(training, "score_period")  # what takes the time is not even begun
        again = train(algorithms=[BASELINE])

    assert again.selection is None
    assert (again.versions, again.champion) == (first.versions, first.champion)
    assert kept(data_dir) == before

    more_happens()
    later = train(algorithms=[BASELINE])

    assert {version.pk for version in later.versions}.isdisjoint(version.pk for version in first.versions)
    assert all(version.learned_until > first.champion.learned_until for version in later.versions)
    assert champion() == later.champion
    assert [algorithm for algorithm, *_ in history_of_champions()] == [BASELINE, BASELINE]
    assert Promotion.objects.first().previous == first.champion  # type: ignore[union-attr]


# Who becomes the champion


def test_a_training_as_of_an_earlier_moment_leaves_the_champion_and_learns_nothing_later(
    shop: None, data_dir: Path
) -> None:
    present = add_model_version(learned_until=STARTS["last"] + timedelta(days=1), algorithm="decision_tree")
    promote(model_version=present, reason="it is here")

    report = train(as_of=STARTS["last"], algorithms=FEW)

    assert report.champion != present
    for version in report.versions:
        assert version.learned_until == STARTS["last"]
        assert version.training_rows == TREATED * sum(COUPONS.values()) - TREATED * COUPONS["last"]
        known = models.Redemption.objects.filter(redeemed_at__lt=STARTS["last"])
        assert version.training_positives == known.count() < models.Redemption.objects.count()
    assert report.period[1] == STARTS["last"]
    assert champion() == present
    assert Promotion.objects.count() == 1


def test_the_present_champions_algorithm_stays_where_no_candidate_passes(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = add_model_version(learned_until=STARTS["last"], algorithm="item_based_cf")
    promote(model_version=present, reason="it is here")
    fail_the_gate(monkeypatch)

    report = train(algorithms=FEW)

    assert [version.algorithm for version in report.versions] == ["popularity", "item_based_cf", "decision_tree"]
    assert report.champion.algorithm == "item_based_cf"
    assert report.champion != present
    assert champion() == report.champion  # fitted on what is known now
    assert [pair[:2] for pair in history_of_champions()] == [
        ("item_based_cf", None),
        ("item_based_cf", "item_based_cf"),
    ]


def test_without_a_champion_the_baseline_takes_the_place_where_no_candidate_passes(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_the_gate(monkeypatch)

    assert train(algorithms=FEW).champion.algorithm == "popularity"
    assert [pair[:2] for pair in history_of_champions()] == [("popularity", None)]


def test_a_shop_without_past_campaigns_has_a_champion_too(data_dir: Path) -> None:
    make_shop()

    report = train(algorithms=FEW)

    assert [(each.algorithm, each.training_rows, each.threshold) for each in report.versions] == [
        ("popularity", 0, 0.5),
        ("decision_tree", 0, 0.5),
    ]
    assert (report.champion.algorithm, report.champion.figure) == ("decision_tree", "")
    assert [(each.curves, each.importance, each.score_seconds) for each in report.versions] == [({}, {}, None)] * 2
    assert champion() == report.champion
    assert not models.Evaluation.objects.exists()
    assert "chances of buying decide" in history_of_champions()[0][2]


def test_promoting_keeps_who_was_champion_before(data_dir: Path, admin_user: models.User) -> None:
    one, other = (
        add_model_version(learned_until=STARTS["last"], algorithm=name) for name in ("decision_tree", "popularity")
    )

    promote(model_version=one, reason="the first")
    promote(model_version=one, reason="once more")
    promote(model_version=other, reason="by hand", promoted_by=admin_user)
    promote(model_version=one, reason="x" * 600)

    assert champion() == one
    assert list(Promotion.objects.order_by("pk").values_list("model_version", "previous", "promoted_by", "reason")) == [
        (one.pk, None, None, "the first"),
        (other.pk, one.pk, admin_user.pk, "by hand"),
        (one.pk, other.pk, None, "x" * 600),
    ]


# Refusals


def test_an_unknown_algorithm_is_refused_before_anything_is_written(shop: None, data_dir: Path) -> None:
    with pytest.raises(UnknownAlgorithm, match=r"named oracle\. There are: popularity, user_based_cf, "):
        train(algorithms=["decision_tree", "oracle"])

    assert not ModelVersion.objects.exists()
    assert not models.Snapshot.objects.exists()


def test_a_shop_without_history_is_refused(data_dir: Path) -> None:
    models.Product.objects.create(product_id="p")

    with pytest.raises(NothingToLearnFrom, match=r"no order, redemption or event\. Load history first"):
        train()

    assert kept(data_dir) == ([], [], [], [None], [], [])


def test_a_moment_before_all_history_is_refused(shop: None, data_dir: Path) -> None:
    with pytest.raises(NothingToLearnFrom, match=r"no order, redemption or event before Jan\. 1, 2020"):
        train(as_of=datetime(2020, 1, 1, tzinfo=UTC))

    assert kept(data_dir) == ([], [], [], [None], [], [])


class CancelAt(Progress):
    def __init__(self, beginning: str) -> None:
        self.beginning = beginning

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if message.startswith(self.beginning):
            raise Cancelled


@pytest.mark.parametrize(
    "beginning", ["Writing the snapshot", "Scoring past campaigns by decision_tree", "Fitting decision_tree"]
)
def test_a_cancelled_training_leaves_nothing_and_the_champion_in_place(
    shop: None, data_dir: Path, beginning: str
) -> None:
    promote(model_version=add_model_version(learned_until=STARTS["last"], algorithm="popularity"), reason="it is here")
    before = kept(data_dir)

    with pytest.raises(Cancelled):
        train(algorithms=FEW, progress=CancelAt(beginning))

    assert kept(data_dir) == before


def test_a_training_that_dies_while_it_is_written_down_is_done_again(
    shop: None, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the versions kept without the champion, the next training would find nothing new."""
    with monkeypatch.context() as patch:
        patch.delattr(training, "promote")
        with pytest.raises(NameError):
            train(algorithms=[BASELINE])
    assert (ModelVersion.objects.count(), champion()) == (0, None)

    assert train(algorithms=[BASELINE]).champion == champion()
