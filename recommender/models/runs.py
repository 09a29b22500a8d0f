"""Computed recommendations, and which of them are live."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.campaigns import Campaign
from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField
from recommender.models.jobs import Job
from recommender.models.learning import LearnedInputs, ModelVersion, Snapshot
from recommender.models.shop import Shop, User
from recommender.models.shoppers import Shopper


class Run(models.Model):
    """One computation of recommendations for one campaign by one model version.

    ``computing`` → ``drafted`` → ``approved`` or ``rejected``; an approved run is ``published``, and later
    ``superseded`` by another or ``rolled_back``. Only what is drafted or further has all its lists.
    """

    class State(models.TextChoices):
        COMPUTING = "computing", _("being computed")
        DRAFTED = "drafted", _("to review")
        REJECTED = "rejected", _("rejected")
        APPROVED = "approved", _("approved")
        PUBLISHED = "published", _("live")
        SUPERSEDED = "superseded", _("superseded")
        ROLLED_BACK = "rolled_back", _("rolled back")

    class Objective(models.TextChoices):
        """What lists within a budget are to bring the most of."""

        REDEMPTIONS = "redemptions", _("redemptions")
        REVENUE = "revenue", _("revenue")
        MARGIN = "margin", _("margin")
        INCREMENTAL_MARGIN = "incremental_margin", _("incremental margin")

    #: A worker that allocates gives a sign of life at each reading of the candidates, which takes seconds.
    ALLOCATION_EXPIRES = timedelta(minutes=5)

    campaign = models.ForeignKey(Campaign, verbose_name=_("campaign"), on_delete=models.PROTECT, related_name="runs")
    model_version = models.ForeignKey(
        ModelVersion, verbose_name=_("model version"), on_delete=models.PROTECT, related_name="runs"
    )
    snapshot = models.ForeignKey(Snapshot, verbose_name=_("snapshot"), on_delete=models.PROTECT, related_name="runs")
    as_of = models.DateTimeField(_("as of"), help_text=_("Nothing dated at or after this moment was used."))
    top = models.PositiveSmallIntegerField(_("coupons a shopper"))
    coupon_ids = models.JSONField(
        _("coupon ids"), default=list, editable=False, help_text=_("Those it chooses from; the shop's identifiers.")
    )
    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.COMPUTING)
    shopper_count = models.PositiveBigIntegerField(_("shoppers"), default=0)
    recommendation_count = models.PositiveBigIntegerField(_("recommendations"), default=0)
    expected_redemptions = models.FloatField(_("expected redemptions"), null=True, blank=True)
    expected_low = models.PositiveBigIntegerField(
        _("redemptions at least"), null=True, blank=True, help_text=_("Fewer are expected 5 times of 100.")
    )
    expected_high = models.PositiveBigIntegerField(
        _("redemptions at most"), null=True, blank=True, help_text=_("More are expected 5 times of 100.")
    )
    score_histogram = models.JSONField(
        _("distribution of scores"),
        default=list,
        editable=False,
        help_text=_("From, to, and how many scores lie between, as it was drafted."),
    )
    same_offer_lists = models.PositiveBigIntegerField(
        _("lists with the same offer twice"), null=True, blank=True, editable=False, help_text=_("Empty: not counted.")
    )
    exclusive_lists = models.PositiveBigIntegerField(
        _("lists with coupons that exclude each other"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Several that cannot be combined and are for exactly the same. Empty: not counted."),
    )
    learned_inputs = models.ForeignKey(
        LearnedInputs,
        verbose_name=_("learned inputs"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="runs",
        help_text=_("What its inputs are compared with; empty where that was not recorded at training."),
    )
    retrieval = models.JSONField(
        _("first stage"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "Which pairs are scored, and what is told of all of them by some shoppers. Nothing in it: all pairs are. "
            "Empty: not decided yet, or older than this."
        ),
    )
    exploration = models.JSONField(
        _("exploration"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "As of the plan: the share of the lists whose last place is drawn, and with which chance each coupon is. "
            "Empty: nothing is tried."
        ),
    )
    contact_limit = models.JSONField(
        _("contact limit"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "As of the plan: at most how many campaigns in how many days for a shopper, and how many shoppers were "
            "left out for it. Empty: no limit."
        ),
    )
    objective = models.CharField(
        _("objective"),
        max_length=24,
        choices=Objective.choices,
        blank=True,
        default="",
        db_default="",  # the version before, which may still serve, writes runs without it
        help_text=_("What the lists bring the most of, within budgets and limits. Empty: the likeliest coupons."),
    )
    budget = MoneyField(
        _("budget"), null=True, blank=True, help_text=_("No more than this is expected to be given in discounts.")
    )
    required_return = models.DecimalField(
        _("required return"),
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        help_text=_("So much of the objective for each unit of expected discount, over all lists together."),
    )
    allocation_terms = models.JSONField(
        _("terms of the allocation"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "As of the plan: what a use of each coupon brings and costs, what is left of its limits, and which coupons "
            "are left out. Empty: not within a budget."
        ),
    )
    allocation_claim = models.UUIDField(_("claim of the allocation"), null=True, blank=True, editable=False)
    allocation_claimed_at = models.DateTimeField(_("allocation claimed"), null=True, blank=True, editable=False)
    allocated_at = models.DateTimeField(_("allocated"), null=True, blank=True, editable=False)
    allocation_value = models.FloatField(
        _("value of the lists"), null=True, blank=True, editable=False, help_text=_("Of the objective, as allocated.")
    )
    allocation_bound = models.FloatField(
        _("best possible value"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("No lists within the budget and the limits bring more of the objective."),
    )
    floor_shortages = models.JSONField(
        _("lacking uses"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "By how many uses the lists, as allocated, fall short of what each segment is promised, rounded up to a "
            "tenth. Empty: nothing is promised."
        ),
    )
    seller_places = models.JSONField(
        _("places of sellers"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "As allocated: of how many places in all each seller who is promised some has how many, and what the lists "
            "would bring if none were promised. Empty: nothing is promised to sellers."
        ),
    )
    marginal_return = models.FloatField(
        _("marginal return"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("How much more of the objective one more unit of budget brings."),
    )
    spend_curve = models.JSONField(
        _("curve of spend"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("What each budget would bring. Empty: what the coupons cost is not known."),
    )
    estimated_at = models.DateTimeField(_("estimated"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("started by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    job = models.ForeignKey(
        Job, verbose_name=_("job"), null=True, blank=True, on_delete=models.SET_NULL, related_name="runs"
    )
    reviewed_at = models.DateTimeField(_("reviewed"), null=True, blank=True)
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("reviewed by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-pk"]
        permissions = [
            ("review_run", "Can approve and reject runs"),
            ("publish_run", "Can publish runs and roll back"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(budget__isnull=True) | Q(budget__gte=0), name="run_budget_not_negative"),
            models.CheckConstraint(
                condition=Q(required_return__isnull=True) | Q(required_return__gt=0), name="run_return_above_0"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.campaign} · {self.pk}"

    @property
    def is_allocated(self) -> bool:
        """Whether its lists are made within budgets and limits, all of them together."""
        return self.allocation_terms is not None

    @property
    def correction_job_key(self) -> str:
        """Of the job that corrects the run: two never do at once."""
        return f"correct:{self.pk}"

    def find_correction_job(self) -> Job | None:
        """The job that corrects the run, or waits to; None if nothing is under way."""
        return Job.objects.unfinished().filter(key=self.correction_job_key).first()

    def may_be_approved_by(self, user: User) -> bool:
        """Whether somebody else made the run, or the shop lets people approve their own."""
        return self.created_by_id != user.pk or Shop.current().may_approve_own_runs


class RunShardQuerySet(models.QuerySet["RunShard"]):
    def free_at(self, moment: datetime) -> "RunShardQuerySet":
        """Those that a worker may take at a moment of the database's clock: nobody has, or who did was silent long."""
        unclaimed = Q(claim__isnull=True) | Q(claimed_at__lt=moment - RunShard.CLAIM_EXPIRES)
        return self.filter(unclaimed, state=RunShard.State.PENDING)


