"""Sets of offers with a window, and who was sent them."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField, ShopIdentifierField
from recommender.models.shoppers import Shopper


class CampaignQuerySet(models.QuerySet["Campaign"]):
    def live_at(self, moment: datetime) -> "CampaignQuerySet":
        """Campaigns whose window holds ``moment``."""
        return self.filter(starts_at__lte=moment, ends_at__gt=moment)


class Campaign(models.Model):
    campaign_id = ShopIdentifierField(_("campaign id"), unique=True)
    name = models.CharField(_("name"), max_length=300, blank=True)
    kind = models.CharField(_("kind"), max_length=64, blank=True)
    starts_at = models.DateTimeField(_("starts"), db_index=True)
    ends_at = models.DateTimeField(_("ends"), help_text=_("The first moment it no longer runs."))
    budget = MoneyField(_("budget"), null=True, blank=True)
    coupons: models.ManyToManyField = models.ManyToManyField(
        Coupon, verbose_name=_("coupons"), through="CampaignCoupon", related_name="campaigns"
    )

    objects = CampaignQuerySet.as_manager()

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="campaign_ends_after_start"),
            models.CheckConstraint(
                condition=Q(budget__isnull=True) | Q(budget__gte=0), name="campaign_budget_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.campaign_id


class CampaignCoupon(models.Model):
    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        on_delete=models.CASCADE,
        related_name="campaign_coupons",
        db_index=False,  # the unique constraint serves
    )
    coupon = models.ForeignKey(
        Coupon, verbose_name=_("coupon"), on_delete=models.CASCADE, related_name="campaign_coupons"
    )

    class Meta:
        verbose_name = _("coupon of a campaign")
        verbose_name_plural = _("coupons of campaigns")
        constraints = [models.UniqueConstraint(fields=["campaign", "coupon"], name="campaign_coupon_once")]

    def __str__(self) -> str:
        return str(self.coupon)


class CampaignShopper(models.Model):
    """A shopper whom a campaign was sent to, or who was held out of it so that its effect can be seen."""

    class Group(models.TextChoices):
        TREATMENT = "treatment", _("sent")
        CONTROL = "control", _("held out")

    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        on_delete=models.CASCADE,
        related_name="campaign_shoppers",
        db_index=False,  # the unique constraint serves
    )
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.CASCADE, related_name="campaign_shoppers"
    )
    group = models.CharField(_("group"), max_length=16, choices=Group.choices, default=Group.TREATMENT)

    class Meta:
        verbose_name = _("shopper of a campaign")
        verbose_name_plural = _("shoppers of campaigns")
        constraints = [models.UniqueConstraint(fields=["campaign", "shopper"], name="campaign_shopper_once")]

    def __str__(self) -> str:
        return str(self.shopper)
