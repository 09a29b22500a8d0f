"""Offers and what they are for."""

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Expression, F, Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Category, Product
from recommender.models.code_entry import NormalisedCode
from recommender.models.fields import MoneyField, ShopIdentifierField
from recommender.models.segments import Segment

MOST_GROUP_HOURS = 24 * 366  # longer than any group waits, and short enough for the calendar


def coupon_is_open(moment: datetime | Expression, path: str = "") -> Q:
    """Active, and its own window, where it has one, holds ``moment``. ``path`` leads to the coupon: ``coupon__``."""
    began = Q((f"{path}starts_at__isnull", True)) | Q((f"{path}starts_at__lte", moment))
    lasts = Q((f"{path}ends_at__isnull", True)) | Q((f"{path}ends_at__gt", moment))
    return Q((f"{path}active", True)) & began & lasts


class CouponQuerySet(models.QuerySet["Coupon"]):
    def open_at(self, moment: datetime) -> "CouponQuerySet":
        """Active coupons whose own window, where they have one, holds ``moment``."""
        return self.filter(coupon_is_open(moment))


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
        _("discount value"),
        null=True,
        blank=True,
        help_text=_(
            "Percent, or an amount, by the discount type. For “buy some, get some” the percent off what is got: empty "
            "means free."
        ),
    )
    buy_quantity = models.PositiveIntegerField(
        _("to buy"), null=True, blank=True, help_text=_("How many must be bought at their price.")
    )
    get_quantity = models.PositiveIntegerField(
        _("to get"), null=True, blank=True, help_text=_("How many more are then discounted.")
    )
    min_spend = MoneyField(
        _("minimum spend"), null=True, blank=True, help_text=_("On what the coupon is for, before any coupon.")
    )
    max_discount = MoneyField(_("maximum discount"), null=True, blank=True)
    total_limit = models.PositiveIntegerField(_("total limit"), null=True, blank=True)
    per_shopper_limit = models.PositiveIntegerField(_("limit per shopper"), null=True, blank=True)
    per_day_limit = models.PositiveIntegerField(_("limit per shopper and day"), null=True, blank=True)
    per_week_limit = models.PositiveIntegerField(_("limit per shopper and week"), null=True, blank=True)
    per_month_limit = models.PositiveIntegerField(_("limit per shopper and month"), null=True, blank=True)
    first_order_only = models.BooleanField(
        _("first order only"),
        default=False,
        db_default=False,  # coupons come in from the shop's export without it
        help_text=_("For shoppers who never ordered before."),
    )
    segment = models.ForeignKey(
        Segment,
        verbose_name=_("segment"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,  # without its segment it would be for everyone
        related_name="coupons",
        help_text=_("For its shoppers only. Empty: for everyone."),
    )
    starts_at = models.DateTimeField(_("starts"), null=True, blank=True)
    ends_at = models.DateTimeField(
        _("ends"), null=True, blank=True, help_text=_("The first moment it no longer holds.")
    )
    stackable = models.BooleanField(
        _("stackable"), default=False, help_text=_("May be used beside other stackable coupons.")
    )
    exclusion_group = models.CharField(
        _("only one of"),
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text=_("Of the stackable coupons that have the same word here only one is used. Empty: no such rule."),
    )
    group_size = models.PositiveIntegerField(
        _("shoppers to a group"),
        null=True,
        blank=True,
        help_text=_("It holds once so many shoppers have joined. Empty: for each shopper alone."),
    )
    group_hours = models.PositiveIntegerField(
        _("hours to fill a group"), null=True, blank=True, help_text=_("Counted from the shopper who begins the group.")
    )
    budget = MoneyField(_("budget"), null=True, blank=True)
    funded_by = ShopIdentifierField(
        _("funded by"), blank=True, help_text=_("The seller who pays for it; empty means the shop.")
    )
    funded_percent = models.PositiveSmallIntegerField(
        _("percent that the seller pays"),
        null=True,
        blank=True,
        help_text=_("Of what it takes off; the shop pays the rest. Empty: the seller pays all of it."),
    )
    active = models.BooleanField(_("active"), default=True)

    objects = CouponQuerySet.as_manager()

    class Meta:
        verbose_name = _("coupon")
        verbose_name_plural = _("coupons")
        indexes = [models.Index(NormalisedCode("code"), name="coupon_code_normalised")]
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
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gte": 0}),
                    name=f"coupon_{name}_not_negative",
                )
                for name in ("min_spend", "max_discount", "budget")
            ),
            models.CheckConstraint(
                condition=Q(funded_percent__isnull=True) | Q(funded_percent__gte=1, funded_percent__lte=100),
                name="coupon_funded_percent_is_a_share",
            ),
            models.CheckConstraint(
                condition=Q(buy_quantity__isnull=True, get_quantity__isnull=True)
                | Q(buy_quantity__isnull=False, get_quantity__isnull=False, buy_quantity__gte=1, get_quantity__gte=1),
                name="coupon_buys_and_gets",
            ),
            models.CheckConstraint(
                condition=Q(group_size__isnull=True, group_hours__isnull=True)
                | Q(
                    group_size__isnull=False,
                    group_hours__isnull=False,
                    group_size__gte=2,
                    group_hours__gte=1,
                    group_hours__lte=MOST_GROUP_HOURS,
                ),
                name="coupon_group_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.coupon_id

    @property
    def percent_of_seller(self) -> int:
        """How much of what it takes off a seller pays, 0 to 100."""
        if not self.funded_by:
            return 0
        return 100 if self.funded_percent is None else self.funded_percent

    def clean(self) -> None:
        wrong: dict[str, Promise] = {}
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            wrong["ends_at"] = _("The coupon must end after it starts.")
        for name in ("min_spend", "max_discount", "budget"):
            if (amount := getattr(self, name)) is not None and amount < 0:
                wrong[name] = _("An amount is not below 0.")
        if self.funded_percent is not None and not 1 <= self.funded_percent <= 100:
            wrong["funded_percent"] = _("A seller pays from 1 to 100 percent.")
        elif self.funded_percent is not None and not self.funded_by:
            wrong["funded_percent"] = _("Say which seller pays it.")
        wrong |= self._wrong_in_discount() | self._wrong_in_quantities() | self._wrong_in_group()
        if wrong:
            raise ValidationError(wrong)

    def _wrong_in_discount(self) -> dict[str, Promise]:
        wrong: dict[str, Promise] = {}
        by_percent = self.discount_type in (self.DiscountType.PERCENT, self.DiscountType.BUY_X_GET_Y)
        if self.discount_value is not None and self.discount_value < 0:
            wrong["discount_value"] = _("A discount is not below 0.")
        elif by_percent and self.discount_value is not None and self.discount_value > 100:
            wrong["discount_value"] = _("More than 100 percent cannot be taken off.")
        if self.max_discount is not None and self.discount_type == self.DiscountType.AMOUNT:
            wrong["max_discount"] = _("“amount off” takes off what it says and has no maximum. Leave it empty.")
        return wrong

    def _wrong_in_quantities(self) -> dict[str, Promise]:
        """Both may be missing: history holds coupons of which the shop did not tell them."""
        given = {name: getattr(self, name) for name in ("buy_quantity", "get_quantity")}
        if self.discount_type != self.DiscountType.BUY_X_GET_Y:
            text = _("Only “buy some, get some” uses this. Leave it empty.")
            return {name: text for name, quantity in given.items() if quantity is not None}
        if all(quantity is None for quantity in given.values()):
            return {}
        text = _("Say how many to buy and how many to get, each from 1 up.")
        return {name: text for name, quantity in given.items() if not quantity}

    def _wrong_in_group(self) -> dict[str, Promise]:
        if self.group_size is None and self.group_hours is None:
            return {}
        wrong: dict[str, Promise] = {}
        if self.group_size is None or self.group_size < 2:
            wrong["group_size"] = _("A group has at least 2 shoppers.")
        if not self.group_hours or self.group_hours > MOST_GROUP_HOURS:
            wrong["group_hours"] = _("A group has from 1 hour to a year to fill.")
        return wrong


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
