"""Celery's way in. A task takes ids, finds the row gone or not its own and leaves; what to do is a service's business.

Services are imported inside the functions: a web process names these tasks without loading a numeric library, and the
parent of a worker's processes stays free of polars, whose threads do not survive a fork.
"""

import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billiard import current_process
from celery import current_app, shared_task
from celery.signals import worker_process_init
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from couponsite.logs import log_from_now_on_with
from couponsite.processes import die_with_parent
from recommender import jobs
from recommender.clock import database_now
from recommender.models import Answer, Campaign, Coupon, Job, Run, RunCorrection, RunShard, Segment, Shopper, Upload
from recommender.progress import Progress
from recommender.wording import gettext as _

if TYPE_CHECKING:
    from recommender.services.budgeting import Budget

#: For how long a worker goes on with one run before others have their turn.
SLICE = timedelta(minutes=2)
#: A slice, preparing the run before it and the last shard of it take minutes even in a large shop.
SCORING_LIMIT = 30 * 60
#: Limit of what ends within seconds as a rule; beyond, the next occurrence does the rest.
UPKEEP_LIMIT = 5 * 60
#: How many workers are called to a run at first, and by each sweep while something of it is free. A slice later each
#: calls for itself; a call too many is a message that finds nothing to do.
MOST_CALLED = 64
CALLED_BY_SWEEP = 8
#: Behind the jobs that people wait for: in Redis a higher number comes later.
AFTER_OTHERS = 9

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT")


