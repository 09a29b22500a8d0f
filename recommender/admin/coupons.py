"""Offers and what they are for."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import LabelledInline, TableAdmin
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.admin.remarks import RemarksMixin
from recommender.admin.spreadsheets import SpreadsheetAdmin
from recommender.models import Coupon, CouponTarget
from recommender.services.spreadsheets.coupons import CouponResource


class CouponTargetInline(LabelledInline):
    model = CouponTarget
    autocomplete_fields = ("product", "category")
    ordering = ("pk",)
    extra = 0
    per_page = 20  # a coupon may be for thousands of products


@admin.register(Coupon)
class CouponAdmin(RemarksMixin, SpreadsheetAdmin):
    resource_classes = (CouponResource,)
    list_display = ("coupon_id", "title", "discount_type", "discount_value", "starts_at", "ends_at", "active")
    list_filter = ("active", "discount_type", "stackable")
    search_fields = ("coupon_id__startswith", "offer_id__startswith", "code__exact", "title")
    fieldsets = (
        (
            _("The offer"),
            {"fields": ("title", ("coupon_id", "offer_id"), "code", "active")},
        ),
        (
            _("What it takes off"),
            {
                "fields": (("discount_type", "discount_value"), ("max_discount", "min_spend")),
                "description": _("What it is for stands below. A coupon for nothing in particular is for everything."),
            },
        ),
        (
            _("When"),
            {
                "fields": ("starts_at", "ends_at"),
                "description": _("Empty: whenever a campaign with it runs. It never holds outside its campaigns."),
            },
        ),
        (
            _("How often, and who pays"),
            {"fields": (("per_shopper_limit", "total_limit"), ("budget", "funded_by"))},
        ),
        (
            _("With other coupons"),
            {"fields": ("stackable",)},
        ),
    )
    inlines = (CouponTargetInline,)
    change_form_outer_before_template = "admin/recommender/remarks.html"

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        from recommender.services.campaigns import propose_coupon

        return propose_coupon(now=timezone.now()) | super().get_changeform_initial_data(request)

    def find_remarks(self, obj: Coupon) -> list[str]:
        from recommender.services.remarks import remark_on_coupon

        return remark_on_coupon(coupon=obj, now=timezone.now())


@admin.register(CouponTarget)
class CouponTargetAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("coupon", "product", "category", "brand")
    list_select_related = ("coupon", "product", "category")
    search_fields = ("coupon__coupon_id", "product__product_id", "brand")
    search_help_text = _("A whole coupon id, product id or brand.")
    autocomplete_fields = ("coupon", "product", "category")
