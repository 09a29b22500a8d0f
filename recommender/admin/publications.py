"""What was shown to shoppers, and since when."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from recommender.admin.base import ReadOnlyMixin, TableAdmin
from recommender.models import Publication


class LiveFilter(admin.SimpleListFilter):
    title = _("on show")
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, object]]:  # type: ignore[override]
        return [("1", _("Live now")), ("0", _("Ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet | None:
        if self.value() is None:
            return None
        return queryset.filter(ended_at__isnull=self.value() == "1")


@admin.register(Publication)
class PublicationAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("campaign", "run", "is_live", "published_at", "ended_at", "published_by", "replaces", "arm")
    list_select_related = ("campaign", "run__campaign", "published_by", "replaces__campaign", "arm")
    list_filter = (LiveFilter, "published_at")
    search_fields = ("campaign__campaign_id__exact", "campaign__name", "run__id__exact")

    @display(description=_("live"), boolean=True)
    def is_live(self, publication: Publication) -> bool:
        return publication.ended_at is None
