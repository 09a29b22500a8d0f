"""Offers and what they are for."""

from django.contrib import admin
from unfold.admin import TabularInline

from recommender.admin.base import TableAdmin
from recommender.admin.spreadsheets import SpreadsheetAdmin
from recommender.models import Coupon, CouponTarget
from recommender.services.spreadsheets.coupons import CouponResource


class CouponTargetInline(TabularInline):
    model = CouponTarget
    autocomplete_fields = ("product", "category")
    ordering = ("pk",)
    extra = 0
    per_page = 20  # a coupon may be for thousands of products


@admin.register(Coupon)
class CouponAdmin(SpreadsheetAdmin):
    resource_classes = (CouponResource,)
    list_display = ("coupon_id", "title", "discount_type", "discount_value", "starts_at", "ends_at", "active")
    list_filter = ("active", "discount_type", "stackable")
    search_fields = ("coupon_id__startswith", "offer_id__startswith", "code__exact", "title")
    inlines = (CouponTargetInline,)


@admin.register(CouponTarget)
class CouponTargetAdmin(TableAdmin):
    list_display = ("coupon", "product", "category", "brand")
    list_select_related = ("coupon", "product", "category")
    search_fields = ("coupon__coupon_id__startswith", "product__product_id__exact", "brand__startswith")
    autocomplete_fields = ("coupon", "product", "category")
