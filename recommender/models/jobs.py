"""The row that staff see for any long work."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.wording import SentenceField, SentencesField


class JobQuerySet(models.QuerySet["Job"]):
    def unfinished(self) -> "JobQuerySet":
        return self.filter(state__in=Job.UNFINISHED)

    def silent_since(self, moment: datetime) -> "JobQuerySet":
        """Running jobs whose worker gave no sign of life since ``moment``."""
        return self.filter(state=Job.State.RUNNING, heartbeat_at__lt=moment)

    def forgettable_at(self, moment: datetime) -> "JobQuerySet":
        """Those that summed up for pages, come in great numbers and left nothing that anybody asks for."""
        return self.filter(
            kind=Job.Kind.SUM_UP, state=Job.State.SUCCEEDED, finished_at__lt=moment - Job.SUMMING_UP_KEPT
        )


class Job(models.Model):
    """One piece of long work.

    ``queued`` → ``running`` → ``succeeded``, ``failed`` or ``cancelled``. A worker claims a queued job by a conditional
    update that writes its ``claim`` token, and every later write asks for that token: a job that was taken from a dead
    worker and given to another cannot be finished by the first. ``key`` names what goes in, and two unfinished jobs
    never share one.
    """

    class Kind(models.TextChoices):
        CHECK = "check", _("check an upload")
        LOAD = "load", _("load history")
        TRAIN = "train", _("compare and train")
        SEARCH = "search", _("search for the model")
        EVALUATE = "evaluate", _("backtest")
        RECOMMEND = "recommend", _("recommend")
        CORRECT = "correct", _("correct a run")
        PUBLISH = "publish", _("publish")
        CODES = "codes", _("make codes")
        SUM_UP = "sum_up", _("sum up")
        RETAIN = "retain", _("delete what is old")
        ERASE = "erase", _("erase a shopper")

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    UNFINISHED = (State.QUEUED, State.RUNNING)
    HEARTBEAT_EXPIRES = timedelta(minutes=5)
    #: A worker gives a sign of life four times as often.
    SILENT_AFTER = timedelta(minutes=1)
    SUMMING_UP_KEPT = timedelta(hours=6)

    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    key = models.CharField(_("key"), max_length=200)
    arguments = models.JSONField(_("arguments"), default=dict, encoder=DjangoJSONEncoder)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.QUEUED)
    not_before = models.DateTimeField(_("not before"), null=True, blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("started by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="jobs",
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    claim = models.UUIDField(_("claim"), null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    cancel_requested = models.BooleanField(_("cancel requested"), default=False)
    done = models.PositiveBigIntegerField(_("done"), default=0)
    total = models.PositiveBigIntegerField(_("total"), null=True, blank=True)
    message = SentenceField(_("doing"), blank=True)
    log = SentencesField(_("log"), blank=True)
    error = SentenceField(_("error"), blank=True)
    result = models.JSONField(_("result"), null=True, blank=True, encoder=DjangoJSONEncoder)

    objects = JobQuerySet.as_manager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-pk"]
        indexes = [models.Index(fields=["state", "heartbeat_at"], name="job_state_heartbeat")]
        constraints = [
            models.UniqueConstraint(
                fields=["key"], condition=Q(state__in=["queued", "running"]), name="job_unfinished_key_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], finished_at__isnull=True)
                | Q(state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False),
                name="job_finished_has_time",
            ),
        ]
        permissions = [("start_job", "Can start long work"), ("cancel_job", "Can cancel long work")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @staticmethod
    def new_claim() -> uuid.UUID:
        return uuid.uuid4()

    @property
    def is_finished(self) -> bool:
        return self.state not in self.UNFINISHED

    def is_silent_at(self, moment: datetime) -> bool:
        """Whether its worker, which may have died, gave no sign of life for longer than it does as a rule."""
        return (
            self.state == self.State.RUNNING
            and self.heartbeat_at is not None
            and self.heartbeat_at < moment - self.SILENT_AFTER
        )

    @property
    def percent(self) -> int | None:
        """How much is done, 0 to 100; None while that is not known."""
        if self.state == self.State.SUCCEEDED:
            return 100
        return None if not self.total else min(100, int(100 * self.done / self.total))
