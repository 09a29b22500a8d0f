"""What staff see of a run before it is published, and what they change and say about it."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField
from recommender.models.jobs import Job
from recommender.models.runs import Run
from recommender.models.segments import Segment
from recommender.models.shoppers import Shopper
from recommender.wording import gettext, sentence_of


class RunCoupon(models.Model):
    """How many shoppers a run offers a coupon, and what is expected of it.

    The amounts are of one use. One that is not known is empty, never a guess.
    """

    class Basis(models.TextChoices):
        """What an amount rests on."""

        TERMS = "terms", _("the coupon's own terms")
        OFFER = "offer", _("past redemptions of the same offer")
        PRODUCTS = "products", _("past redemptions of coupons for the same products")
        SHOP = "shop", _("past redemptions of the whole shop")
        PRICES = "prices", _("the prices of its products")
        UNKNOWN = "", _("unknown")

    run = models.ForeignKey(
        Run,
        verbose_name=_("run"),
        on_delete=models.CASCADE,
        related_name="run_coupons",
        db_index=False,  # the unique constraint serves
    )
    coupon = models.ForeignKey(Coupon, verbose_name=_("coupon"), on_delete=models.PROTECT, related_name="run_coupons")
    shopper_count = models.PositiveBigIntegerField(_("shoppers"), default=0)
    expected_uses = models.FloatField(_("expected uses"), default=0)
    mean_score = models.FloatField(
        _("mean score"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Over all shoppers of the run, whether it is on their list or not."),
    )
    discount_per_use = MoneyField(_("discount per use"), null=True, blank=True)
    revenue_per_use = MoneyField(_("revenue per use"), null=True, blank=True, help_text=_("Paid, after the discount."))
    margin_per_use = MoneyField(
        _("margin per use"), null=True, blank=True, help_text=_("Revenue without what the goods cost the shop.")
    )
    discount_basis = models.CharField(
        _("discount rests on"), max_length=16, choices=Basis.choices, blank=True, default=Basis.UNKNOWN
    )
    discount_count = models.PositiveIntegerField(_("redemptions behind the discount"), default=0)
    spend_basis = models.CharField(
        _("revenue rests on"), max_length=16, choices=Basis.choices, blank=True, default=Basis.UNKNOWN
    )
    spend_count = models.PositiveIntegerField(_("redemptions behind the revenue"), default=0)

    class Meta:
        verbose_name = _("coupon of a run")
        verbose_name_plural = _("coupons of runs")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "coupon"], name="run_coupon_once"),
            models.CheckConstraint(condition=Q(expected_uses__gte=0), name="run_coupon_uses_not_negative"),
            models.CheckConstraint(
                condition=Q(discount_per_use__isnull=True) | Q(discount_per_use__gte=0),
                name="run_coupon_discount_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} · {self.coupon}"


class RunInputQuerySet(models.QuerySet["RunInput"]):
    def moved(self) -> "RunInputQuerySet":
        """Those whose verdict is :attr:`RunInput.Verdict.MOVED`."""
        return self.filter(Q(index__gt=F("usual")), Q(index__gt=RunInput.LARGE))


class RunInput(models.Model):
    """How an input of the model was distributed over all pairs that a run scored, and over those it learned from.

    ``index`` is the population stability index between the two (``recommender.ml.input_drift``), ``usual`` the largest
    of a campaign learned from against the others. Edges are ascending; counts are of values up to and with each edge,
    above the last, and not a number.
    """

    #: By convention a distribution is steady below the one and has moved a lot above the other (Siddiqi 2006).
    SMALL, LARGE = 0.1, 0.25

    class Verdict(models.TextChoices):
        STEADY = "steady", _("steady")
        SHIFTED = "shifted", _("shifted")
        USUAL = "usual", _("moved as campaigns differ")
        MOVED = "moved", _("moved a lot")

    run = models.ForeignKey(
        Run,
        verbose_name=_("run"),
        on_delete=models.CASCADE,
        related_name="inputs",
        db_index=False,  # the unique constraint serves
    )
    name = models.CharField(_("input"), max_length=100)
    index = models.FloatField(_("stability index"))
    usual = models.FloatField(
        _("usual among campaigns"), help_text=_("The largest index of a campaign learned from against the others.")
    )
    edges = models.JSONField(_("edges"), default=list)
    learned_counts = models.JSONField(_("offers learned from"), default=list)
    counts = models.JSONField(_("offers scored"), default=list)

    objects = RunInputQuerySet.as_manager()

    class Meta:
        verbose_name = _("input of a run")
        verbose_name_plural = _("inputs of runs")
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="run_input_once")]

    def __str__(self) -> str:
        return f"{self.run_id} · {self.name}"

    @property
    def verdict(self) -> "RunInput.Verdict":
        if self.index < self.SMALL:
            return self.Verdict.STEADY
        if self.index <= self.LARGE:
            return self.Verdict.SHIFTED
        return self.Verdict.MOVED if self.index > self.usual else self.Verdict.USUAL


class RunCorrectionQuerySet(models.QuerySet["RunCorrection"]):
    def standing(self) -> "RunCorrectionQuerySet":
        """Those that were not undone."""
        return self.filter(undone_at__isnull=True)


class RunCorrection(models.Model):
    """A change that staff made to the lists of a run, which can be undone.

    It reaches every list that holds its coupon, all of its shopper's list, or, with both, one coupon of one list. With
    a segment it reaches the lists of those who belonged to it when it was made: they are kept as
    :class:`RunCorrectionShopper`, and whatever becomes of the segment changes nothing. Where several reach the same
    recommendation, the latest decides.
    """

    class Kind(models.TextChoices):
        EXCLUDE = "exclude", _("take out")
        INCLUDE = "include", _("bring back")
        PIN = "pin", _("put first")

    run = models.ForeignKey(Run, verbose_name=_("run"), on_delete=models.CASCADE, related_name="corrections")
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    coupon = models.ForeignKey(
        Coupon, verbose_name=_("coupon"), null=True, blank=True, on_delete=models.PROTECT, related_name="corrections"
    )
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), null=True, blank=True, on_delete=models.CASCADE, related_name="corrections"
    )
    segment = models.ForeignKey(
        Segment, verbose_name=_("segment"), null=True, blank=True, on_delete=models.SET_NULL, related_name="corrections"
    )
    segment_name = models.CharField(
        _("segment as it was called"), max_length=100, blank=True, editable=False, help_text=_("Empty: not a segment.")
    )
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    job = models.ForeignKey(
        Job, verbose_name=_("job"), null=True, blank=True, on_delete=models.SET_NULL, related_name="corrections"
    )
    made_at = models.DateTimeField(_("made"), auto_now_add=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("made by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    undone_at = models.DateTimeField(_("undone"), null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("undone by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    objects = RunCorrectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("correction")
        verbose_name_plural = _("corrections")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(coupon__isnull=False) | Q(shopper__isnull=False) | ~Q(segment_name=""),
                name="run_correction_reaches_something",
            ),
            models.CheckConstraint(
                condition=Q(shopper__isnull=True) | Q(segment_name=""), name="run_correction_shopper_or_segment"
            ),
            models.CheckConstraint(
                condition=~Q(kind="pin") | Q(coupon__isnull=False), name="run_correction_pins_a_coupon"
            ),
            models.CheckConstraint(
                condition=Q(undone_at__isnull=True) | Q(undone_at__gte=F("made_at")),
                name="run_correction_undone_after_made",
            ),
        ]

    def __str__(self) -> str:
        segment = gettext("segment “%(segment)s”") % {"segment": self.segment_name} if self.segment_name else None
        reached, *more = (part for part in (self.coupon, self.shopper, segment) if part is not None)
        kind = sentence_of(self.Kind(self.kind).label)
        if more:
            return gettext("%(kind)s: %(coupon)s · %(of)s") % {"kind": kind, "coupon": reached, "of": more[0]}
        return gettext("%(kind)s: %(reached)s") % {"kind": kind, "reached": reached}


class RunCorrectionShopper(models.Model):
    """A shopper with a list of the run who belonged to a correction's segment when it was made."""

    correction = models.ForeignKey(
        RunCorrection,
        verbose_name=_("correction"),
        on_delete=models.CASCADE,
        related_name="correction_shoppers",
        db_index=False,  # the unique constraint serves
    )
    shopper = models.ForeignKey(Shopper, verbose_name=_("shopper"), on_delete=models.CASCADE, related_name="+")

    class Meta:
        verbose_name = _("shopper of a correction")
        verbose_name_plural = _("shoppers of corrections")
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["correction", "shopper"], name="run_correction_shopper_once")]

    def __str__(self) -> str:
        return str(self.shopper)


class RunComment(models.Model):
    """What a member of staff said about a run."""

    run = models.ForeignKey(Run, verbose_name=_("run"), on_delete=models.CASCADE, related_name="comments")
    text = models.TextField(_("text"), max_length=2000)
    written_at = models.DateTimeField(_("written"), auto_now_add=True)
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("written by"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        verbose_name = _("comment")
        verbose_name_plural = _("comments")
        ordering = ["pk"]
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="run_comment_says_something")]

    def __str__(self) -> str:
        return self.text[:80]
