"""Whoever scores a run, in whatever order, whatever happens to them: what comes out is the same to the last byte."""

import random
import time
from decimal import Decimal

import pytest
from django.db.models import F

from couponsite.celery import app
from recommender import models, tasks
from recommender.models import Job, Run, RunShard
from recommender.services import runs, scoring
from recommender.services.budgeting import Budget
from tests.faults.conftest import WHOLE
from tests.faults.site import Site, digest, plan

pytestmark = pytest.mark.real


def assert_whole(site: Site, job: Job, reference: str) -> None:
    """The run is done, each shard once, and its lists are those of the reference: none missing, none twice."""
    assert (job.state, job.error) == (Job.State.SUCCEEDED, ""), site.describe()
    run = site.run
    assert run.state == Run.State.DRAFTED
    assert set(run.shards.values_list("state", "claim")) == {("scored", None)}
    assert digest(run) == reference


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_come_to_the_same(site: Site, reference: str, workers: int) -> None:
    for number in range(workers):
        site.start_worker(f"worker{number}")
    assert_whole(site, site.finish(site.start_run()), reference)


@pytest.mark.parametrize("seed", range(3 if WHOLE else 1))
def test_any_order_comes_to_the_same(site: Site, reference: str, seed: int) -> None:
    shards = list(site.run.shards.values_list("pk", flat=True))
    random.Random(seed).shuffle(shards)
    for shard in shards:
        runs.score_shard(shard_id=shard)
    run = runs.finish_run(run=site.run)
    assert digest(run) == reference


def test_workers_killed_at_random_moments(site: Site, reference: str) -> None:
    """Both workers take turns to die, wherever they are: starting, preparing, scoring, writing."""
    (kills, seconds), chance = (20, "1.2") if WHOLE else (4, "0.3"), random.Random(7)
    workers = [site.start_worker(f"worker{number}", FAULT_BLOCK_SECONDS=seconds) for number in range(2)]
    job = site.start_run()
    site.wait_for(lambda: site.scored() > 0, sweeping=True)
    killed = 0
    while killed < kills and not Job.objects.get(pk=job.pk).is_finished:
        until = time.monotonic() + chance.uniform(0, 2)
        site.wait_for(lambda until=until: time.monotonic() > until, sweeping=True)
        workers[killed % 2].restart()
        killed += 1
        if killed % 2 == 0:  # let somebody get a word in
            before = site.scored()
            site.wait_for(
                lambda before=before: site.scored() > before or Job.objects.get(pk=job.pk).is_finished, sweeping=True
            )
    assert killed == kills, "the run was over too early"
    assert_whole(site, site.finish(job), reference)


def test_messages_that_come_twice_and_out_of_order(site: Site, reference: str) -> None:
    job = site.start_run()
    queue = "scoring"
    (message,) = site.broker.client.lrange(queue, 0, -1)
    for _ in range(3):
        site.broker.client.lpush(queue, message)  # the same message, its number too
    site.start_worker("one")
    site.wait_for(lambda: Job.objects.get(pk=job.pk).state == Job.State.RUNNING)
    for _ in range(5):
        tasks.score_shards.apply_async([job.pk])  # before the job's own, whose calls come last
        app.send_task("recommender.tasks.run_job", args=[job.pk], queue=queue)
    site.start_worker("two")
    assert_whole(site, site.finish(job), reference)
    tasks.score_shards.apply_async([job.pk])  # and long after
    app.send_task("recommender.tasks.run_job", args=[job.pk], queue=queue)
    waiting = [queue, f"{queue}\x06\x169"]
    site.wait_for(lambda: not sum(site.broker.client.llen(name) for name in waiting))
    job.refresh_from_db()
    assert_whole(site, job, reference)
    assert job.attempts <= 1


def test_a_poisoned_shard_is_isolated_and_scored_again(site: Site, reference: str) -> None:
    poisoned = site.run.shards.order_by("number")[3]
    worker = site.start_worker(processes=2, FAULT_POISONED=poisoned.shopper_ids[0])
    job = site.finish(site.start_run())
    run, shards = site.run, site.run.shards.count()
    assert (job.state, job.done, job.total, run.state) == (Job.State.FAILED, shards, shards, Run.State.COMPUTING)
    assert job.error.startswith(f"1 of {shards} shards of run {run.pk} could not be scored; all others are. shard 3 (")
    assert f"({poisoned.shopper_ids[0]} to {poisoned.shopper_ids[-1]}): ValueError: poisoned" in job.error
    assert site.scored() == shards - 1
    assert RunShard.objects.get(pk=poisoned.pk).attempts == RunShard.MOST_ATTEMPTS

    worker.kill()
    site.start_worker("cured", processes=2)
    assert_whole(site, site.finish(site.start_run()), reference)


