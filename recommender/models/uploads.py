"""Shop exports that staff bring in."""

from pathlib import Path

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.jobs import Job
from recommender.wording import SentenceField


class Upload(models.Model):
    """A shop export on its way into the tables: a file that was uploaded, or a folder under the import directory.

    ``received`` → ``checked`` (a dry run found it fit) or ``refused``; ``checked`` → ``loaded``. The state says what is
    known of the export, its jobs say what is being done with it. It can be checked again until it is loaded. Its row
    stays after its files were deleted.
    """

    class Source(models.TextChoices):
        FILE = "file", _("uploaded file")
        FOLDER = "folder", _("folder")

    class State(models.TextChoices):
        RECEIVED = "received", _("not checked yet")
        CHECKED = "checked", _("ready to load")
        REFUSED = "refused", _("refused")
        LOADED = "loaded", _("loaded")

    source = models.CharField(_("source"), max_length=8, choices=Source.choices)
    name = models.CharField(_("name"), max_length=255)
    size = models.PositiveBigIntegerField(_("size"), null=True, blank=True, help_text=_("In bytes."))
    digest = models.CharField(_("digest"), max_length=64, blank=True, help_text=_("SHA-256 of the file."))
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.RECEIVED)
    problem = SentenceField(_("problem"), blank=True, help_text=_("Why it was refused."))
    report = models.JSONField(
        _("report"), null=True, blank=True, encoder=DjangoJSONEncoder, help_text=_("Of the last check, or of the load.")
    )
    check_job = models.ForeignKey(
        Job, verbose_name=_("check"), null=True, blank=True, on_delete=models.SET_NULL, related_name="checked_uploads"
    )
    load_job = models.ForeignKey(
        Job, verbose_name=_("load"), null=True, blank=True, on_delete=models.SET_NULL, related_name="loaded_uploads"
    )
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("brought in by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="uploads",
    )
    uploaded_at = models.DateTimeField(_("brought in"), auto_now_add=True)
    loaded_at = models.DateTimeField(_("loaded at"), null=True, blank=True)
    files_deleted_at = models.DateTimeField(_("files deleted"), null=True, blank=True)

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        ordering = ["-pk"]
        indexes = [models.Index(fields=["digest"], name="upload_digest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(source="file", size__isnull=False) & ~Q(digest="")
                | Q(source="folder", size__isnull=True, digest=""),
                name="upload_file_has_digest",
            ),
            models.CheckConstraint(
                condition=Q(state="loaded", loaded_at__isnull=False) | ~Q(state="loaded") & Q(loaded_at__isnull=True),
                name="upload_loaded_has_time",
            ),
            models.CheckConstraint(
                condition=Q(state="refused") & ~Q(problem="") | ~Q(state="refused") & Q(problem=""),
                name="upload_refused_has_problem",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["checked", "loaded"]) | Q(report__isnull=False),
                name="upload_checked_has_report",
            ),
        ]
        permissions = [("load_upload", "Can load uploads into the tables")]

    def __str__(self) -> str:
        return self.name

    @property
    def directory(self) -> Path:
        """Where its file, and the rows of it that were put aside, are kept."""
        return Path(settings.DATA_DIR) / "uploads" / str(self.pk)

    @property
    def put_aside_path(self) -> Path:
        return self.directory / "put-aside.csv"

    @property
    def job_key(self) -> str:
        """The key of its jobs: one at a time."""
        return f"upload:{self.pk}"

    @property
    def latest_job(self) -> Job | None:
        """The job that works on it now, or did last."""
        return max((job for job in (self.check_job, self.load_job) if job), key=lambda job: job.pk, default=None)
