import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import redis
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from couponsite.celery import app
from recommender import jobs, tasks
from recommender.jobs import cancel_job, start_job
from recommender.models import (
    Campaign,
    Job,
    ModelVersion,
    Publication,
    Recommendation,
    Run,
    RunShard,
    Shopper,
    Snapshot,
    Summary,
)
from recommender.models.coupons import Coupon
from recommender.progress import Cancelled, Progress
from recommender.services import ingest, publishing, runs, summaries
from recommender.services.budgeting import Budget
from tests.admin.rows import add_rows
from tests.services.small_shop import add_run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def campaign() -> Campaign:
    return Campaign.objects.create(
        campaign_id="18", starts_at=datetime(2026, 1, 1, tzinfo=UTC), ends_at=datetime(2026, 2, 1, tzinfo=UTC)
    )


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, campaign: Campaign) -> Mock:
    """Planning makes a run of three shards, scoring writes one recommendation a shard."""
    snapshot = Snapshot.objects.create(fingerprint="f" * 64)
    moment = timezone.now()
    version = ModelVersion.objects.create(
        algorithm="popularity",
        snapshot=snapshot,
        learned_until=moment,
        key="m",
        artifact="m",
        artifact_digest="d",
        training_rows=1,
        training_positives=1,
        fit_seconds=0,
        threshold=0.5,
    )
    coupon = Coupon.objects.create(coupon_id="c")

    def plan_run(*, campaign: Campaign, job: Job, progress: Progress, **options: object) -> Run:
        progress.report("Planning")
        if (run := job.runs.first()) is not None:
            return run
        run = Run.objects.create(
            campaign=campaign, model_version=version, snapshot=snapshot, as_of=moment, top=10, key=f"{job.pk}", job=job
        )
        for number in range(3):
            RunShard.objects.create(run=run, number=number, shopper_ids=[f"s{number}"])
        return run

    def score_next_shard(*, run: Run, progress: Progress) -> bool:
        progress.report("Scoring")
        shard = run.shards.free_at(timezone.now()).first()
        if shard is None:
            return False
        RunShard.objects.filter(pk=shard.pk).update(state="scored")
        shopper = Shopper.objects.create(shopper_id=shard.shopper_ids[0])
        Recommendation.objects.create(run=shard.run, shopper=shopper, coupon=coupon, rank=1, score=0.5)
        return True

    plan = Mock(side_effect=plan_run)
    monkeypatch.setattr(runs, "plan_run", plan)
    monkeypatch.setattr(runs, "score_next_shard", score_next_shard)
    return plan


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker gives way to others after each shard."""
    monkeypatch.setattr(tasks, "SLICE", timedelta(0))


def calls(broker: redis.Redis) -> int:
    """How many calls to score shards wait."""
    return broker.llen(f"scoring\x06\x16{tasks.AFTER_OTHERS}")


def recommend(campaign: Campaign, **arguments: object) -> Job:
    job = start_job(kind=Job.Kind.RECOMMEND, key="recommend", arguments={"campaign": campaign.pk, **arguments})
    tasks.run_job(job.pk)
    job.refresh_from_db()
    return job


def shards() -> list[int]:
    return list(RunShard.objects.order_by("number").values_list("pk", flat=True))


@pytest.mark.usefixtures("hasty")
class TestRecommend:
    def test_the_last_shard_finishes_run_and_job(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = recommend(campaign, as_of="2026-01-02T00:00:00Z", algorithm="popularity", top=3)
        assert (job.state, job.done, job.total, job.message) == (Job.State.RUNNING, 0, 3, "Scoring shoppers")
        options = {name: planned.call_args.kwargs[name] for name in ("campaign", "as_of", "algorithm", "top", "job")}
        assert options == {
            "campaign": campaign,
            "as_of": datetime(2026, 1, 2, tzinfo=UTC),
            "algorithm": "popularity",
            "top": 3,
            "job": job,
        }
        assert (broker.llen("scoring"), calls(broker)) == (1, 3), "the job's message and a call for each shard"

        for _ in range(2):
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.done, job.result) == (Job.State.RUNNING, 2, None)
        assert Run.objects.get().state == Run.State.COMPUTING

        tasks.score_shards(job.pk)
        job.refresh_from_db()
        run = Run.objects.get()
        assert (run.state, run.recommendation_count) == (Run.State.DRAFTED, 3)
        assert (job.state, job.done, job.result) == (Job.State.SUCCEEDED, 3, {"run": run.pk, "recommendations": 3})

    def test_one_worker_goes_on_while_its_time_lasts(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "SLICE", timedelta(minutes=1))
        job = recommend(campaign)
        tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.done, calls(broker)) == (Job.State.SUCCEEDED, 3, 3), "it calls nobody anew"

    def test_a_worker_whose_time_is_over_calls_for_the_rest(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock
    ) -> None:
        job = recommend(campaign)
        broker.flushall()
        tasks.score_shards(job.pk)
        assert calls(broker) == 1

    def test_calls_too_many_change_nothing(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = recommend(campaign)
        for _ in range(6):
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.done, Recommendation.objects.count()) == (Job.State.SUCCEEDED, 3, 3)

    def test_no_more_are_called_than_can_come(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "MOST_CALLED", 2)
        monkeypatch.setattr(tasks, "CALLED_BY_SWEEP", 1)
        recommend(campaign)
        assert calls(broker) == 2
        tasks.sweep()
        assert calls(broker) == 3

    def test_lost_calls_are_made_again(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = recommend(campaign)
        tasks.score_shards(job.pk)
        held = RunShard.objects.filter(state=RunShard.State.PENDING).latest("pk")
        RunShard.objects.filter(pk=held.pk).update(claim=Job.new_claim(), claimed_at=timezone.now())
        broker.flushall()

        tasks.sweep()
        assert calls(broker) == 1, "somebody is at the other"
        expired = timezone.now() - RunShard.CLAIM_EXPIRES - timedelta(seconds=1)
        RunShard.objects.filter(pk=held.pk).update(claimed_at=expired)  # but died
        broker.flushall()
        tasks.sweep()
        assert calls(broker) == 2

    def test_a_silent_job_is_taken_up_again(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = recommend(campaign)
        tasks.score_shards(job.pk)
        held = RunShard.objects.filter(state=RunShard.State.PENDING).latest("pk")
        RunShard.objects.filter(pk=held.pk).update(claim=Job.new_claim(), claimed_at=timezone.now())  # and it dies
        broker.flushall()
        Job.objects.update(heartbeat_at=timezone.now() - Job.HEARTBEAT_EXPIRES - timedelta(seconds=1))

        tasks.sweep()
        assert broker.llen("scoring") == 1
        tasks.run_job(job.pk)
        assert calls(broker) == 2, "only to the shards that are left"
        for _ in range(2):
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, Run.objects.get().state) == (Job.State.SUCCEEDED, Run.State.DRAFTED)
        assert Recommendation.objects.count() == 3

    def test_getting_on_gives_attempts_back(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = recommend(campaign)
        Job.objects.update(attempts=3)
        tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert job.attempts == 0

    def test_cancelled_midway(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = recommend(campaign)
        tasks.score_shards(job.pk)
        cancel_job(job=job, by=None)
        tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.result) == (Job.State.CANCELLED, None)
        assert RunShard.objects.filter(state=RunShard.State.SCORED).count() == 1

        tasks.score_shards(job.pk)
        assert RunShard.objects.filter(state=RunShard.State.SCORED).count() == 1
        candidates = settings.DATA_DIR / "runs" / Run.objects.get().key
        candidates.mkdir(parents=True)
        tasks.sweep()
        assert (Run.objects.count(), RunShard.objects.count(), Recommendation.objects.count()) == (0, 0, 0)
        assert not candidates.exists()
        tasks.score_shards(job.pk)  # its run is gone

    def test_what_all_shards_need_and_lack_fails_the_job(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = recommend(campaign)
        monkeypatch.setattr(runs, "score_next_shard", Mock(side_effect=ValueError("The model is gone.")))
        tasks.score_shards(job.pk)
        tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.error) == (Job.State.FAILED, "The model is gone.")
        assert runs.score_next_shard.call_count == 1  # type: ignore[attr-defined]

    def test_a_worker_that_is_interrupted_leaves_the_job_to_the_others(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = recommend(campaign)
        away = Mock(side_effect=OperationalError("the server closed the connection"))
        with monkeypatch.context() as patched:
            patched.setattr(runs, "score_next_shard", away)
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.attempts) == (Job.State.RUNNING, 1)
        for _ in range(3):
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert job.state == Job.State.SUCCEEDED

    def test_what_was_chosen_reaches_the_plan(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        recommend(campaign, objective="margin", budget="250.5", required_return="2")
        assert planned.call_args.kwargs["budget"] == Budget(
            objective=Run.Objective.MARGIN, amount=Decimal("250.5"), required_return=Decimal(2)
        )
        assert not {"objective", "required_return"} & set(planned.call_args.kwargs)

    def test_a_run_within_a_budget_is_scored_in_two_halves(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once its candidates are allocated, workers are called to its shards again."""
        job = recommend(campaign)
        for _ in range(2):
            tasks.score_shards(job.pk)
        Run.objects.update(allocation_terms={"left_out": {}})

        def allocate(*, run: Run, progress: Progress) -> bool:
            run.shards.update(state="pending")
            Recommendation.objects.all().delete()
            Shopper.objects.all().delete()
            return bool(Run.objects.filter(pk=run.pk).update(allocated_at=timezone.now()))

        monkeypatch.setattr(runs, "allocate_run", allocate)
        before = calls(broker)
        tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, job.result, Run.objects.get().state) == (Job.State.RUNNING, None, Run.State.COMPUTING)
        assert (job.message, job.done, job.total) == ("Writing lists", 0, 3)
        assert calls(broker) == before + 3, "a call for each shard"

        for _ in range(3):
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        assert (job.state, Run.objects.get().state) == (Job.State.SUCCEEDED, Run.State.DRAFTED)
        assert job.result == {"run": Run.objects.get().pk, "recommendations": 3}

    def test_shards_that_failed_are_named_and_scored_again_by_another_job(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock
    ) -> None:
        job = recommend(campaign)
        poisoned = RunShard.objects.get(number=1)
        RunShard.objects.filter(pk=poisoned.pk).update(state="failed", attempts=5, error="ValueError: no such product")
        for _ in range(2):
            tasks.score_shards(job.pk)
        job.refresh_from_db()
        run = Run.objects.get()
        assert (job.state, job.done, run.state) == (Job.State.FAILED, 3, Run.State.COMPUTING)
        assert job.error == (
            f"1 of 3 shards of run {run.pk} could not be scored; all others are. shard 1 (s1 to s1): ValueError: "
            "no such product. Score them again on the page of the run."
        )

        again = start_job(kind=Job.Kind.RECOMMEND, key="again", arguments={"run": run.pk})
        tasks.run_job(again.pk)
        assert calls(broker) == 3 + 1 + 1, "one for the shard, after those of before and that of who gave way"
        tasks.score_shards(again.pk)
        again.refresh_from_db()
        run.refresh_from_db()
        assert (again.state, again.error, run.state, run.job) == (Job.State.SUCCEEDED, "", Run.State.DRAFTED, again)
        assert Recommendation.objects.count() == 3

        third = start_job(kind=Job.Kind.RECOMMEND, key="again", arguments={"run": run.pk})
        tasks.run_job(third.pk)
        third.refresh_from_db()
        run.refresh_from_db()
        assert (third.state, run.state, run.job) == (Job.State.FAILED, Run.State.DRAFTED, again)
        assert "expected being computed." in third.error

    def test_a_run_that_is_gone_is_not_scored_again(self, broker: redis.Redis) -> None:
        job = start_job(kind=Job.Kind.RECOMMEND, key="again", arguments={"run": 1})
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.state, job.error) == (Job.State.FAILED, "The run is gone.")

    def test_a_campaign_that_is_gone(self, broker: redis.Redis, campaign: Campaign, planned: Mock) -> None:
        job = start_job(kind=Job.Kind.RECOMMEND, key="recommend", arguments={"campaign": campaign.pk})
        campaign.delete()
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.state, job.error, planned.call_count) == (Job.State.FAILED, "The campaign is gone.", 0)