def test_a_shard_that_kills_its_workers_is_isolated_and_scored_again(site: Site, reference: str) -> None:
    deadly = site.run.shards.order_by("number")[2]
    worker = site.start_worker(processes=2, FAULT_DEADLY=deadly.shopper_ids[0])
    job = site.finish(site.start_run())
    assert job.state == Job.State.FAILED, site.describe()
    assert "Whoever scored it died of it, or was lost, each time." in job.error
    assert site.scored() == site.run.shards.count() - 1
    worker.kill()
    site.start_worker("cured", processes=2)
    assert_whole(site, site.finish(site.start_run()), reference)


@pytest.fixture
def within_a_budget(site: Site) -> str:
    """The run in question keeps within a budget of about half of what its lists would cost. What one process makes of
    it is the reference."""
    models.Coupon.objects.update(discount_type="amount", discount_value=F("pk") % 4 + 1)
    campaign_run = {"as_of": site.run.as_of, "budget": Budget(amount=Decimal(40))}
    made = runs.compute_run(run=plan(**campaign_run))
    assert made.spend_curve is not None
    assert made.spend_curve["cost"][-1] > 40, "the budget is in the way"
    reference = digest(made)
    made.recommendations.all().delete()
    made.delete()
    scoring.forget_scorer()
    plan(**campaign_run)
    return reference


def test_a_run_within_a_budget_is_the_same_on_any_workers(site: Site, within_a_budget: str) -> None:
    for number in range(3):
        site.start_worker(f"worker{number}")
    assert_whole(site, site.finish(site.start_run()), within_a_budget)
    site.wait_for(lambda: not list((site.data / "runs").iterdir()))  # by whoever handed it to review


def test_workers_of_a_run_within_a_budget_killed_at_random_moments(site: Site, within_a_budget: str) -> None:
    """While candidates are found, while they are allocated, while the lists are written."""
    (kills, seconds), chance = (20, "0.3") if WHOLE else (6, "0.15"), random.Random(11)
    workers = [site.start_worker(f"worker{number}", FAULT_BLOCK_SECONDS=seconds) for number in range(2)]
    job = site.start_run()
    site.wait_for(lambda: site.scored() > 0, sweeping=True)
    killed = 0
    while killed < kills and not Job.objects.get(pk=job.pk).is_finished:
        until = time.monotonic() + chance.uniform(1, 3)
        site.wait_for(lambda until=until: time.monotonic() > until, sweeping=True)
        workers[killed % 2].restart()
        killed += 1
    assert killed == kills, "the run was over too early"
    assert_whole(site, site.finish(job), within_a_budget)


def test_clocks_that_are_wrong(site: Site, reference: str) -> None:
    """One worker lives tomorrow and one yesterday. Neither takes the other for dead, nor is taken for dead."""
    for name, hours in (("tomorrow", "26"), ("yesterday", "-26")):
        site.start_worker(name, FAULT_CLOCK_HOURS=hours, FAULT_BLOCK_SECONDS="0.2")
    job = site.finish(site.start_run())
    assert_whole(site, job, reference)
    assert job.attempts <= 1, "nobody took it up again"
    assert "Interrupted" not in job.log
    assert set(site.run.shards.values_list("attempts", flat=True)) == {1}, "no claim was thought to have expired"


def test_a_worker_more_is_a_worker_faster(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Shards that take a while by the clock, not by the processor, which other work on the machine may need."""
    rates = {}
    for workers in (1, 2):
        RunShard.objects.update(state="pending", claim=None, claimed_at=None, attempts=0)
        Run.objects.update(state=Run.State.COMPUTING)
        site.run.recommendations.all().delete()
        started = [site.start_worker(f"{workers}-{number}", FAULT_BLOCK_SECONDS="0.5") for number in range(workers)]
        job = site.start_run()
        held = site.run.shards.filter(state="pending", claim__isnull=False)
        site.wait_for(lambda held=held, workers=workers: held.count() == workers, sweeping=True)
        before, since = site.scored(), time.monotonic()
        site.finish(job)
        rates[workers] = (site.scored() - before) / (time.monotonic() - since)
        for worker in started:
            worker.kill()
    with capsys.disabled():
        print(f"\nshards a second: {rates[1]:.2f} by one worker, {rates[2]:.2f} by two")  # noqa: T201
    assert rates[2] > 1.3 * rates[1]
