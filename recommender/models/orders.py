"""What was bought."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Product
from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField, ShopIdentifierField
from recommender.models.shoppers import Shopper


class Order(models.Model):
    """A basket paid for."""

    order_id = ShopIdentifierField(_("order id"), unique=True)
    shopper = models.ForeignKey(Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="orders")
    ordered_at = models.DateTimeField(_("ordered"), db_index=True)
    channel = models.CharField(_("channel"), max_length=64, blank=True)
    store_id = ShopIdentifierField(_("store id"), blank=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")

    def __str__(self) -> str:
        return self.order_id


class OrderLine(models.Model):
    """A product in a basket. ``position`` is its place in the shop's export, from 0."""

    order = models.ForeignKey(
        Order,
        verbose_name=_("order"),
        on_delete=models.CASCADE,
        related_name="lines",
        db_index=False,  # the unique constraint on order and position serves
    )
    position = models.PositiveIntegerField(_("position"))
    product = models.ForeignKey(Product, verbose_name=_("product"), on_delete=models.PROTECT, related_name="lines")
    quantity = models.DecimalField(_("quantity"), max_digits=12, decimal_places=3)
    amount = MoneyField(_("amount"), help_text=_("Paid for the line, after discounts."))
    discount = MoneyField(_("discount"), default=0, help_text=_("Taken off the line, coupons apart."))
    coupon_discount = MoneyField(_("coupon discount"), default=0)
    coupon = models.ForeignKey(
        Coupon, verbose_name=_("coupon"), null=True, blank=True, on_delete=models.PROTECT, related_name="lines"
    )

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="order_line_position"),
            models.CheckConstraint(condition=Q(quantity__gte=0), name="order_line_quantity_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id}:{self.position}"
