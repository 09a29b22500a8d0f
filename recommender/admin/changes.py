"""All that staff changed, whatever it was: the one place where what was deleted can still be read of."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from recommender.admin.base import ReadOnlyMixin, TableAdmin
from recommender.admin.history import describe_entry

FLAG_LABELS = {"1": "success", "2": "info", "3": "danger"}


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyMixin, TableAdmin):
    """A reader finds what concerns the tables that they may see, and no more."""

    list_display = ("action_time", "who", "flag", "kind", "row", "what")
    list_display_links = ("action_time",)
    list_select_related = ("user", "content_type")
    list_filter = ("action_flag", "action_time")
    search_fields = ("object_repr__startswith", "object_id__exact", "user__username__exact")
    search_help_text = gettext_lazy("The beginning of a name, a whole key, or a whole user name.")
    ordering = ("-pk",)
    fields = ("action_time", "who", "action_flag", "kind", "row", "what")
    readonly_fields = ("who", "kind", "row", "what")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        seen = [
            model
            for model, model_admin in self.admin_site._registry.items()
            if model_admin.has_view_permission(request)
        ]
        kinds = ContentType.objects.get_for_models(*seen, for_concrete_models=False).values()
        return super().get_queryset(request).filter(content_type__in=[kind.pk for kind in kinds])

    @display(description=gettext_lazy("who"), ordering="user")
    def who(self, entry: LogEntry) -> str:
        return entry.user.get_full_name() or entry.user.get_username()

    @display(description=gettext_lazy("change"), ordering="action_flag", label=FLAG_LABELS)
    def flag(self, entry: LogEntry) -> tuple[str, str]:
        return str(entry.action_flag), entry.get_action_flag_display()

    @display(description=gettext_lazy("kind"))
    def kind(self, entry: LogEntry) -> str:
        return entry.content_type.name if entry.content_type else ""

    @display(description=gettext_lazy("of"), ordering="object_repr")
    def row(self, entry: LogEntry) -> str | SafeString:
        address = None if entry.is_deletion() else entry.get_admin_url()
        if address is None:
            return entry.object_repr
        return format_html('<a class="text-link" href="{}">{}</a>', address, entry.object_repr)

    @display(description=gettext_lazy("what"))
    def what(self, entry: LogEntry) -> SafeString:
        steps = render_to_string("admin/recommender/history_steps.html", {"steps": describe_entry(entry)})
        return format_html('<div class="desk-steps">{}</div>', steps)
