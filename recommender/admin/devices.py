"""Devices that shoppers own, and what fits them."""

from decimal import Decimal

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from recommender.admin.base import ReadOnlyMixin, TableAdmin
from recommender.admin.figures import exact_of
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import Device, DevicePart


@admin.register(Device)
class DeviceAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("device_id", "shopper", "product", "acquired_at", "retired_at")
    list_select_related = ("shopper", "product")
    search_fields = ("device_id", "shopper__shopper_id", "product__product_id")
    search_help_text = _("A whole device id, shopper id or product id.")
    ordering = ("-pk",)
    sortable_by = ()  # what an index serves


@admin.register(DevicePart)
class DevicePartAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("product", "device_product", "part", "shown_life")
    list_select_related = ("product", "device_product")
    search_fields = ("product__product_id", "device_product__product_id")
    search_help_text = _("A whole product id.")
    autocomplete_fields = ("product", "device_product")
    ordering = ("-pk",)
    sortable_by = ()  # what an index serves

    @display(description=_("life"), empty_value="-")
    def shown_life(self, part: DevicePart) -> str | None:
        """As the shop told it: a list would show a decimal of every whole number."""
        return None if part.life is None else exact_of(Decimal(str(part.life)))
