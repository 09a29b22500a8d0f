"""What was bought."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import LookedAtInline, ReadOnlyMixin, TableAdmin
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import Order, OrderLine


class OrderLineInline(LookedAtInline):
    model = OrderLine
    fields = ("position", "product", "quantity", "amount", "discount", "coupon_discount", "coupon")
    shown_by = ("product", "coupon")
    ordering = ("position",)
    per_page = 50


@admin.register(Order)
class OrderAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("order_id", "shopper", "ordered_at", "channel", "store_id")
    list_select_related = ("shopper",)
    list_filter = ("ordered_at",)
    search_fields = ("order_id", "shopper__shopper_id")
    search_help_text = _("A whole order id or shopper id.")
    ordering = ("-ordered_at", "-pk")
    sortable_by = ("order_id", "ordered_at")  # what an index serves
    inlines = (OrderLineInline,)


@admin.register(OrderLine)
class OrderLineAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("order", "position", "product", "quantity", "amount", "discount", "coupon_discount", "coupon")
    list_select_related = ("order", "product", "coupon")
    search_fields = ("order__order_id", "product__product_id", "coupon__coupon_id")
    search_help_text = _("A whole order id, product id or coupon id.")
    ordering = ("-pk",)
    sortable_by = ()  # no index serves
