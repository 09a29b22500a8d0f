"""What shoppers did with what they were offered."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import ReadOnlyMixin, TableAdmin
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import Event, Redemption


@admin.register(Redemption)
class RedemptionAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("shopper", "coupon", "campaign", "redeemed_at", "order", "discount_amount", "seller_amount")
    list_select_related = ("shopper", "coupon", "campaign", "order")
    list_filter = ("redeemed_at",)
    search_fields = ("shopper__shopper_id", "coupon__coupon_id", "campaign__campaign_id", "order__order_id")
    search_help_text = _("A whole shopper id, coupon id, campaign id or order id.")
    ordering = ("-redeemed_at", "-pk")
    sortable_by = ("redeemed_at",)  # what an index serves


@admin.register(Event)
class EventAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("shopper", "kind", "occurred_at", "coupon", "product", "campaign", "value")
    list_select_related = ("shopper", "coupon", "product", "campaign")
    list_filter = ("kind", "occurred_at")
    search_fields = ("event_key", "shopper__shopper_id", "coupon__coupon_id", "product__product_id")
    search_help_text = _("A whole event key, shopper id, coupon id or product id.")
    ordering = ("-occurred_at", "-pk")
    sortable_by = ("occurred_at",)  # what an index serves
