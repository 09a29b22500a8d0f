"""What a shop has in stock, and how long it is good."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import TableAdmin
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import Batch


@admin.register(Batch)
class BatchAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("batch_id", "product", "received_at", "best_before", "sold_out_at")
    list_select_related = ("product",)
    search_fields = ("batch_id", "product__product_id")
    search_help_text = _("A whole batch id or product id.")
    autocomplete_fields = ("product",)
    ordering = ("-pk",)
    sortable_by = ()  # what an index serves