@worker_process_init.connect
def prepare_worker_process(**kwargs: Any) -> None:
    """Give a worker's process its share of the cores, and have it end with the worker.

    Libraries read these variables when they are first imported, which is in the process's first job.
    """
    threads = max(1, (os.cpu_count() or 1) // current_app.conf.worker_concurrency)
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
    if current_process().daemon:  # a pool without processes works in the worker itself
        die_with_parent()


@shared_task
def run_job(job_id: int) -> None:
    """Do a queued job. Its kind says what, and its arguments with what:

    - ``check``: ``upload`` (primary key)
    - ``load``: ``upload`` (primary key); or ``folder``, with ``dry_run`` and ``max_bad_share`` if they are not the
      service's defaults
    - ``train``: ``as_of`` (ISO 8601) and ``algorithms`` (names), both optional
    - ``search``: ``seconds``; ``as_of`` and ``algorithms`` as for ``train``
    - ``evaluate``: ``start`` (ISO 8601); ``end``, ``validation_start`` and ``algorithms``, all optional
    - ``recommend``: ``campaign`` (primary key); ``as_of``, ``algorithm``, ``top``, ``objective``, and as decimals in
      text ``budget`` and ``required_return``, all optional; or ``run`` (primary key), to score again what could not be
      scored of it
    - ``correct``: ``run`` (primary key), ``kind`` and ``reason``, and of ``coupon``, ``shopper`` and ``segment``
      (primary keys) some; or ``run`` and ``undo`` (primary key of a correction)
    - ``publish``: ``run`` (primary key); ``live_seen`` (primary key of a publication, or 0), optional
    - ``codes``: ``batch`` (primary key)
    - ``retain``: nothing
    - ``erase``: ``shopper`` (primary key)
    - ``sum_up``: ``topic`` (key); without it, whatever pages show of the shop
    """
    job = jobs.claim_job(job_id=job_id)
    if job is not None:
        jobs.carry_out(job=job, work=_WORK[Job.Kind(job.kind)], progress=jobs.JobProgress(job))


@shared_task(soft_time_limit=SCORING_LIMIT, time_limit=SCORING_LIMIT + 60)
def score_shards(job_id: int) -> None:
    """Score shards of the run that a recommend job computes, whichever are free, for :data:`SLICE` or until none is.

    Whoever scores the last one finishes run and job. A message that comes twice, late or in another order is a worker
    who finds nothing to do.
    """
    job = Job.objects.filter(pk=job_id, state=Job.State.RUNNING).first()
    run = job.runs.filter(state=Run.State.COMPUTING).first() if job is not None else None
    if job is None or run is None:
        from recommender.services import scoring

        scoring.forget_finished()
        return
    log_from_now_on_with(run_id=run.pk)

    def score(job: Job, progress: Progress) -> Mapping[str, Any] | None:
        from recommender.services import runs

        until = time.monotonic() + SLICE.total_seconds()
        while runs.score_next_shard(run=run, progress=progress):
            done, total = _count_shards(run)
            jobs.show_parts_done(job=job, done=done, total=total)
            if time.monotonic() > until and done < total:
                _ring(job, 1)  # behind what waits by now
                return None
        done, total = _count_shards(run)
        return _finish(run, job, progress) if done == total else None

    jobs.carry_out(job=job, work=score, progress=jobs.JobHeartbeat(job), shared=True)


@shared_task(soft_time_limit=UPKEEP_LIMIT, time_limit=UPKEEP_LIMIT + 60)
def sweep() -> None:
    """Take up what dead workers left, begin what is due, and clear away old answers, old webhook messages and the runs
    of cancelled jobs."""
    from recommender.services.shared_files import delete_folder, folder_of_run
    from recommender.services.webhooks import forget_old_deliveries

    jobs.resume_silent_jobs()
    _call_to_free_shards()
    Answer.objects.forgettable_at(timezone.now()).delete()
    forget_old_deliveries(now=timezone.now())
    Job.objects.forgettable_at(timezone.now()).delete()
    for run in Run.objects.filter(state=Run.State.COMPUTING, job__state=Job.State.CANCELLED):
        with transaction.atomic():
            # The shards first: a worker that is writing one is waited for, and one that would write later finds none.
            run.shards.all().delete()
            run.delete()
        delete_folder(folder_of_run(run.key))


@shared_task(soft_time_limit=UPKEEP_LIMIT, time_limit=UPKEEP_LIMIT + 60)
def release_overdue() -> None:
    """Give back what reservations and groups hold whose time is over, and forget answers that are kept no longer."""
    from recommender.services import holding
    from recommender.services.checkout import idempotency

    now = timezone.now()
    holding.release_overdue(at=now)
    idempotency.forget_old_answers(at=now)


@shared_task(soft_time_limit=UPKEEP_LIMIT, time_limit=UPKEEP_LIMIT + 60)
def retrain() -> None:
    """Start a training, unless one is under way. With nothing new to learn from it changes nothing."""
    jobs.start_job(kind=Job.Kind.TRAIN, key="train", arguments={})


@shared_task(soft_time_limit=UPKEEP_LIMIT, time_limit=UPKEEP_LIMIT + 60)
def reckon_tiers() -> None:
    from recommender.services import tiers

    tiers.reckon_tiers_by_night(at=timezone.now())


@shared_task(soft_time_limit=UPKEEP_LIMIT, time_limit=UPKEEP_LIMIT + 60)
def deliver_webhooks() -> None:
    """Send what is due to the shop's endpoints, for a while; what is left is for the next time."""
    from recommender.services.webhooks import deliver_due

    deliver_due()


@shared_task
def delete_old_uploads() -> None:
    """Delete what staff brought in and the site keeps no longer."""
    from recommender.services.uploads.retention import delete_forgotten_spreadsheets, delete_old_files

    delete_old_files(now=timezone.now())
    delete_forgotten_spreadsheets(now=timezone.now())


@shared_task
def delete_what_is_old() -> None:
    """Start deleting what the settings say is old, unless that is under way."""
    jobs.start_job(kind=Job.Kind.RETAIN, key="retain", arguments={})


def _check(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.uploads.loading import check_upload

    return {"state": check_upload(upload=_upload(job), progress=progress).state}


def _load(job: Job, progress: Progress) -> Mapping[str, Any]:
    if "upload" in job.arguments:
        from recommender.services.uploads.loading import load_upload

        state = load_upload(upload=_upload(job), progress=progress).state
        _start_summing_up()
        return {"state": state}

    from dataclasses import asdict

    from recommender.services.ingest import load_export

    report = load_export(**{**job.arguments, "folder": Path(job.arguments["folder"])}, progress=progress)
    if not report.dry_run:
        _start_summing_up()
    return asdict(report)


def _start_summing_up() -> None:
    """Have newer figures ready before anybody looks, where a page would not make them by itself."""
    from recommender.services.summaries import list_large_topics

    if next(list_large_topics(), None) is not None:
        jobs.start_job(kind=Job.Kind.SUM_UP, key="sum-up", arguments={})


def _train(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.training import train

    report = train(**{**job.arguments, "as_of": _as_of(job)}, progress=progress, job=job)
    return {"champion": report.champion.pk, "versions": [version.pk for version in report.versions]}


def _search(job: Job, progress: Progress) -> Mapping[str, Any]:
    """A job that is taken up again goes on after the last finished trial, with all its time anew."""
    from recommender.services.search import search

    options = {name: value for name, value in job.arguments.items() if name != "seconds"}
    budget = timedelta(seconds=job.arguments["seconds"])
    report = search(**{**options, "as_of": _as_of(job)}, budget=budget, progress=progress, job=job)
    return {"champion": report.champion.pk, "trials": len(report.trials), "new_trials": report.new}


def _evaluate(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.backtest import backtest

    moments = {name: parse_datetime(job.arguments[name]) for name in _MOMENTS if job.arguments.get(name)}
    report = backtest(**{**job.arguments, **moments}, progress=progress)
    return {
        "champion": report.selection.champion,
        "comparison": report.comparison.as_json(),
        "seconds": {name: cost.seconds for name, cost in report.costs.items()},
    }


def _recommend(job: Job, progress: Progress) -> Mapping[str, Any] | None:
    """Plan the run, or take the one to go on with, and call workers to its shards.

    A job that is taken up again goes on with its run. While the run is ``computing`` nobody can review or publish it;
    if the job is cancelled midway, the next sweep deletes it.
    """
    from recommender.services.runs import plan_run, retry_failed_shards

    if "run" in job.arguments:
        run = Run.objects.filter(pk=job.arguments["run"]).first()
        if run is None:
            raise ValueError(_("The run is gone."))
    else:
        campaign = Campaign.objects.filter(pk=job.arguments["campaign"]).first()
        if campaign is None:
            raise ValueError(_("The campaign is gone."))
        options = {name: value for name, value in job.arguments.items() if name not in ("campaign", *_OF_BUDGET)}
        run = plan_run(
            **{**options, "as_of": _as_of(job)},
            campaign=campaign,
            budget=_budget(job),
            created_by=job.started_by,
            job=job,
            progress=progress,
        )
    if run.job_id != job.pk and ("run" in job.arguments or run.state == Run.State.COMPUTING):
        retry_failed_shards(run=run)  # another job planned it and came to its end
        Run.objects.filter(pk=run.pk).update(job=job)
    log_from_now_on_with(run_id=run.pk)
    pending = run.shards.filter(state=RunShard.State.PENDING)
    # Whoever held a shard or allocated for an earlier attempt is dead, or the job would not have been silent.
    Run.objects.filter(pk=run.pk, allocated_at__isnull=True).update(allocation_claim=None, allocation_claimed_at=None)
    let_go = pending.filter(claim__isnull=False).update(claim=None, claimed_at=None)
    _ring(job, pending.count())
    done, total = _count_shards(run)
    if let_go:  # these count how often they were tried, and are given up one by one
        jobs.show_parts_done(job=job, done=done, total=total)
    progress.report(_("Scoring shoppers"), done, total)
    return _finish(run, job, progress) if done == total else None


def _ring(job: Job, shards: int) -> None:
    """Call workers to the free shards of a job's run: no more than there are shards."""
    for _call in range(min(shards, MOST_CALLED)):
        score_shards.apply_async([job.pk], priority=AFTER_OTHERS)


def _call_to_free_shards() -> None:
    """Call anew to runs of which something is free: calls may be lost, and workers die with what they held."""
    now = database_now()
    for run in Run.objects.filter(state=Run.State.COMPUTING, job__state=Job.State.RUNNING).select_related("job"):
        if run.job is not None:
            _ring(run.job, min(run.shards.free_at(now).count(), CALLED_BY_SWEEP))


def _count_shards(run: Run) -> tuple[int, int]:
    """How many shards are done with, scored or failed, of how many."""
    return run.shards.exclude(state=RunShard.State.PENDING).count(), run.shards.count()


def _finish(run: Run, job: Job, progress: Progress) -> Mapping[str, Any] | None:
    """Finish a run, or the first half of one within a budget: whose lists others are then called to write."""
    from recommender.services.runs import finish_run
    from recommender.services.summaries import RunChecks

    if run.is_allocated and run.allocated_at is None:
        Job.objects.filter(pk=job.pk).update(message=_("Deciding who gets what"))
    run = finish_run(run=run, progress=progress)
    if run.state == Run.State.COMPUTING:
        pending = run.shards.filter(state=RunShard.State.PENDING).count()
        if pending:
            jobs.show_parts_done(job=job, done=0, total=pending, message=_("Writing lists"))
        _ring(job, pending)
        return None
    RunChecks(run).sum_up_if_large()
    return {"run": run.pk, "recommendations": run.recommendation_count}


def _correct(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.corrections import correct_run, undo_correction

    named = job.arguments
    if "undo" in named:
        correction = _find(RunCorrection, named["undo"], _("The correction is gone."))
        undone = undo_correction(correction=correction, undone_by=job.started_by, job=job, progress=progress)
        return {"undone": undone.pk}
    made = correct_run(
        run=_find(Run, named["run"], _("The run is gone.")),
        kind=RunCorrection.Kind(named["kind"]),
        coupon=_find(Coupon, named.get("coupon"), _("The coupon is gone.")),
        shopper=_find(Shopper, named.get("shopper"), _("The shopper is gone.")),
        segment=_find(Segment, named.get("segment"), _("The segment is gone.")),
        reason=named["reason"],
        made_by=job.started_by,
        job=job,
        progress=progress,
    )
    return {"correction": made.pk}


def _publish(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.publishing import publish

    run = Run.objects.filter(pk=job.arguments["run"]).first()
    if run is None:
        raise ValueError(_("The run is gone."))
    live_seen = job.arguments.get("live_seen")
    return {"publication": publish(run=run, published_by=job.started_by, live_seen=live_seen).pk}


def _make_codes(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.checkout.codes import make_codes

    return {"codes": make_codes(batch_id=job.arguments["batch"], progress=progress)}


def _sum_up(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.summaries import find_topic, sum_up_shop

    if "topic" not in job.arguments:
        return {"topics": sum_up_shop(progress=progress)}
    progress.report(_("Summing up for the pages"))
    find_topic(key=job.arguments["topic"]).sum_up()
    return {"topics": 1}


def _retain(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.retention import delete_old

    return delete_old(now=timezone.now(), progress=progress)


def _erase(job: Job, progress: Progress) -> Mapping[str, Any]:
    from recommender.services.personal_data import erase_shopper

    shopper = Shopper.objects.filter(pk=job.arguments["shopper"]).first()
    if shopper is None:
        return {"erasure": None}  # done by an attempt that was interrupted after it
    erasure = erase_shopper(shopper=shopper, erased_by=job.started_by, job=job, progress=progress)
    if erasure.retired_models:
        jobs.start_job(kind=Job.Kind.TRAIN, key="train", arguments={})
    return {"erasure": erasure.pk}


_OF_BUDGET = ("objective", "budget", "required_return")
_MOMENTS = ("start", "end", "validation_start")
_WORK: dict[Job.Kind, jobs.Work] = {
    Job.Kind.CHECK: _check,
    Job.Kind.LOAD: _load,
    Job.Kind.TRAIN: _train,
    Job.Kind.SEARCH: _search,
    Job.Kind.EVALUATE: _evaluate,
    Job.Kind.RECOMMEND: _recommend,
    Job.Kind.CORRECT: _correct,
    Job.Kind.PUBLISH: _publish,
    Job.Kind.CODES: _make_codes,
    Job.Kind.SUM_UP: _sum_up,
    Job.Kind.RETAIN: _retain,
    Job.Kind.ERASE: _erase,
}


def _upload(job: Job) -> Upload:
    upload = Upload.objects.filter(pk=job.arguments["upload"]).first()
    if upload is None:
        raise ValueError(_("The upload is gone."))
    return upload


def _find(model: type[Model], key: int | None, gone: str) -> Any:
    """The row with a key; None without one."""
    row = model._default_manager.filter(pk=key).first()
    if row is None and key is not None:
        raise ValueError(gone)
    return row


def _budget(job: Job) -> "Budget":
    from recommender.services.budgeting import Budget

    objective, amount, required_return = (job.arguments.get(name) for name in _OF_BUDGET)
    return Budget(
        objective=Run.Objective(objective) if objective else None,
        amount=Decimal(amount) if amount else None,
        required_return=Decimal(required_return) if required_return else None,
    )


def _as_of(job: Job) -> datetime | None:
    text = job.arguments.get("as_of")
    return parse_datetime(text) if text else None
