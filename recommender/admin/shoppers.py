"""The people who buy."""

from django.contrib import admin

from recommender.admin.base import TableAdmin
from recommender.models import Shopper


@admin.register(Shopper)
class ShopperAdmin(TableAdmin):
    list_display = ("shopper_id", "joined_at", "opted_out")
    list_filter = ("opted_out", "joined_at")
    search_fields = ("shopper_id__startswith",)
    fields = ("shopper_id", "joined_at", "opted_out", "attributes")
