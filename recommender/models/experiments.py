"""Strategies side by side on live traffic: which run's lists each shopper of a campaign is served, and who was."""

from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.campaigns import Campaign
from recommender.models.runs import Run
from recommender.models.shoppers import Shopper


def make_salt() -> str:
    return uuid4().hex


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def running(self) -> "ExperimentQuerySet":
        return self.filter(state=Experiment.State.RUNNING)


class Experiment(models.Model):
    """Two or more runs of one campaign, each shown to a share of the shoppers.

    ``drafted`` → ``running`` → ``ended``. While it runs nothing of it changes: its arms and shares are copied into
    ``split``, which is what is served by. A campaign has at most one that runs.
    """

    class State(models.TextChoices):
        DRAFTED = "drafted", _("in preparation")
        RUNNING = "running", _("running")
        ENDED = "ended", _("ended")

    class Outcome(models.TextChoices):
        """What decides; each is of a shopper, from the start on."""

        REVENUE = "revenue", _("revenue")
        MARGIN = "margin", _("margin")
        ORDERS = "orders", _("orders")
        USES = "uses", _("uses of the campaign's coupons")

    campaign = models.ForeignKey(
        Campaign, verbose_name=_("campaign"), on_delete=models.PROTECT, related_name="experiments"
    )
    name = models.CharField(_("name"), max_length=200, help_text=_("What you want to know."))
    outcome = models.CharField(
        _("decided by"),
        max_length=16,
        choices=Outcome.choices,
        default=Outcome.REVENUE,
        help_text=_("Choose it before you start: what is chosen afterwards can always be made to look better."),
    )
    salt = models.CharField(_("salt"), max_length=32, unique=True, default=make_salt, editable=False)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.DRAFTED, editable=False)
    split = models.JSONField(
        _("split"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "Since it started: the run of each arm, up to which thousandth of the digests it reaches, and which is the "
            "default."
        ),
    )
    started_at = models.DateTimeField(_("started"), null=True, blank=True, editable=False)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("started by"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True, editable=False)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("ended by"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    winner = models.ForeignKey(
        "ExperimentArm",
        verbose_name=_("made the default"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        verbose_name = _("experiment")
        verbose_name_plural = _("experiments")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign"], condition=Q(state="running"), name="experiment_one_running_a_campaign"
            ),
            models.CheckConstraint(
                condition=Q(state="drafted") | Q(split__isnull=False, started_at__isnull=False),
                name="experiment_split_is_fixed_at_start",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ExperimentArm(models.Model):
    """A strategy: a run, with its model version, objective and list length, and the share of shoppers who get it."""

    experiment = models.ForeignKey(
        Experiment,
        verbose_name=_("experiment"),
        on_delete=models.CASCADE,
        related_name="arms",
        db_index=False,  # the unique constraint serves
    )
    name = models.CharField(_("name"), max_length=100)
    run = models.ForeignKey(Run, verbose_name=_("run"), on_delete=models.PROTECT, related_name="experiment_arms")
    share_percent = models.DecimalField(
        _("share, percent"),
        max_digits=4,
        decimal_places=1,
        default=Decimal(50),
        validators=[MinValueValidator(Decimal("0.1")), MaxValueValidator(Decimal("99.9"))],
        help_text=_("Of the shoppers. All arms together make 100."),
    )

    class Meta:
        verbose_name = _("arm of an experiment")
        verbose_name_plural = _("arms of experiments")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "run"], name="experiment_arm_run_once"),
            models.CheckConstraint(
                condition=Q(share_percent__gt=0, share_percent__lt=100), name="experiment_arm_share_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ExperimentExposure(models.Model):
    """A shopper's first list since an experiment started that their arm decided: from then on they may be changed."""

    experiment = models.ForeignKey(
        Experiment,
        verbose_name=_("experiment"),
        on_delete=models.CASCADE,
        related_name="exposures",
        db_index=False,  # the unique constraint serves
    )
    arm = models.ForeignKey(
        ExperimentArm, verbose_name=_("arm"), on_delete=models.CASCADE, related_name="exposures", db_index=False
    )
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.CASCADE, related_name="experiment_exposures"
    )
    exposed_at = models.DateTimeField(_("first served"))

    class Meta:
        verbose_name = _("exposure")
        verbose_name_plural = _("exposures")
        default_permissions = ()
        indexes = [models.Index(fields=["arm", "shopper"], name="experiment_exposure_arm")]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "shopper"], name="experiment_exposure_once"),
        ]

    def __str__(self) -> str:
        return f"{self.shopper} · {self.arm}"
