"""Projects of several stages, and what each stage needs."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from recommender.admin.base import TableAdmin
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import ProjectStage


@admin.register(ProjectStage)
class ProjectStageAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("project", "position", "stage", "product", "category")
    list_select_related = ("product", "category")
    search_fields = ("project", "product__product_id", "category__path")
    search_help_text = _("A whole project, product id or category path.")
    autocomplete_fields = ("product", "category")
    ordering = ("project", "position", "pk")  # as they follow each other: a shop has few
    sortable_by = ()  # what an index serves
