"""Devices that shoppers own, and what fits them."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Product
from recommender.models.fields import ShopIdentifierField
from recommender.models.shoppers import Shopper


class Device(models.Model):
    """A device that a shopper owns, from ``acquired_at`` until ``retired_at``. Its model is a product of the shop."""

    device_id = ShopIdentifierField(_("device id"), unique=True)
    shopper = models.ForeignKey(Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="devices")
    product = models.ForeignKey(
        Product, verbose_name=_("device model"), on_delete=models.PROTECT, related_name="devices"
    )
    acquired_at = models.DateTimeField(_("acquired"))
    retired_at = models.DateTimeField(_("given up"), null=True, blank=True)

    class Meta:
        verbose_name = _("device")
        verbose_name_plural = _("devices")
        constraints = [
            models.CheckConstraint(
                condition=Q(retired_at__isnull=True) | Q(retired_at__gt=F("acquired_at")),
                name="device_retired_after_acquired",
            )
        ]

    def __str__(self) -> str:
        return self.device_id


class DevicePart(models.Model):
    """A product (an accessory, a consumable, a service) that fits a model of devices.

    A product with any such row is for devices, and is offered to those alone who own one that it fits. ``part`` names
    what it replaces: any product of the same part of the model does; empty, it replaces itself alone. ``life`` is how
    much use of the device wears it out, in the unit in which the shop tells of use.
    """

    product = models.ForeignKey(
        Product, verbose_name=_("product"), on_delete=models.CASCADE, related_name="fits_devices"
    )
    device_product = models.ForeignKey(
        Product, verbose_name=_("fits the model"), on_delete=models.CASCADE, related_name="parts"
    )
    part = models.CharField(_("part"), max_length=64, blank=True, help_text=_("What of the device it replaces."))
    life = models.FloatField(
        _("life"),
        null=True,
        blank=True,
        help_text=_("So much use of the device wears it out. Empty: it does not wear out."),
    )

    class Meta:
        verbose_name = _("part of a device")
        verbose_name_plural = _("parts of devices")
        constraints = [
            models.UniqueConstraint(fields=["product", "device_product"], name="device_part_once"),
            models.CheckConstraint(condition=Q(life__isnull=True) | Q(life__gt=0), name="device_part_life_above_0"),
        ]

    def __str__(self) -> str:
        return f"{self.product} · {self.device_product}"
