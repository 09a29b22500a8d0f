"""A job row's life: started, claimed, watched, finished, cancelled, taken up again.

The table is the truth and the broker only a bell. A message that is lost, comes twice or comes to a job that is gone
does no harm: a worker works only on a row that it claimed, and :func:`resume_silent_jobs` rings again for every row
that waits unheard. Whether a row is due, or its worker silent, is a matter of the database's clock alone.
"""

import errno
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.db import Error as DatabaseError
from django.db import OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Concat, Right
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from couponsite.database import is_away
from recommender.clock import database_now
from recommender.models import Job, User
from recommender.progress import Cancelled, Progress
from recommender.wording import gettext as _
from recommender.wording import keep

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
LOG_LIMIT = 20_000  # characters; the oldest go first
LOOK_EVERY = timedelta(seconds=1)
BEAT_EVERY = timedelta(seconds=15)

#: Which workers do what. Hours of learning hold up nobody who waits for a run, and neither holds up what is due on
#: time: publishing only moves a pointer.
QUEUES = {
    Job.Kind.CHECK: "training",
    Job.Kind.LOAD: "training",
    Job.Kind.TRAIN: "training",
    Job.Kind.SEARCH: "training",
    Job.Kind.EVALUATE: "training",
    Job.Kind.RECOMMEND: "scoring",
    Job.Kind.CORRECT: "scoring",
    Job.Kind.CODES: "scoring",
    Job.Kind.SUM_UP: "scoring",
    Job.Kind.PUBLISH: "upkeep",
    Job.Kind.RETAIN: "upkeep",
    Job.Kind.ERASE: "training",  # it rewrites the history
}
#: A server was away or busy: nothing is wrong with the work, and it is done again.
INTERRUPTIONS = (OperationalError, BrokerError)
#: The errors of a disk that takes no more: full, over quota, or the file longer than it may be.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Work = Callable[[Job, Progress], Mapping[str, Any] | None]


class ClaimLost(Cancelled):
    """The job was finished, deleted or given to another worker. Its former holder writes nothing more."""


# Starting


def start_job(
    *,
    kind: Job.Kind,
    key: str,
    arguments: Mapping[str, Any],
    started_by: User | None = None,
    not_before: datetime | None = None,
) -> Job:
    """Save a job and tell the workers of it once the surrounding transaction is committed.

    Args:
        kind: what to do; :mod:`recommender.tasks` lists the ``arguments`` of each kind.
        key: names what goes in. While a job with the same key is unfinished, that job is returned and none is made.
        not_before: the earliest moment to begin, to the next sweep.
    """
    job, is_new = Job.objects.unfinished().get_or_create(
        key=key,
        defaults={"kind": kind, "arguments": dict(arguments), "started_by": started_by, "not_before": not_before},
    )
    if is_new and not_before is None:
        transaction.on_commit(lambda: _send(job))
    return job


def _send(job: Job) -> None:
    """Tell the workers of a queued job. One that cannot be told of now is told of by a later sweep."""
    queue = QUEUES[Job.Kind(job.kind)]
    try:
        current_app.send_task("recommender.tasks.run_job", args=[job.pk], queue=queue)  # tasks lie above this module
    except BrokerError:
        logger.warning("Job %s waits: the broker cannot be reached.", job.pk, exc_info=True)
        return
    Job.objects.filter(pk=job.pk, state=Job.State.QUEUED).update(heartbeat_at=database_now())


# Working


def claim_job(*, job_id: int) -> Job | None:
    """Take a queued job that is due. None if it is gone, not due, cancelled or somebody else's."""
    now = database_now()
    claim = Job.new_claim()
    Job.objects.filter(_due(now), pk=job_id, state=Job.State.QUEUED).update(
        state=Job.State.RUNNING,
        claim=claim,
        attempts=F("attempts") + 1,
        started_at=Coalesce(F("started_at"), Value(now)),
        heartbeat_at=now,
    )
    return Job.objects.filter(pk=job_id, claim=claim).first()


