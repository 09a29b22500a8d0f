"""The people who buy."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import TableAdmin
from recommender.admin.long_lists import PrefixSearchMixin
from recommender.models import Shopper


@admin.register(Shopper)
class ShopperAdmin(PrefixSearchMixin, TableAdmin):
    list_display = ("shopper_id", "joined_at", "opted_out")
    list_filter = ("opted_out", "joined_at")
    list_disable_select_all = True  # there may be millions
    search_fields = ("shopper_id__startswith",)
    search_help_text = _("The beginning of a shopper id.")
    ordering = ("-pk",)
    sortable_by = ("shopper_id", "joined_at")  # what an index serves
    fields = ("shopper_id", "joined_at", "opted_out", "attributes")
