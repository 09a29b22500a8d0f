"""Jobs on a real worker, a real broker and a real database: the one that the suite runs on, SQLite or PostgreSQL."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import redis
from django.utils import timezone

from couponsite.celery import app
from recommender.jobs import cancel_job, start_job
from recommender.models import Job, Run, Shop
from recommender.services import runs
from recommender.tasks import sweep
from tests.services.small_shop import BOUGHT, NOW, START, add_model_version, lists_of, make_shop
from tests.worker import run_worker

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def worker(broker: redis.Redis, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """One whose work waits for what the test tells it."""
    with run_worker(tmp_path / "worker.log", include="tests.slow_work") as worker:
        yield worker


def wait_for(folder: Path, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(
                f"It did not happen within 60 s: {list(Job.objects.values())}\n{(folder / 'worker.log').read_text()}"
            )
        time.sleep(0.02)


def start(folder: Path) -> Job:
    return start_job(kind=Job.Kind.LOAD, key=str(folder), arguments={"folder": str(folder)})


def begun(folder: Path) -> list[int]:
    path = folder / "begun"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def test_a_job_runs_and_succeeds(worker: subprocess.Popen, folder: Path) -> None:
    job = start(folder)
    assert job.state == Job.State.QUEUED

    wait_for(folder, lambda: Job.objects.filter(pk=job.pk, state="running", message="Working", done__gt=0).exists())
    (folder / "finish").touch()
    wait_for(folder, lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh_from_db()
    assert (job.state, job.error, job.attempts) == (Job.State.SUCCEEDED, "", 1)
    assert job.result == {
        "threads": str(max(1, os.cpu_count() // 2)),
        "polars_at_start": False,
        "beats": [f"job-{job.pk}"],
    }
    assert job.log.count("Working") == 1
    assert job.finished_at > job.started_at
    assert len(begun(folder)) == 1


def test_a_killed_worker_leaves_no_process_and_its_job_is_taken_up_again(
    broker: redis.Redis, worker: subprocess.Popen, folder: Path
) -> None:
    job = start(folder)
    wait_for(folder, lambda: begun(folder) != [])
    children = psutil.Process(worker.pid).children(recursive=True)
    assert begun(folder)[0] in [child.pid for child in children]

    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=10)
    _gone, alive = psutil.wait_procs(children, timeout=5)
    # One that ended may wait for the system to ask how.
    assert [child for child in alive if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    job.refresh_from_db()
    assert job.state == Job.State.RUNNING

    with run_worker(folder / "worker.log", include="tests.slow_work"):
        sweep.delay()
        time.sleep(1)
        job.refresh_from_db()
        assert (job.state, job.attempts) == (Job.State.RUNNING, 1), "not before its heartbeat expired"
        silence = Job.HEARTBEAT_EXPIRES + timedelta(seconds=1)
        Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - silence)
        sweep.delay()
        wait_for(folder, lambda: len(begun(folder)) == 2)
        (folder / "finish").touch()
        wait_for(folder, lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh_from_db()
    assert (job.state, job.attempts, len(begun(folder))) == (Job.State.SUCCEEDED, 2, 2)


def test_a_running_job_is_cancelled(worker: subprocess.Popen, folder: Path) -> None:
    job = start(folder)
    wait_for(folder, lambda: begun(folder) != [])

    asked = cancel_job(job=job, by=None)
    assert (asked.state, asked.cancel_requested) == (Job.State.RUNNING, True)
    wait_for(folder, lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh_from_db()
    assert (job.state, job.result, job.error) == (Job.State.CANCELLED, None, "")
    (folder / "finish").touch()
    other = start(folder)
    wait_for(folder, lambda: Job.objects.get(pk=other.pk).is_finished)
    assert Job.objects.get(pk=other.pk).state == Job.State.SUCCEEDED, "the worker is free again"


def test_a_message_that_comes_twice_is_done_once(worker: subprocess.Popen, folder: Path) -> None:
    job = start(folder)
    for _ in range(3):
        app.send_task("recommender.tasks.run_job", args=[job.pk])
    wait_for(folder, lambda: begun(folder) != [])
    (folder / "finish").touch()
    wait_for(folder, lambda: Job.objects.get(pk=job.pk).is_finished)
    app.send_task("recommender.tasks.run_job", args=[job.pk])

    other = start(folder)
    wait_for(folder, lambda: Job.objects.get(pk=other.pk).is_finished)
    assert len(begun(folder)) == 2, "once for each job"
    assert Job.objects.get(pk=job.pk).attempts == 1


def test_a_lost_message_is_sent_again(broker: redis.Redis, folder: Path) -> None:
    (folder / "finish").touch()
    job = start(folder)
    assert broker.llen("training") == 1
    broker.flushall()

    with run_worker(folder / "worker.log", include="tests.slow_work"):
        silence = Job.HEARTBEAT_EXPIRES + timedelta(seconds=1)
        Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - silence)
        sweep.delay()
        wait_for(folder, lambda: Job.objects.get(pk=job.pk).state == Job.State.SUCCEEDED)
    assert Job.objects.get(pk=job.pk).attempts == 1


def test_the_shards_of_a_run_are_shared_by_workers(
    broker: redis.Redis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_shop()
    shop = Shop.current()
    shop.champion = add_model_version(learned_until=START)
    shop.save()
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 1)
    run = runs.plan_run(campaign=campaign, as_of=NOW)
    assert run.shards.count() == len(BOUGHT)

    arguments = {"campaign": campaign.pk, "as_of": NOW}
    with run_worker(folder / "worker.log"), run_worker(folder / "worker.log"):
        job = start_job(kind=Job.Kind.RECOMMEND, key="recommend", arguments=arguments)
        wait_for(folder, lambda: Job.objects.get(pk=job.pk).is_finished)

    job.refresh_from_db()
    run.refresh_from_db()
    assert (job.state, job.error, job.done, job.total) == (Job.State.SUCCEEDED, "", len(BOUGHT), len(BOUGHT))
    assert job.result == {"run": run.pk, "recommendations": run.recommendation_count}
    assert (run.state, run.job, run.shopper_count) == (Run.State.DRAFTED, job, len(BOUGHT))
    lists = lists_of(run)
    assert lists.keys() == BOUGHT.keys()
    assert lists["s1"] == [("c1", 0.3), ("c2", 0.1), *lists["s1"][2:]]
    assert set(run.shards.values_list("attempts", flat=True)) == {1}, "each was scored once"
