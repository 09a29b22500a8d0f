"""What the admin classes of all areas share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.checks import ModelAdminChecks
from django.core.exceptions import PermissionDenied
from django.db.models import DecimalField, Field, IntegerField, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.dataclasses import UnfoldAction
from unfold.decorators import display

from recommender.admin.figures import amount_of, count_of, exact_of
from recommender.admin.history import HistoryMixin
from recommender.admin.long_lists import MOST_COUNTED, BoundedChangeList, BoundedPaginator, is_long
from recommender.models.fields import MoneyField


class PlainlyShownMixin:
    """Shows what is only looked at as lists show it: numbers without empty decimals, and labels as labels."""

    opts: Any

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[tuple[Any, dict[str, Any]]]:
        fieldsets = super().get_fieldsets(request, obj)  # type: ignore[misc]
        if self.has_change_permission(request, obj) if obj else self.has_add_permission(request):  # type: ignore[attr-defined]
            return fieldsets
        return [(title, {**shown, "fields": self._show_plainly(shown["fields"])}) for title, shown in fieldsets]

    def _show_plainly(self, names: Sequence[Any]) -> list[Any]:
        fields = {field.name: field for field in self.opts.get_fields()}
        shown: list[Any] = []
        for name in names:
            if isinstance(name, list | tuple):  # a row of several
                shown.append(self._show_plainly(name))
            elif isinstance(field := fields.get(name), DecimalField | IntegerField) and not field.choices:
                shown.append(_show_number(field))
            elif isinstance(name, str) and hasattr(getattr(self, name, None), "label"):
                shown.append(_show_label(getattr(self, name)))
            else:
                shown.append(name)
        return shown


class TableAdmin(PlainlyShownMixin, HistoryMixin, ModelAdmin):
    """An admin class for a table that may be large."""

    checks_class = ModelAdminChecks  # unfold's own look for permissions in a database that may not be migrated yet
    show_full_result_count = False  # counts the table a second time
    paginator = BoundedPaginator
    list_per_page = 50
    warn_unsaved_form = True

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        """Django's lists fall back upon this order; its autocompletion has none, and would page at random."""
        return super().get_ordering(request) or self.opts.ordering or ("-pk",)

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """Django would show every decimal that a number is kept with."""
        numbers = {field.name: field for field in self.opts.get_fields() if isinstance(field, DecimalField)}
        return [_show_number(numbers[name]) if name in numbers else name for name in super().get_list_display(request)]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return BoundedChangeList

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Refuse to act on “all” where the list did not say how many that are."""
        across = request.POST.get("select_across") == "1"
        if across and is_long(queryset):
            text = _("Nothing was done: the list holds more than %(count)s rows. Narrow it down first.")
            messages.error(request, text % {"count": count_of(MOST_COUNTED)})
            return None
        return super().response_action(request, queryset)

    def get_viewable(self, request: HttpRequest, object_id: str) -> Any:
        """The object that a page is about.

        Raises:
            Http404: there is none.
            PermissionDenied: the member of staff may not see it.
        """
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404(_("There is no %(name)s %(key)s.") % {"name": self.opts.verbose_name, "key": object_id})
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        return obj

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        obj = self.get_object(request, object_id) if self.actions_detail else None
        if obj is None:
            return []
        possible = {
            f"{self.opts.app_label}_{self.opts.model_name}_{name}"
            for name in self.list_possible_actions(obj)
            if self.refuse_action(request, obj, name) is None
        }
        return [action for action in super().get_actions_detail(request, object_id) if action.action_name in possible]

    def list_possible_actions(self, obj: Any) -> Iterable[str]:
        """Those of ``actions_detail`` that make sense in the state that ``obj`` is in."""
        return self.actions_detail

    def refuse_action(self, request: HttpRequest, obj: Any, name: str) -> str | None:
        """Why this member of staff cannot do with ``obj`` what others with the permission can; None if they can."""
        return None


class ReadOnlyMixin:
    """Rows that the machine writes: staff look at them and change them by actions alone."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class LookedAtInline(PlainlyShownMixin, ReadOnlyMixin, TabularInline):
    """Rows in a table, read with what they are shown by."""

    fields: tuple[str, ...]
    shown_by: tuple[str, ...]
    extra = 0
    can_delete = False
    hide_title = True

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return self._show_plainly(self.fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related(*self.shown_by)


class LabelledInline(TabularInline):
    """Rows in a table: each field is read out by its name, which stands only once above the column."""

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related(*self.autocomplete_fields)

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            widget = getattr(field.widget, "widget", field.widget)  # without the buttons around a choice of rows
            widget.attrs.setdefault("aria-label", capfirst(db_field.verbose_name))
        return field


@cache  # what a column is must not change between asking for the columns and for those that can be sorted
def _show_number(field: Field) -> Callable[[Model], str]:
    """A column of a list, or a field that is looked at."""
    in_words: Callable[[Any], str] = count_of
    if isinstance(field, DecimalField):
        in_words = amount_of if isinstance(field, MoneyField) else exact_of

    @display(description=field.verbose_name, ordering=field.name)
    def number(row: Model) -> str:
        value = getattr(row, field.name)
        return admin.site.empty_value_display if value is None else in_words(value)

    return number


def _show_label(method: Any) -> Callable[[Model], SafeString]:
    """A field that is looked at, with the label that stands for it in lists."""

    @display(description=method.short_description)
    def label(row: Model) -> SafeString:
        value, text = method(row)
        context = {"text": text, "variant": method.label[value]}
        return render_to_string("unfold/helpers/label.html", context)

    return label


def change_url(obj: Model) -> str:
    """Where the page of ``obj`` is."""
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def changelist_url(model: type[Model], query: Mapping[str, object] | None = None) -> str:
    """Where the list of a model is, filtered by ``query``."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", query=query)


def link_to(obj: Model | None, text: object = None) -> str | None:
    """A link to the page of ``obj``, or None without one."""
    return None if obj is None else format_html('<a class="text-link" href="{}">{}</a>', change_url(obj), text or obj)
