"""Codes that shoppers type: one public code of a coupon, or a batch of unique ones that hold once each."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.coupons import Coupon
from recommender.models.jobs import Job

#: Crockford's base 32: digits and capitals without I, L, O and U.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODES_AT_MOST = 10_000_000
LEAST_LENGTH, MOST_LENGTH = 10, 24


class CodeBatch(models.Model):
    """Unique codes of a coupon, made by a job. Each holds once."""

    coupon = models.ForeignKey(Coupon, verbose_name=_("coupon"), on_delete=models.PROTECT, related_name="code_batches")
    count = models.PositiveIntegerField(
        _("how many"),
        validators=[MinValueValidator(1), MaxValueValidator(CODES_AT_MOST)],
        help_text=_("At most ten million."),
    )
    prefix = models.CharField(
        _("begins with"),
        max_length=16,
        blank=True,
        validators=[RegexValidator(r"^[A-Za-z0-9]*\Z", _("Only the letters A to Z and digits."))],
        help_text=_("Letters A to Z and digits, the same for all; may be empty."),
    )
    length = models.PositiveSmallIntegerField(
        _("random characters"),
        default=12,
        validators=[MinValueValidator(LEAST_LENGTH), MaxValueValidator(MOST_LENGTH)],
        help_text=_("After the beginning. Each of them has 32 possible values."),
    )
    made = models.PositiveIntegerField(_("codes made"), default=0, editable=False)
    job = models.ForeignKey(
        Job, verbose_name=_("job"), null=True, editable=False, on_delete=models.SET_NULL, related_name="code_batches"
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        verbose_name = _("batch of codes")
        verbose_name_plural = _("batches of codes")
        ordering = ["-pk"]
        default_permissions = ("add", "view")
        permissions = [("export_codebatch", "Can export the codes of a batch")]
        constraints = [
            models.CheckConstraint(
                condition=Q(count__gte=1, count__lte=CODES_AT_MOST), name="code_batch_count_in_range"
            ),
            models.CheckConstraint(
                condition=Q(length__gte=LEAST_LENGTH, length__lte=MOST_LENGTH), name="code_batch_length_in_range"
            ),
            models.CheckConstraint(condition=Q(made__lte=F("count")), name="code_batch_made_at_most_count"),
        ]

    def __str__(self) -> str:
        return f"{self.coupon} × {self.count}"

    @property
    def state(self) -> str:
        """Of the work that makes the codes."""
        if self.is_complete:
            return Job.State.SUCCEEDED
        return self.job.state if self.job is not None else Job.State.QUEUED

    @property
    def is_complete(self) -> bool:
        return self.made == self.count


class Code(models.Model):
    """A unique code, normalised. ``uses`` is 1 while a basket or an order holds it."""

    code = models.CharField(_("code"), max_length=40, unique=True)
    batch = models.ForeignKey(
        CodeBatch, verbose_name=_("batch of codes"), on_delete=models.PROTECT, related_name="codes"
    )
    uses = models.PositiveSmallIntegerField(_("uses"), default=0, db_default=0)

    class Meta:
        verbose_name = _("code")
        verbose_name_plural = _("codes")
        default_permissions = ()
        # Of millions few may be used; to count them the others need not be read.
        indexes = [models.Index(fields=["batch"], condition=Q(uses=1), name="code_used")]
        constraints = [models.CheckConstraint(condition=Q(uses__lte=1), name="code_holds_once")]

    def __str__(self) -> str:
        return self.code
