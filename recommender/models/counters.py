"""How often coupons are used and what that costs, held beside the limits they were last held to.

The rows are written by :mod:`recommender.services.counters` alone, by conditional updates. A ceiling is the limit that
the last use was held to; the constraints on it are the backstop, should a writer ever forget to ask.
"""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.campaigns import Campaign
from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField
from recommender.models.shoppers import Shopper

#: Of what many amounts come to; each of them may be as large as its field lets it.
SUM_DIGITS = 24


class CouponCounter(models.Model):
    """Uses of a coupon that count: those of orders, and those held for baskets and for members of groups.

    The row is the coupon's lock: whoever changes anything that counts for the coupon holds it.
    """

    coupon = models.OneToOneField(Coupon, verbose_name=_("coupon"), on_delete=models.CASCADE, related_name="counter")
    uses = models.PositiveBigIntegerField(_("uses"), default=0)
    ceiling = models.PositiveBigIntegerField(_("uses at most"), null=True)
    spent = MoneyField(_("spent"), max_digits=SUM_DIGITS, default=0)
    spent_ceiling = MoneyField(_("spent at most"), max_digits=SUM_DIGITS, null=True)

    class Meta:
        verbose_name = _("counter of a coupon")
        verbose_name_plural = _("counters of coupons")
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(ceiling__isnull=True) | Q(uses__lte=F("ceiling")), name="coupon_counter_keeps_limit"
            ),
            models.CheckConstraint(
                condition=Q(spent_ceiling__isnull=True) | Q(spent__lte=F("spent_ceiling")),
                name="coupon_counter_keeps_budget",
            ),
            models.CheckConstraint(condition=Q(spent__gte=0), name="coupon_counter_spent_not_negative"),
        ]

    def __str__(self) -> str:
        return str(self.coupon_id)


class ShopperCounter(models.Model):
    """Uses of a coupon by one shopper: ever, or in the day, week or month that began on a date of the shop's calendar.

    A row is made when a limit first asks for it.
    """

    class Period(models.TextChoices):
        EVER = "ever", _("ever")
        DAY = "day", _("day")
        WEEK = "week", _("week")
        MONTH = "month", _("month")

    coupon = models.ForeignKey(
        Coupon,
        verbose_name=_("coupon"),
        on_delete=models.CASCADE,
        related_name="shopper_counters",
        db_index=False,  # the unique constraint serves
    )
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.CASCADE, related_name="coupon_counters"
    )
    period = models.CharField(_("period"), max_length=8, choices=Period.choices)
    starts_on = models.DateField(_("first day"))
    uses = models.PositiveBigIntegerField(_("uses"), default=0)
    ceiling = models.PositiveBigIntegerField(_("uses at most"), null=True)

    class Meta:
        verbose_name = _("counter of a shopper")
        verbose_name_plural = _("counters of shoppers")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["coupon", "shopper", "period", "starts_on"], name="shopper_counter_once"),
            models.CheckConstraint(
                condition=Q(ceiling__isnull=True) | Q(uses__lte=F("ceiling")), name="shopper_counter_keeps_limit"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shopper_id} · {self.coupon_id} · {self.period}"


class CampaignCounter(models.Model):
    """What the discounts of a campaign come to."""

    campaign = models.OneToOneField(
        Campaign, verbose_name=_("campaign"), on_delete=models.CASCADE, related_name="counter"
    )
    spent = MoneyField(_("spent"), max_digits=SUM_DIGITS, default=0)
    spent_ceiling = MoneyField(_("spent at most"), max_digits=SUM_DIGITS, null=True)

    class Meta:
        verbose_name = _("counter of a campaign")
        verbose_name_plural = _("counters of campaigns")
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(spent_ceiling__isnull=True) | Q(spent__lte=F("spent_ceiling")),
                name="campaign_counter_keeps_budget",
            ),
            models.CheckConstraint(condition=Q(spent__gte=0), name="campaign_counter_spent_not_negative"),
        ]

    def __str__(self) -> str:
        return str(self.campaign_id)
