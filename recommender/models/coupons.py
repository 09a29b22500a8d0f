"""Offers and what they are for."""

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Category, Product
from recommender.models.fields import MoneyField, ShopIdentifierField


class CouponQuerySet(models.QuerySet["Coupon"]):
    def open_at(self, moment: datetime) -> "CouponQuerySet":
        """Active coupons whose own window, where they have one, holds ``moment``."""
        return self.filter(
            Q(starts_at__isnull=True) | Q(starts_at__lte=moment),
            Q(ends_at__isnull=True) | Q(ends_at__gt=moment),
            active=True,
        )


class Coupon(models.Model):
    """An offer. The same offer in other campaigns shares its ``offer_id``."""

    class DiscountType(models.TextChoices):
        PERCENT = "percent", _("percent off")
        AMOUNT = "amount", _("amount off")
        FREE_SHIPPING = "free_shipping", _("free shipping")
        BUY_X_GET_Y = "buy_x_get_y", _("buy some, get some")

    coupon_id = ShopIdentifierField(_("coupon id"), unique=True)
    offer_id = ShopIdentifierField(_("offer id"), blank=True, db_index=True)
    title = models.CharField(_("title"), max_length=300, blank=True)
    code = models.CharField(_("code"), max_length=64, blank=True)
    discount_type = models.CharField(_("discount type"), max_length=16, choices=DiscountType.choices, blank=True)
    discount_value = MoneyField(
        _("discount value"), null=True, blank=True, help_text=_("Percent, or an amount, by the discount type.")
    )
    min_spend = MoneyField(_("minimum spend"), null=True, blank=True)
    max_discount = MoneyField(_("maximum discount"), null=True, blank=True)
    total_limit = models.PositiveIntegerField(_("total limit"), null=True, blank=True)
    per_shopper_limit = models.PositiveIntegerField(_("limit per shopper"), null=True, blank=True)
    starts_at = models.DateTimeField(_("starts"), null=True, blank=True)
    ends_at = models.DateTimeField(
        _("ends"), null=True, blank=True, help_text=_("The first moment it no longer holds.")
    )
    stackable = models.BooleanField(_("stackable"), default=False)
    budget = MoneyField(_("budget"), null=True, blank=True)
    funded_by = ShopIdentifierField(
        _("funded by"), blank=True, help_text=_("The seller who pays for it; empty means the shop.")
    )
    active = models.BooleanField(_("active"), default=True)

    objects = CouponQuerySet.as_manager()

    class Meta:
        verbose_name = _("coupon")
        verbose_name_plural = _("coupons")
        constraints = [
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True) | Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="coupon_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(discount_value__isnull=True) | Q(discount_value__gte=0),
                name="coupon_discount_value_not_negative",
            ),
            models.CheckConstraint(
                condition=~Q(discount_type="percent") | Q(discount_value__isnull=True) | Q(discount_value__lte=100),
                name="coupon_percent_at_most_100",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.coupon_id

    def clean(self) -> None:
        wrong = {}
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            wrong["ends_at"] = _("The coupon must end after it starts.")
        percent = self.discount_type == self.DiscountType.PERCENT
        if self.discount_value is not None and self.discount_value < 0:
            wrong["discount_value"] = _("A discount is not below 0.")
        elif percent and self.discount_value is not None and self.discount_value > 100:
            wrong["discount_value"] = _("More than 100 percent cannot be taken off.")
        if self.max_discount is not None and self.discount_type and not percent:
            wrong["max_discount"] = _(
                "Only “percent off” has a maximum: the others take off what they say. Leave it empty."
            )
        if wrong:
            raise ValidationError(wrong)


class CouponTarget(models.Model):
    """One thing that a coupon is for. A coupon without targets is for the whole shop."""

    coupon = models.ForeignKey(Coupon, verbose_name=_("coupon"), on_delete=models.CASCADE, related_name="targets")
    product = models.ForeignKey(
        Product, verbose_name=_("product"), null=True, blank=True, on_delete=models.CASCADE, related_name="targeted_by"
    )
    category = models.ForeignKey(
        Category,
        verbose_name=_("category"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="targeted_by",
    )
    brand = models.CharField(_("brand"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("coupon target")
        verbose_name_plural = _("coupon targets")
        constraints = [
            models.CheckConstraint(
                condition=Q(product__isnull=False, category__isnull=True, brand="")
                | Q(product__isnull=True, category__isnull=False, brand="")
                | (Q(product__isnull=True, category__isnull=True) & ~Q(brand="")),
                name="coupon_target_is_one_thing",
            ),
            models.UniqueConstraint(
                fields=["coupon", "product"], condition=Q(product__isnull=False), name="coupon_target_product"
            ),
            models.UniqueConstraint(
                fields=["coupon", "category"], condition=Q(category__isnull=False), name="coupon_target_category"
            ),
            models.UniqueConstraint(fields=["coupon", "brand"], condition=~Q(brand=""), name="coupon_target_brand"),
        ]

    def __str__(self) -> str:
        return str(self.product or self.category or self.brand)

    def clean(self) -> None:
        if sum((self.product_id is not None, self.category_id is not None, bool(self.brand))) != 1:
            raise ValidationError({"product": _("Choose one of product, category and brand, and one only.")})