def carry_out(*, job: Job, work: Work, progress: "JobHeartbeat", shared: bool = False) -> None:
    """Do the work of a claimed job and write how it ended.

    Args:
        work: returns the job's result, or None when other tasks do the rest and one of them brings the result.
        shared: other tasks do parts of the job at this moment. If this one is interrupted they go on, and the next
            sweep has its part done.
    """
    try:
        with progress:
            result = work(job, progress)
    except ClaimLost:
        logger.warning("Job %s is no longer this worker's.", job.pk)
    except Cancelled:
        _end(job, Job.State.CANCELLED)
    except Exception as error:
        if not isinstance(error, INTERRUPTIONS) and not is_away(error):
            logger.exception("Job %s failed.", job.pk)
            _end(job, Job.State.FAILED, error=_describe_error(error), log=traceback.format_exc())
            return
        logger.warning("Job %s was interrupted.", job.pk, exc_info=True)
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()  # it may lead to a server that is no more
        if not shared:
            _take_up_again(job, reason=str(error))
    else:
        if result is not None:
            _end(job, Job.State.SUCCEEDED, result=dict(result), message="")


def _describe_error(error: Exception) -> str:
    if isinstance(error, SoftTimeLimitExceeded):
        return _("It took longer than a worker may spend on it, and was stopped.")
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return _(
            "There is no room left on the disk of %(host)s to write %(file)s. Nothing was changed: the last good model "
            "and the published lists stay in use. Make room there, then start it again."
        ) % {"host": socket.gethostname(), "file": error.filename or _("a file")}
    return str(error) or type(error).__name__


class JobHeartbeat(Progress):
    """Keeps a claimed job alive while its work goes on, and stops the work when it should stop.

    A context manager. A thread with a database connection of its own does all reading and writing: it beats on while
    a library computes for minutes, and its writes are neither held back nor undone by a transaction of the work.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stop: type[Cancelled] | None = Cancelled if job.cancel_requested else None
        self._closing = threading.Event()
        self._beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name=f"job-{job.pk}", daemon=True)

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        """Stop the work if it should stop.

        Raises:
            Cancelled: somebody asked for it.
            ClaimLost: the job is no longer this worker's.
        """
        if self._stop is not None:
            raise self._stop

    def __enter__(self) -> "JobHeartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._closing.wait(LOOK_EVERY.total_seconds()):
                self._look()
            self._look()
        finally:
            connection.close()

    def _look(self) -> None:
        try:
            mine = _held(self._job)
            cancel_requested = mine.values_list("cancel_requested", flat=True).first()
            if cancel_requested is None:
                self._stop = ClaimLost
                return
            if cancel_requested:
                self._stop = Cancelled
            changes = self._changes()
            if changes or time.monotonic() - self._beat_at >= BEAT_EVERY.total_seconds():
                mine.update(heartbeat_at=database_now(), **changes)
                self._beat_at = time.monotonic()
                self._written()
        except DatabaseError:  # locked by a long write, or away: what is not written now is written at the next look
            logger.debug("The progress of job %s waits.", self._job.pk, exc_info=True)
            connection.close()

    def _changes(self) -> dict[str, Any]:
        """Fields to write beside the heartbeat."""
        return {}

    def _written(self) -> None:
        """What :meth:`_changes` gave is in the database."""


class JobProgress(JobHeartbeat):
    """Shows in the job's row what is being done, and keeps a line of log for each message."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._lock = threading.Lock()
        self._state: tuple[str, int, int | None] = ("", 0, None)
        self._lines: list[str] = []
        self._given: tuple[str, int, int | None] = self._state  # what the running write holds, and how many lines
        self._lines_given = 0
        self._shown: tuple[str, int, int | None] = self._state

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        with self._lock:
            if message != self._state[0]:
                self._lines.append(_log_line(message))
            self._state = (message, done, total)
        super().report(message, done, total)

    def _changes(self) -> dict[str, Any]:
        with self._lock:
            if self._state == self._shown:
                return {}
            self._given, self._lines_given = self._state, len(self._lines)
            message, done, total = self._given
            changes: dict[str, Any] = {"message": message, "done": done, "total": total}
            if self._lines:
                changes["log"] = _appended("".join(self._lines))
            return changes

    def _written(self) -> None:
        with self._lock:
            del self._lines[: self._lines_given]
            self._lines_given, self._shown = 0, self._given


