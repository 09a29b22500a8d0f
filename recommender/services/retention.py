"""What is old is deleted, some rows at a time: events, runs that nobody published, snapshots that nothing rests on.

Each batch is a transaction of its own, so that nobody waits for long, and whatever was deleted when the work was
interrupted need not be deleted again.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from recommender.models import (
    Event,
    ModelVersion,
    Recommendation,
    Run,
    RunShard,
    Shop,
    Snapshot,
)
from recommender.progress import Progress
from recommender.services.shared_files import RUNS, delete_file, delete_folder, folder_of, folder_of_run, list_folders

BATCH = 5_000
_UNPUBLISHED = (Run.State.DRAFTED, Run.State.APPROVED, Run.State.REJECTED)


def delete_old(*, now: datetime, progress: Progress = Progress()) -> dict[str, int]:
    """Delete what is older than the settings say; a setting of 0 keeps everything.

    Returns:
        How many rows were deleted, by what they are: ``events``, ``runs``, ``snapshots`` (their files), ``models``
        (files of versions that were retired and are champion no longer) and ``candidates`` (files of runs that are no
        longer computed, which whoever computed them was killed before deleting).
    """
    return {
        "events": _delete_events(now, progress),
        "runs": _delete_runs(now, progress),
        "snapshots": _delete_snapshots(now, progress),
        "models": delete_retired_models(),
        "candidates": delete_forgotten_candidates(),
    }


def delete_retired_models() -> int:
    """Delete the files of versions that were retired, unless one is still champion, which serves until another is."""
    retired = ModelVersion.objects.filter(retired_at__isnull=False).exclude(artifact="").exclude(pk__in=_champion())
    for version in retired:
        delete_file(version.artifact)
        ModelVersion.objects.filter(pk=version.pk).update(artifact="")
    return len(retired)


def delete_forgotten_candidates() -> int:
    """Delete the files of runs within a budget that are no longer computed, or are gone."""
    folders = list_folders(RUNS)  # before the runs: what begins meanwhile is not among them
    computed = {
        folder_of_run(key) for key in Run.objects.filter(state=Run.State.COMPUTING).values_list("key", flat=True)
    }
    forgotten = [folder for folder in folders if folder not in computed]
    for folder in forgotten:
        delete_folder(folder)
    return len(forgotten)


def _champion() -> QuerySet:
    """Its key; nothing while there is none."""
    return Shop.objects.filter(champion__isnull=False).values("champion")


def _delete_events(now: datetime, progress: Progress) -> int:
    if not settings.EVENT_RETENTION_DAYS:
        return 0
    old = Event.objects.filter(occurred_at__lt=now - timedelta(days=settings.EVENT_RETENTION_DAYS))
    return _in_batches(old, lambda done: progress.report(_("Deleting old events"), done))


def _delete_runs(now: datetime, progress: Progress) -> int:
    """Runs that were never published. What was is the record of who was offered what, and is learned from. What an
    experiment has an arm of waits to be shown."""
    if not settings.RUN_RETENTION_DAYS:
        return 0
    old = Run.objects.filter(
        state__in=_UNPUBLISHED,
        created_at__lt=now - timedelta(days=settings.RUN_RETENTION_DAYS),
        publications__isnull=True,
        experiment_arms__isnull=True,
    )
    deleted = 0
    for run in old.order_by("pk"):
        # What is rejected is never published: nobody can show lists of which a part is gone.
        if not Run.objects.filter(pk=run.pk, state__in=_UNPUBLISHED).update(state=Run.State.REJECTED):
            continue
        for rows in (Recommendation.objects.filter(run=run), RunShard.objects.filter(run=run)):
            _in_batches(rows, lambda done: progress.report(_("Deleting old runs"), done))
        run.delete()
        deleted += 1
    return deleted


def _delete_snapshots(now: datetime, progress: Progress) -> int:
    """The files of old snapshots, unless it is the last one, the champion's, or that of a run which is not over."""
    if not settings.SNAPSHOT_RETENTION_DAYS:
        return 0
    last = Snapshot.objects.order_by("-pk").values("pk")[:1]
    not_over = Q(state__in=[Run.State.COMPUTING, Run.State.DRAFTED, Run.State.APPROVED]) | Q(
        publications__ended_at__isnull=True, publications__isnull=False
    )
    old = (
        Snapshot.objects.filter(
            created_at__lt=now - timedelta(days=settings.SNAPSHOT_RETENTION_DAYS), files_deleted_at__isnull=True
        )
        .exclude(pk__in=last)
        .exclude(pk__in=ModelVersion.objects.filter(pk__in=_champion()).values("snapshot"))
        .exclude(pk__in=Run.objects.filter(not_over).values("snapshot"))
    )
    for done, snapshot in enumerate(old, start=1):
        progress.report(_("Deleting old snapshots"), done)
        delete_folder(folder_of(snapshot.fingerprint))
        Snapshot.objects.filter(pk=snapshot.pk).update(files_deleted_at=now)
    return len(old)


def _in_batches(rows: QuerySet, tell: Callable[[int], None]) -> int:
    """Delete rows in the order of their keys; how many there were."""
    model: type[Model] = rows.model
    deleted = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            model._default_manager.filter(pk__in=keys).delete()
        deleted += len(keys)
        tell(deleted)
    return deleted
