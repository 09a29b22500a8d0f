"""What shoppers did with what they were offered."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from recommender.models.campaigns import Campaign
from recommender.models.catalogue import Product
from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField, ShopIdentifierField
from recommender.models.orders import Order
from recommender.models.shoppers import Shopper


class Redemption(models.Model):
    """A use of an offer. It is the same use when shopper, coupon, campaign, time and order are the same."""

    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="redemptions"
    )
    coupon = models.ForeignKey(
        Coupon,
        verbose_name=_("coupon"),
        on_delete=models.PROTECT,
        related_name="redemptions",
        db_index=False,  # the index on coupon and time serves
    )
    redeemed_at = models.DateTimeField(_("redeemed"), db_index=True)
    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="redemptions",
        db_index=False,  # the index on campaign and time serves
    )
    order = models.ForeignKey(
        Order, verbose_name=_("order"), null=True, blank=True, on_delete=models.PROTECT, related_name="redemptions"
    )
    discount_amount = MoneyField(_("discount amount"), null=True, blank=True)
    # Who pays, by the coupon's terms when it was used.
    funded_by = ShopIdentifierField(
        _("funded by"), blank=True, default="", db_default="", help_text=_("The seller; empty means the shop alone.")
    )
    funded_percent = models.PositiveSmallIntegerField(_("percent that the seller pays"), default=0, db_default=0)
    seller_amount = MoneyField(
        _("paid by the seller"),
        default=0,
        db_default=0,
        help_text=_("Of the discount; the shop pays the rest."),
    )

    class Meta:
        verbose_name = _("redemption")
        verbose_name_plural = _("redemptions")
        indexes = [
            models.Index(fields=["coupon", "redeemed_at"], name="redemption_coupon_time"),
            models.Index(fields=["campaign", "redeemed_at"], name="redemption_campaign_time"),
        ]
        constraints = [
            # Expressions, because SQLite takes two NULLs for two different values.
            models.UniqueConstraint(
                F("shopper"),
                F("coupon"),
                F("redeemed_at"),
                Coalesce("campaign", Value(0)),
                Coalesce("order", Value(0)),
                name="redemption_once",
            ),
            models.CheckConstraint(
                condition=Q(discount_amount__isnull=True) | Q(discount_amount__gte=0),
                name="redemption_discount_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(seller_amount__gte=0, seller_amount__lte=Coalesce("discount_amount", Decimal(0))),
                name="redemption_seller_pays_of_the_discount",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.shopper} · {self.coupon}"


class Event(models.Model):
    """Something a shopper did. ``event_key`` is the shop's event id, or a digest of the row where it gave none."""

    class Kind(models.TextChoices):
        VIEW = "view", _("saw a product")
        IMPRESSION = "impression", _("saw a coupon")
        CLICK = "click", _("clicked a coupon")
        CLAIM = "claim", _("claimed a coupon")
        DISMISS = "dismiss", _("dismissed a coupon")
        USAGE = "usage", _("used a product")

    event_key = models.CharField(_("event key"), max_length=80, unique=True)
    shopper = models.ForeignKey(Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    occurred_at = models.DateTimeField(_("occurred"), db_index=True)
    coupon = models.ForeignKey(
        Coupon,
        verbose_name=_("coupon"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="events",
        db_index=False,  # the index on coupon and time serves
    )
    product = models.ForeignKey(
        Product,
        verbose_name=_("product"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="events",
        db_index=False,  # the index on product and time serves
    )
    campaign = models.ForeignKey(
        Campaign, verbose_name=_("campaign"), null=True, blank=True, on_delete=models.PROTECT, related_name="events"
    )
    value = models.FloatField(_("value"), null=True, blank=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [
            models.Index(fields=["coupon", "occurred_at"], name="event_coupon_time"),
            models.Index(fields=["product", "occurred_at"], name="event_product_time"),
            models.Index(fields=["kind", "occurred_at"], name="event_kind_time"),
            # Whenever a shopper is served, it is asked what they dismissed; all that they saw need not be read for it.
            models.Index(fields=["shopper"], condition=Q(kind="dismiss"), name="event_dismissed"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["view", "impression", "click", "claim", "dismiss", "usage"]),
                name="event_kind_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.shopper} · {self.get_kind_display()}"
