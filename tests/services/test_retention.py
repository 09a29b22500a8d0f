"""What is old goes, some rows at a time, and what something rests on stays."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from recommender import tasks
from recommender.jobs import start_job
from recommender.models import (
    Event,
    Experiment,
    Job,
    ModelVersion,
    Publication,
    Recommendation,
    Run,
    RunShard,
    Shop,
    Shopper,
    Snapshot,
)
from recommender.progress import Cancelled, Progress
from recommender.services import retention
from recommender.services.retention import delete_old
from recommender.services.snapshot import take_snapshot
from tests.services.small_shop import START, add_model_version, add_run, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

NOW = timezone.now()
OLD, NEW = NOW - timedelta(days=100), NOW - timedelta(days=5)


@pytest.fixture(autouse=True)
def thirty_days(settings: LazySettings) -> None:
    settings.EVENT_RETENTION_DAYS = settings.RUN_RETENTION_DAYS = settings.SNAPSHOT_RETENTION_DAYS = 30


def add_events(count: int, moment: object) -> None:
    shopper, _ = Shopper.objects.get_or_create(shopper_id="anna")
    before = Event.objects.count()
    Event.objects.bulk_create(
        Event(event_key=f"e{before + number}", shopper=shopper, kind="view", occurred_at=moment)
        for number in range(count)
    )


def age(snapshot: Snapshot) -> Snapshot:
    Snapshot.objects.filter(pk=snapshot.pk).update(created_at=OLD)
    return snapshot


class TestEvents:
    def test_old_ones_go_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        add_events(5, OLD)
        add_events(3, NEW)
        told: list[int] = []

        class Told(Progress):
            def report(self, message: str, done: int = 0, total: int | None = None) -> None:
                told.append(done)

        assert delete_old(now=NOW, progress=Told())["events"] == 5
        assert told == [2, 4, 5]
        assert set(Event.objects.values_list("occurred_at", flat=True)) == {NEW}

    def test_none_goes_where_all_are_kept(self, settings: LazySettings) -> None:
        settings.EVENT_RETENTION_DAYS = 0
        add_events(2, OLD)
        assert delete_old(now=NOW)["events"] == 0
        assert Event.objects.count() == 2

    def test_what_was_interrupted_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        add_events(5, OLD)

        class Stopped(Progress):
            def report(self, message: str, done: int = 0, total: int | None = None) -> None:
                raise Cancelled

        with pytest.raises(Cancelled):
            delete_old(now=NOW, progress=Stopped())
        assert Event.objects.count() == 3
        assert delete_old(now=NOW)["events"] == 3


class TestRuns:
    @pytest.mark.parametrize("state", ["drafted", "approved", "rejected"])
    def test_an_old_one_that_was_never_published_goes_with_its_lists(self, state: str) -> None:
        campaign = make_shop()
        run = add_run(campaign, state=state)
        coupon = campaign.coupons.first()
        for rank, shopper in enumerate(Shopper.objects.all(), start=1):
            Recommendation.objects.create(run=run, shopper=shopper, coupon=coupon, rank=rank, score=0.5)
        RunShard.objects.create(run=run, number=0, shopper_ids=["s1"])
        Run.objects.update(created_at=OLD)
        assert delete_old(now=NOW)["runs"] == 1
        assert not Run.objects.exists()
        assert not Recommendation.objects.exists()
        assert not RunShard.objects.exists()

    @pytest.mark.parametrize("state", ["computing", "published", "superseded", "rolled_back"])
    def test_one_that_is_computed_or_was_published_stays(self, state: str) -> None:
        campaign = make_shop()
        run = add_run(campaign, state=state)
        if state != "computing":
            ended = None if state == "published" else NOW
            Publication.objects.create(campaign=campaign, run=run, published_at=OLD, ended_at=ended)
        Run.objects.update(created_at=OLD)
        assert delete_old(now=NOW)["runs"] == 0
        run.refresh_from_db()
        assert run.state == state

    def test_one_that_an_experiment_has_an_arm_of_stays(self) -> None:
        campaign = make_shop()
        run = add_run(campaign, state="approved")
        Experiment.objects.create(campaign=campaign, name="which").arms.create(name="new", run=run)
        Run.objects.update(created_at=OLD)
        assert delete_old(now=NOW)["runs"] == 0
        run.refresh_from_db()
        assert run.state == "approved"

    def test_a_new_one_stays(self) -> None:
        run = add_run(make_shop(), state="drafted")
        assert delete_old(now=NOW)["runs"] == 0
        run.refresh_from_db()
        assert run.state == "drafted"


class TestSnapshots:
    def test_files_go_when_nothing_rests_on_them(self, data_dir: Path) -> None:
        first = age(take_snapshot())
        Shopper.objects.create(shopper_id="one")
        last = age(take_snapshot())
        assert delete_old(now=NOW)["snapshots"] == 1
        first.refresh_from_db()
        assert first.files_deleted_at == NOW
        folders = {path.name for path in (data_dir / "snapshots").iterdir() if path.is_dir()}
        assert folders == {last.fingerprint}, "the last one stays, however old"
        assert delete_old(now=NOW)["snapshots"] == 0

    def test_that_of_the_champion_stays_while_it_is_champion(self, data_dir: Path) -> None:
        make_shop()
        champion = add_model_version(learned_until=START)
        age(champion.snapshot)
        Shop.objects.filter(pk=Shop.current().pk).update(champion=champion)
        Shopper.objects.create(shopper_id="one")
        take_snapshot()
        assert delete_old(now=NOW)["snapshots"] == 0
        Shop.objects.update(champion=None)
        assert delete_old(now=NOW)["snapshots"] == 1

    def test_that_of_a_run_under_review_stays(self) -> None:
        campaign = make_shop()
        snapshot = age(take_snapshot())
        run = add_run(campaign, state="drafted")
        Run.objects.filter(pk=run.pk).update(snapshot=snapshot)
        Shopper.objects.create(shopper_id="one")
        take_snapshot()
        age(Snapshot.objects.get(fingerprint="0" * 64))
        delete_old(now=NOW)
        snapshot.refresh_from_db()
        assert snapshot.files_deleted_at is None

    def test_one_that_is_taken_again_is_there_again(self, data_dir: Path) -> None:
        first = age(take_snapshot())
        shopper = Shopper.objects.create(shopper_id="one")
        take_snapshot()
        delete_old(now=NOW)
        shopper.delete()
        again = take_snapshot()
        assert (again.pk, again.files_deleted_at) == (first.pk, None)
        assert (data_dir / "snapshots" / first.fingerprint).is_dir()


def test_it_is_a_job_that_starts_once(django_capture_on_commit_callbacks: object) -> None:
    add_events(2, OLD)
    tasks.delete_what_is_old()
    tasks.delete_what_is_old()
    job = Job.objects.get(kind=Job.Kind.RETAIN)
    again = start_job(kind=Job.Kind.RETAIN, key="retain", arguments={})
    assert again.pk == job.pk
    assert tasks._WORK[Job.Kind.RETAIN](job, Progress()) == {
        "events": 2,
        "runs": 0,
        "snapshots": 0,
        "models": 0,
        "candidates": 0,
    }
    assert not Event.objects.exists()
    assert not ModelVersion.objects.exists()
