"""Celery's way in. A task takes ids, finds the row gone or not its own and leaves; what to do is a service's business.

Services are imported inside the functions: a web process names these tasks without loading a numeric library, and the
parent of a worker's processes stays free of polars, whose threads do not survive a fork.
"""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from billiard import current_process
from celery import current_app, shared_task
from celery.signals import worker_process_init
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from couponsite.logs import log_from_now_on_with
from couponsite.processes import die_with_parent
from recommender import jobs
from recommender.models import Answer, Campaign, Coupon, Job, Run, RunCorrection, RunShard, Segment, Shopper, Upload
from recommender.progress import Progress

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
    - ``recommend``: ``campaign`` (primary key); ``as_of``, ``algorithm`` and ``top``, all optional
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


@shared_task
def score_shard(job_id: int, shard_id: int) -> None:
    """Score one shard of the run that a recommend job computes; whoever scores the last one finishes run and job."""
    job = Job.objects.filter(pk=job_id, state=Job.State.RUNNING).first()
    shard = RunShard.objects.select_related("run").filter(pk=shard_id).first()
    if job is None or shard is None:
        return
    run = shard.run
    log_from_now_on_with(run_id=run.pk)

    def score(job: Job, progress: Progress) -> Mapping[str, Any] | None:
        from recommender.services import runs

        runs.score_shard(shard_id=shard_id, progress=progress)
        done, total = _count_shards(run)
        jobs.show_parts_done(job=job, done=done, total=total)
        return _finish(run) if done == total else None

    jobs.carry_out(job=job, work=score, progress=jobs.JobHeartbeat(job))


@shared_task
def sweep() -> None:
    """Take up what dead workers left, begin what is due, and clear away old answers, old webhook messages and the runs
    of cancelled jobs."""
    from recommender.services.webhooks import forget_old_deliveries

    jobs.resume_silent_jobs()
    Answer.objects.forgettable_at(timezone.now()).delete()
    forget_old_deliveries(now=timezone.now())
    Job.objects.forgettable_at(timezone.now()).delete()
    for run in Run.objects.filter(state=Run.State.COMPUTING, job__state=Job.State.CANCELLED):
        with transaction.atomic():
            # The shards first: a worker that is writing one is waited for, and one that would write later finds none.
            run.shards.all().delete()
            run.delete()


@shared_task
def release_overdue() -> None:
    """Give back what reservations and groups hold whose time is over, and forget answers that are kept no longer."""
    from recommender.services.checkout import holding, idempotency

    now = timezone.now()
    holding.release_overdue(at=now)
    idempotency.forget_old_answers(at=now)


@shared_task
def retrain() -> None:
    """Start a training, unless one is under way. With nothing new to learn from it changes nothing."""
    jobs.start_job(kind=Job.Kind.TRAIN, key="train", arguments={})


@shared_task
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
    """Plan the run and hand its shards to whoever is free.

    A job that is taken up again goes on with its run. While the run is ``computing`` nobody can review or publish it;
    if the job is cancelled midway, the next sweep deletes it.
    """
    from recommender.services.runs import plan_run

    campaign = Campaign.objects.filter(pk=job.arguments["campaign"]).first()
    if campaign is None:
        raise ValueError(_("The campaign is gone."))
    options = {name: value for name, value in job.arguments.items() if name != "campaign"}
    run = plan_run(
        **{**options, "as_of": _as_of(job)},
        campaign=campaign,
        created_by=job.started_by,
        job=job,
        progress=progress,
    )
    log_from_now_on_with(run_id=run.pk)
    Run.objects.filter(pk=run.pk, state=Run.State.COMPUTING).update(job=job)  # planned before by another job
    pending = run.shards.filter(state=RunShard.State.PENDING)
    # Whoever held a shard for an earlier attempt is dead, or the job would not have been silent.
    pending.update(claim=None, claimed_at=None)
    for shard_id in pending.order_by("number").values_list("pk", flat=True):
        score_shard.delay(job.pk, shard_id)
    done, total = _count_shards(run)
    progress.report(_("Scoring shoppers"), done, total)
    return _finish(run) if done == total else None


def _count_shards(run: Run) -> tuple[int, int]:
    """How many shards are scored, of how many."""
    return run.shards.filter(state=RunShard.State.SCORED).count(), run.shards.count()


def _finish(run: Run) -> Mapping[str, Any]:
    from recommender.services.runs import finish_run
    from recommender.services.summaries import RunChecks

    run = finish_run(run=run)
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


def _as_of(job: Job) -> datetime | None:
    text = job.arguments.get("as_of")
    return parse_datetime(text) if text else None
