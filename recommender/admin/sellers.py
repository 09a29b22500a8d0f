"""Who sells on a platform."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import TableAdmin
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import Seller


@admin.register(Seller)
class SellerAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("seller_id", "name")
    search_fields = ("seller_id",)
    search_help_text = _("A whole seller id.")
    ordering = ("-pk",)
    sortable_by = ()  # what an index serves