class TestOtherKinds:
    def test_a_job_that_is_gone(self) -> None:
        tasks.run_job(1)
        tasks.score_shards(1)
        assert Job.objects.count() == 0

    def test_load(self, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        report = ingest.LoadReport(
            folder=str(tmp_path),
            dry_run=True,
            files=[],
            examples=[],
            ignored_files=["x"],
            put_aside_path=None,
            seconds=1.0,
        )
        load = Mock(return_value=report)
        monkeypatch.setattr(ingest, "load_export", load)
        job = start_job(kind=Job.Kind.LOAD, key="load", arguments={"folder": str(tmp_path), "dry_run": True})
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.error, job.state) == ("", Job.State.SUCCEEDED)
        assert (job.result["folder"], job.result["ignored_files"]) == (str(tmp_path), ["x"])
        assert load.call_args.kwargs.items() >= {"folder": tmp_path, "dry_run": True}.items()

    def test_load_cancelled(self, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(ingest, "load_export", Mock(side_effect=Cancelled))
        job = start_job(kind=Job.Kind.LOAD, key="load", arguments={"folder": str(tmp_path)})
        tasks.run_job(job.pk)
        assert Job.objects.get().state == Job.State.CANCELLED

    def test_train(self, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = [SimpleNamespace(pk=4), SimpleNamespace(pk=5)]
        train = Mock(return_value=SimpleNamespace(champion=versions[1], versions=versions))
        monkeypatch.setitem(sys.modules, "recommender.services.training", SimpleNamespace(train=train))
        arguments = {"as_of": datetime(2026, 1, 2, tzinfo=UTC), "algorithms": ["popularity"]}
        job = start_job(kind=Job.Kind.TRAIN, key="train", arguments=arguments)
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.state, job.result) == (Job.State.SUCCEEDED, {"champion": 5, "versions": [4, 5]})
        assert train.call_args.kwargs.items() >= {**arguments, "job": job}.items()

    def test_search(self, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        report = SimpleNamespace(champion=SimpleNamespace(pk=5), trials=[1, 2, 3], new=2)
        search = Mock(return_value=report)
        monkeypatch.setitem(sys.modules, "recommender.services.search", SimpleNamespace(search=search))
        job = start_job(kind=Job.Kind.SEARCH, key="search", arguments={"seconds": 90.0, "algorithms": ["popularity"]})
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.state, job.result) == (Job.State.SUCCEEDED, {"champion": 5, "trials": 3, "new_trials": 2})
        options = {"budget": timedelta(seconds=90), "as_of": None, "algorithms": ["popularity"], "job": job}
        assert search.call_args.kwargs.items() >= options.items()
        assert "seconds" not in search.call_args.kwargs

    def test_publish(
        self, broker: redis.Redis, campaign: Campaign, planned: Mock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recommend(campaign)
        run = Run.objects.get()
        publish = Mock(return_value=SimpleNamespace(pk=7))
        monkeypatch.setattr(publishing, "publish", publish)
        job = start_job(kind=Job.Kind.PUBLISH, key="publish", arguments={"run": run.pk, "live_seen": 5})
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.state, job.result) == (Job.State.SUCCEEDED, {"publication": 7})
        publish.assert_called_once_with(run=run, published_by=None, live_seen=5)

    def test_publish_replaces_nothing_that_was_not_seen(self, broker: redis.Redis, campaign: Campaign) -> None:
        live, later = add_run(campaign, state=Run.State.PUBLISHED), add_run(campaign)
        Publication.objects.create(campaign=campaign, run=live, published_at=timezone.now())
        job = start_job(kind=Job.Kind.PUBLISH, key="publish", arguments={"run": later.pk, "live_seen": 0})
        tasks.run_job(job.pk)
        job.refresh_from_db()
        later.refresh_from_db()
        assert (job.state, later.state) == (Job.State.FAILED, Run.State.APPROVED)
        assert job.error.startswith("What the campaign shows has changed meanwhile.")
        assert Publication.objects.get().run == live

    def test_a_run_that_is_gone(self, broker: redis.Redis) -> None:
        job = start_job(kind=Job.Kind.PUBLISH, key="publish", arguments={"run": 1})
        tasks.run_job(job.pk)
        job.refresh_from_db()
        assert (job.state, job.error) == (Job.State.FAILED, "The run is gone.")


class TestSchedule:
    @pytest.mark.django_db(transaction=False)
    def test_what_a_new_installation_does_by_itself(self) -> None:
        rows = PeriodicTask.objects.filter(task__startswith="recommender.").order_by("task")
        assert [(row.task, row.enabled) for row in rows] == [
            ("recommender.tasks.delete_old_uploads", True),
            ("recommender.tasks.delete_what_is_old", True),
            ("recommender.tasks.deliver_webhooks", True),
            ("recommender.tasks.reckon_tiers", True),
            ("recommender.tasks.release_overdue", True),
            ("recommender.tasks.retrain", True),
            ("recommender.tasks.sweep", True),
        ]
        delete, delete_old, deliver, reckon, release, retrain, sweep = rows
        assert (reckon.crontab.hour, reckon.crontab.minute, reckon.expire_seconds) == ("2", "0", 23 * 3600)
        assert (delete.crontab.hour, delete.crontab.minute, delete.expire_seconds) == ("2", "0", 23 * 3600)
        assert (delete_old.crontab.hour, delete_old.crontab.minute, delete_old.expire_seconds) == ("4", "30", 23 * 3600)
        assert (deliver.interval.every, deliver.interval.period, deliver.expire_seconds) == (5, "seconds", 5)
        assert (retrain.crontab.hour, retrain.crontab.minute, retrain.expire_seconds) == ("3", "0", 23 * 3600)
        assert (release.interval.every, release.interval.period, release.expire_seconds) == (1, "minutes", 50)
        assert (sweep.interval.every, sweep.interval.period, sweep.expire_seconds) == (1, "minutes", 50)
        assert {row.task for row in rows} <= set(app.tasks)

    def test_a_schedule_that_fires_twice_trains_once(self, broker: redis.Redis) -> None:
        tasks.retrain()
        tasks.retrain()
        job = Job.objects.get()
        assert (job.kind, job.key, job.arguments) == (Job.Kind.TRAIN, "train", {})

    def test_long_work_does_not_hold_up_short(self) -> None:
        route = app.amqp.router.route
        names = ("run_job", "score_shards", "sweep", "retrain")
        queues = [route({}, f"recommender.tasks.{name}")["queue"].name for name in names]
        assert queues == ["scoring", "scoring", "upkeep", "upkeep"]

    def test_every_kind_of_job_has_its_queue(self) -> None:
        assert set(jobs.QUEUES) == set(Job.Kind)
        assert set(jobs.QUEUES.values()) == {queue.name for queue in settings.CELERY_TASK_QUEUES}


def test_a_workers_parent_process_loads_no_polars() -> None:
    """Its threads would not survive the fork."""
    code = (
        "import sys; from couponsite.celery import app; app.loader.import_default_modules(); app.finalize();"
        "assert 'recommender.tasks.run_job' in app.tasks;"
        "print([name for name in ('polars', 'numpy', 'xgboost') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_figures_of_many_rows_are_summed_up_by_a_job(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "FEW", 0)
    add_rows(1)
    one = start_job(kind=Job.Kind.SUM_UP, key="sum-up:uses", arguments={"topic": "uses"})
    tasks.run_job(one.pk)
    one.refresh_from_db()
    assert (one.state, one.result, one.error) == (Job.State.SUCCEEDED, {"topics": 1}, "")
    assert list(Summary.objects.values_list("key", flat=True)) == ["uses"]

    whole = start_job(kind=Job.Kind.SUM_UP, key="sum-up", arguments={})
    tasks.run_job(whole.pk)
    whole.refresh_from_db()
    assert whole.result == {"topics": Summary.objects.count()}
    assert {"activity", "uses", "calibration:"} < set(Summary.objects.values_list("key", flat=True))

    gone = start_job(kind=Job.Kind.SUM_UP, key="sum-up:results:999", arguments={"topic": "results:999"})
    tasks.run_job(gone.pk)
    gone.refresh_from_db()
    assert (gone.state, gone.error) == (Job.State.FAILED, "There is nothing to sum up that is called results:999.")


@pytest.mark.parametrize(("few", "started"), [(0, ["sum-up"]), (summaries.FEW, [])])
def test_after_a_load_a_large_shop_is_summed_up(
    few: int, started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(1)
    monkeypatch.setattr(summaries, "FEW", few)
    report = ingest.LoadReport(str(tmp_path), False, [], [], [], None, 0.1)
    monkeypatch.setattr(ingest, "load_export", Mock(return_value=report))
    job = start_job(kind=Job.Kind.LOAD, key="load", arguments={"folder": str(tmp_path)})
    tasks.run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (Job.State.SUCCEEDED, "")
    assert list(Job.objects.filter(kind=Job.Kind.SUM_UP).values_list("key", flat=True)) == started


def test_jobs_that_summed_up_are_forgotten_when_they_are_old() -> None:
    now = timezone.now()
    old, new = now - timedelta(hours=7), now - timedelta(hours=5)
    kept = [
        Job.objects.create(kind=kind, key=f"{number}", state=state, finished_at=ended)
        for number, (kind, state, ended) in enumerate(
            [
                (Job.Kind.SUM_UP, Job.State.SUCCEEDED, new),
                (Job.Kind.SUM_UP, Job.State.FAILED, old),
                (Job.Kind.TRAIN, Job.State.SUCCEEDED, old),
            ]
        )
    ]
    Job.objects.create(kind=Job.Kind.SUM_UP, key="old", state=Job.State.SUCCEEDED, finished_at=old)
    tasks.sweep()
    assert list(Job.objects.order_by("pk")) == kept