def show_parts_done(*, job: Job, done: int, total: int, message: str | None = None) -> None:
    """Show how many of the parts that several tasks share are done, and what they are if that is new. Getting on gives
    the job its attempts back."""
    _held(job).update(done=done, total=total, attempts=0, **({} if message is None else {"message": message}))


# Ending


def _end(job: Job, state: Job.State, *, log: str = "", **fields: Any) -> None:
    """Write how a job ended, if it is still its holder who says so."""
    if log:
        fields["log"] = _appended(log)
    now = database_now()
    _held(job).update(state=state, finished_at=now, heartbeat_at=now, **fields)


def cancel_job(*, job: Job, by: User | None) -> Job:
    """Cancel a job that waits; ask one that runs to stop, which it does at its next report. A finished one stays.

    Returns:
        The job as it is now.
    """
    log = _appended(_log_line(_("Cancelled by %(user)s.") % {"user": by} if by else _("Cancelled.")))
    with transaction.atomic():
        now_job = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if not now_job.is_finished and not now_job.cancel_requested:
            row = Job.objects.filter(pk=job.pk)
            row.update(cancel_requested=True, log=log)
            if now_job.state == Job.State.QUEUED:
                row.update(state=Job.State.CANCELLED, finished_at=database_now())
            now_job.refresh_from_db()
    return now_job


# Sweeping


def resume_silent_jobs() -> None:
    """Take jobs from workers that died, and tell again of due jobs that nobody took.

    A job is given up after :data:`MAX_ATTEMPTS` silent or interrupted attempts.
    """
    now = database_now()
    silent_since = now - Job.HEARTBEAT_EXPIRES
    with transaction.atomic():
        # A write of minutes keeps everybody's heartbeat out of SQLite; had we to wait, then so had they.
        if database_now() - now < LOOK_EVERY:
            for job in Job.objects.silent_since(silent_since):
                _take_up_again(job, reason=_("its worker gave no sign of life"), silent_since=silent_since)
    unheard = Q(heartbeat_at__isnull=True) | Q(heartbeat_at__lt=silent_since)
    for job in Job.objects.filter(_due(now), unheard, state=Job.State.QUEUED):
        _send(job)


def _take_up_again(job: Job, *, reason: str, silent_since: datetime | None = None) -> None:
    """Queue an interrupted job again; end it if it was to be cancelled or was interrupted too often.

    The job is not told of at once: what interrupted it, such as a database that is away, needs its time.
    """
    row = _held(job)
    if silent_since is not None:
        row = row.filter(heartbeat_at__lt=silent_since)
    now = database_now()
    reason = reason.rstrip(".")
    line = _log_line(_("Interrupted: %(reason)s.") % {"reason": reason})
    if Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
        row.update(state=Job.State.CANCELLED, finished_at=now, log=_appended(line))
    elif job.attempts >= MAX_ATTEMPTS:
        error = _("Given up after %(count)d attempts; the last was interrupted: %(reason)s.") % {
            "count": job.attempts,
            "reason": reason,
        }
        row.update(state=Job.State.FAILED, finished_at=now, error=error, log=_appended(line))
    else:
        told = None if silent_since is not None else now
        row.update(state=Job.State.QUEUED, claim=None, heartbeat_at=told, log=_appended(line))


# Shared


def _held(job: Job) -> QuerySet[Job]:
    """The job's row while the claim that ``job`` remembers holds, else nothing."""
    return Job.objects.filter(pk=job.pk, claim=job.claim, state=Job.State.RUNNING)


def _due(moment: datetime) -> Q:
    return Q(not_before__isnull=True) | Q(not_before__lte=moment)


def _log_line(text: str) -> str:
    return f"{timezone.now():%Y-%m-%d %H:%M:%SZ} {keep(text)}\n"


def _appended(text: str) -> Combinable:
    """The log with ``text`` at its end, cut in the database because several tasks may write to one log."""
    return Right(Concat(F("log"), Value(text)), LOG_LIMIT)