class RunShard(models.Model):
    """A part of a run's audience, scored by one worker. Written with its recommendations in one transaction.

    ``pending`` → ``scored``, or ``failed`` once it was tried :data:`MOST_ATTEMPTS` times in vain. In a run within a
    budget it is scored twice: candidates first, and once these are allocated, its lists.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        SCORED = "scored", _("done")
        FAILED = "failed", _("failed")

    #: Errors and lost workers together. A host that dies takes the shards with it that it happened to hold, so a few
    #: are not yet a sign that the shard is to blame.
    MOST_ATTEMPTS = 5
    #: A worker gives a sign of life after each block of pairs, which takes seconds.
    CLAIM_EXPIRES = timedelta(minutes=5)

    run = models.ForeignKey(Run, verbose_name=_("run"), on_delete=models.CASCADE, related_name="shards", db_index=False)
    number = models.PositiveIntegerField(_("number"))
    shopper_ids = models.JSONField(_("shopper ids"), help_text=_("The shop's identifiers."))
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.PENDING)
    claim = models.UUIDField(_("claim"), null=True, blank=True, editable=False)
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    segment_bits = models.JSONField(
        _("members of segments"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "Of each shopper, to which segments that are promised something they belong, a bit each; empty where "
            "nothing is promised."
        ),
    )
    input_counts = models.JSONField(
        _("inputs counted"),
        default=list,
        editable=False,
        help_text=_(
            "By input and bin of the learned inputs, its pairs; empty where there are none or not all are scored."
        ),
    )
    score_sums = models.JSONField(
        _("sums of scores"),
        default=dict,
        editable=False,
        help_text=_(
            "Of each coupon, by the shop's identifier: over how many shoppers, and the sum; empty where not all pairs "
            "are scored."
        ),
    )

    objects = RunShardQuerySet.as_manager()

    class Meta:
        verbose_name = _("shard")
        verbose_name_plural = _("shards")
        indexes = [
            # What workers look for a free one by: those that failed least come first.
            models.Index(fields=["run", "attempts", "number"], condition=Q(state="pending"), name="run_shard_pending"),
            models.Index(fields=["run", "number"], condition=Q(state="failed"), name="run_shard_failed"),
        ]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="run_shard_number_once")]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.number}"


class RecommendationQuerySet(models.QuerySet["Recommendation"]):
    def offered(self) -> "RecommendationQuerySet":
        """Those that staff left in."""
        return self.filter(excluded=False)

    def live(self) -> "RecommendationQuerySet":
        """Those of the runs that are published now, for all or for an arm of an experiment."""
        return self.offered().filter(run__publications__ended_at__isnull=True, run__publications__isnull=False)


class Recommendation(models.Model):
    """A coupon on a shopper's list. ``reasons`` holds kinds and facts, worded when shown, in the reader's language."""

    run = models.ForeignKey(
        Run, verbose_name=_("run"), on_delete=models.CASCADE, related_name="recommendations", db_index=False
    )
    shopper = models.ForeignKey(
        Shopper,
        verbose_name=_("shopper"),
        on_delete=models.CASCADE,
        related_name="recommendations",
        db_index=False,  # the index on shopper and run serves
    )
    coupon = models.ForeignKey(
        Coupon,
        verbose_name=_("coupon"),
        on_delete=models.PROTECT,
        related_name="recommendations",
        db_index=False,  # the unique constraint that begins with it serves
    )
    rank = models.PositiveSmallIntegerField(_("rank"))
    computed_rank = models.PositiveSmallIntegerField(
        _("computed rank"), null=True, blank=True, help_text=_("Its rank before staff put a coupon of the list first.")
    )
    pin = models.PositiveBigIntegerField(
        _("put first"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The number of the correction that put it first; the highest is at the very front."),
    )
    score = models.FloatField(_("score"), help_text=_("Probability that the shopper uses the coupon."))
    propensity = models.FloatField(
        _("propensity"),
        null=True,
        blank=True,
        help_text=_("The chance with which it came to stand on the list. Empty: the run tries nothing."),
    )
    reasons = models.JSONField(_("reasons"), default=list, encoder=DjangoJSONEncoder)
    excluded = models.BooleanField(_("taken out"), default=False)

    objects = RecommendationQuerySet.as_manager()

    class Meta:
        verbose_name = _("recommendation")
        verbose_name_plural = _("recommendations")
        indexes = [
            models.Index(fields=["shopper", "run"], name="recommendation_shopper_run"),
            models.Index(
                fields=["run", "shopper", "rank"], condition=Q(excluded=True), name="recommendation_taken_out"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["run", "shopper", "rank"], name="recommendation_rank_once"),
            # In this order, so that it also finds the lists of a run that hold a coupon.
            models.UniqueConstraint(fields=["coupon", "run", "shopper"], name="recommendation_coupon_once"),
            models.CheckConstraint(condition=Q(rank__gte=1), name="recommendation_rank_from_1"),
            models.CheckConstraint(condition=Q(score__gte=0, score__lte=1), name="recommendation_score_is_probability"),
        ]

    def __str__(self) -> str:
        return f"{self.shopper} · {self.coupon}"


class PublicationQuerySet(models.QuerySet["Publication"]):
    def for_all(self) -> "PublicationQuerySet":
        """Those that were not for the share of an experiment alone."""
        return self.filter(arm__isnull=True)

    def on_show(self) -> "PublicationQuerySet":
        """What is served now, be it to all or to the share of an experiment."""
        return self.filter(ended_at__isnull=True)

    def live(self) -> "PublicationQuerySet":
        """What campaigns show now to all to whom no experiment shows something else."""
        return self.for_all().on_show()


class Publication(models.Model):
    """A run's time on show, and so the record of who was offered what, and when.

    A campaign has at most one live publication for all. ``replaces`` is what rolling it back returns to. One with an
    ``arm`` is shown beside it, to that share of an experiment's shoppers.
    """

    campaign = models.ForeignKey(
        Campaign, verbose_name=_("campaign"), on_delete=models.PROTECT, related_name="publications"
    )
    run = models.ForeignKey(Run, verbose_name=_("run"), on_delete=models.PROTECT, related_name="publications")
    replaces = models.ForeignKey(
        "self", verbose_name=_("replaces"), null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    arm = models.OneToOneField(
        "ExperimentArm",
        verbose_name=_("arm of an experiment"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="publication",
        help_text=_("Empty: for all."),
    )
    published_at = models.DateTimeField(_("published"))
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("published by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    objects = PublicationQuerySet.as_manager()

    class Meta:
        verbose_name = _("publication")
        verbose_name_plural = _("publications")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign"],
                condition=Q(ended_at__isnull=True, arm__isnull=True),
                name="publication_one_live_for_all",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("published_at")),
                name="publication_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.campaign} · {self.run_id}"
