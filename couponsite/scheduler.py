"""The scheduler: each occurrence is begun once, however many schedulers run, and late rather than never."""

from typing import Any

from celery.utils.log import get_logger
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import F, QuerySet
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

logger = get_logger(__name__)


class OnceEntry(ModelEntry):
    """A schedule and when it was last begun."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        super().__init__(model, app=app)
        now = self._default_now()
        if model.last_run_at > now:  # by a clock that was ahead: it would stand still until that moment comes
            model.last_run_at = self.last_run_at = now


class OnceScheduler(DatabaseScheduler):
    """Asks the table, under a lock, whether an occurrence is still to be begun, and writes at once that it was.

    django-celery-beat keeps that in memory for minutes: a scheduler that is killed begins the same again, and two of
    them begin everything twice. It also passes over what was due at an hour that is past, such as a training at three
    in the morning when the scheduler is back at nine.
    """

    Entry = OnceEntry

    def enabled_models_qs(self) -> "QuerySet[PeriodicTask]":
        """All of them, whatever the hour is."""
        enabled: QuerySet[PeriodicTask] = self.Model.objects.enabled()
        return enabled

    def all_as_schedule(self) -> dict[str, OnceEntry]:
        """What the table says; while the database is away, what it said last."""
        try:
            read: dict[str, OnceEntry] = super().all_as_schedule()
        except (DatabaseError, InterfaceError):
            if self._schedule is None:
                raise
            logger.exception("The schedule cannot be read.")
            connection.close()
            return self._schedule
        return read

    def reserve(self, entry: OnceEntry) -> OnceEntry:
        """The entry for the next occurrence. Nothing is left to write later: :meth:`apply_async` writes."""
        return next(entry)

    def sync(self) -> None:
        """Nothing was kept back to be written."""

    def apply_async(self, entry: OnceEntry, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send a task, unless another scheduler did or the schedule was switched off.

        If it cannot be sent nothing is written, so that it is due until it can.
        """
        with transaction.atomic():
            row = self.Model.objects.select_for_update().filter(pk=entry.model.pk).first()
            if row is None or not row.enabled:
                return None
            began = self.Entry(row, app=self.app)
            if not began.is_due().is_due:
                logger.info("%s was begun by another scheduler.", entry.name)
                return None
            # The moment that this scheduler goes on from. A later one would leave the next occurrence not quite due.
            self.Model.objects.filter(pk=row.pk).update(
                last_run_at=entry.model.last_run_at, total_run_count=F("total_run_count") + 1
            )
            return super().apply_async(entry, producer=producer, advance=advance, **options)
