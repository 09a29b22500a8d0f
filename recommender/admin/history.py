"""Who changed what, from what to what: written down when a form is saved, and told in the reader's language.

Django keeps the names of the changed fields in a log entry. Beside them stand the values here, as JSON and as little in
anybody's language as can be: a choice by its key, a moment in ISO 8601, another row by its name at that time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import construct_change_message
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.formats import date_format, localize
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from recommender.wording import keep, recall

#: Fields whose values are nobody's business. That they changed is told.
SECRET = frozenset({"password", "password1", "password2", "usable_password", "digest", "sealed_secret"})
LONGEST = 300  # characters of a value
NOTHING = "–"


class HistoryMixin:
    """An admin class that remembers the old and the new value of each changed field, and shows them."""

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Iterable[Any] | None, add: bool = False
    ) -> list[dict[str, Any]]:
        return record_changes(form, list(formsets or ()), add=add)

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> LogEntry:
        return super().log_addition(request, obj, _kept(message))  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> LogEntry:
        return super().log_change(request, obj, _kept(message))  # type: ignore[misc]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer = super().history_view(request, object_id, extra_context)  # type: ignore[misc]
        if isinstance(answer, TemplateResponse) and answer.context_data is not None:
            answer.context_data["entries"] = [
                (entry, describe_entry(entry)) for entry in answer.context_data["action_list"]
            ]
        return answer


@dataclass(frozen=True)
class Change:
    """A field's change in words. A list has what was ``removed`` and ``added``; of a secret neither is told."""

    field: str
    old: str = ""
    new: str = ""
    is_list: bool = False
    is_secret: bool = False


@dataclass(frozen=True)
class Step:
    """A part of what was done at once: a sentence, and the changes that it sums up."""

    text: str
    changes: tuple[Change, ...] = ()


# Writing


def record_changes(form: Any, formsets: Sequence[Any], *, add: bool) -> list[dict[str, Any]]:
    """Django's account of a saved form and its formsets, with the values of the changed fields added to it."""
    message = construct_change_message(form, formsets, add)
    accounts: list[dict[str, Any]] = []
    if add or form.changed_data:
        accounts.append({} if add else _account_for(form))
    for formset in formsets:
        forms_by_row = {id(row_form.instance): row_form for row_form in formset.initial_forms}
        accounts += [_name_of_model(row) for row in formset.new_objects]
        accounts += [
            {**_name_of_model(row), **_account_for(forms_by_row[id(row)])} for row, _fields in formset.changed_objects
        ]
        accounts += [_name_of_model(row) for row in formset.deleted_objects]
    for part, account in zip(message, accounts, strict=True):
        for told in part.values():
            told.update(account)
    return message


def record_import(diff: Iterable[tuple[str, str, str]], *, add: bool) -> list[dict[str, Any]]:
    """An account of a row that a spreadsheet brought, from its columns with what they held and what they hold now."""
    if add:
        return [{"added": {}}]
    # A cell is written for people already: without the name of a field it is told as it is.
    values = [{"name": "", "label": column, "old": before or None, "new": now or None} for column, before, now in diff]
    return [{"changed": {"fields": [value["label"] for value in values], "values": values, "by_spreadsheet": True}}]


def _kept(message: Any) -> Any:
    return keep(message) if isinstance(message, str) else message


def _name_of_model(row: models.Model) -> dict[str, Any]:
    return {"model": row._meta.label_lower}


def _account_for(form: Any) -> dict[str, Any]:
    return {"values": [_record_change(form, name) for name in form.changed_data]}


def _record_change(form: Any, name: str) -> dict[str, Any]:
    field = form.fields.get(name)
    change: dict[str, Any] = {"name": name, "label": str((field and field.label) or name)}
    if name in SECRET or field is None or isinstance(field.widget, forms.PasswordInput):
        return {**change, "secret": True}
    old, new = form.get_initial_for_field(field, name), form.cleaned_data.get(name)
    if isinstance(field, forms.ModelMultipleChoiceField):
        old_names, new_names = {str(row) for row in old or ()}, {str(row) for row in new or ()}
        return {**change, "removed": sorted(old_names - new_names), "added": sorted(new_names - old_names)}
    if isinstance(field, forms.ModelChoiceField) and field.queryset is not None and not isinstance(old, models.Model):
        old = field.queryset.model._default_manager.filter(pk=old).first()
    return {**change, "old": _as_json(old), "new": _as_json(new)}


def _as_json(value: Any) -> Any:
    match value:
        case None | "" | bool() | int() | float():
            return value if value != "" else None
        case Decimal():
            return format(value.normalize(), "f")
        case datetime() | date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, sort_keys=True)[:LONGEST]
        case _:
            return str(value)[:LONGEST]


# Telling


def describe_entry(entry: LogEntry) -> list[Step]:
    """What a log entry tells, in the reader's language as far as it was not written down in words."""
    try:
        parts = json.loads(entry.change_message)
    except json.JSONDecodeError:
        parts = None
    if not isinstance(parts, list):
        return [Step(recall(entry.change_message) or _flag_in_words(entry))]
    # Remembered by its key: a history of a hundred entries asks for it once.
    kind = ContentType.objects.get_for_id(entry.content_type_id) if entry.content_type_id else None
    model = kind.model_class() if kind else None
    steps = [_describe_part(verb, told, model) for part in parts for verb, told in part.items()]
    return steps or [Step(_("Saved without a change."))]


def _flag_in_words(entry: LogEntry) -> str:
    return _("Deleted.") if entry.is_deletion() else capfirst(entry.get_action_flag_display())


def _describe_part(verb: str, told: Mapping[str, Any], model: type[models.Model] | None) -> Step:
    if "name" not in told:  # the row itself
        text = _("Added.") if verb == "added" else _("Changed.")
        if told.get("by_spreadsheet"):
            text = _("Changed by spreadsheet.")
    else:
        model = apps.get_model(told["model"]) if "model" in told else None
        text = _sentences()[verb] % {
            "name": model._meta.verbose_name if model else _(told["name"]),
            "object": told["object"],
        }
    if verb == "changed" and "values" not in told:  # an entry from before values were kept
        return Step(text, tuple(Change(_(field), is_secret=True) for field in told["fields"]))
    return Step(text, tuple(_describe_change(value, model) for value in told.get("values", ())))


def _sentences() -> dict[str, str]:
    return {
        "added": _("Added: %(name)s “%(object)s”."),
        "changed": _("Changed: %(name)s “%(object)s”."),
        "deleted": _("Deleted: %(name)s “%(object)s”."),
    }


def _describe_change(value: Mapping[str, Any], model: type[models.Model] | None) -> Change:
    field = _find_field(model, value["name"])
    name = capfirst(str(field.verbose_name)) if field is not None else _(value["label"])
    if value.get("secret"):
        return Change(name, is_secret=True)
    if "added" in value:
        return Change(name, ", ".join(value["removed"]), ", ".join(value["added"]), is_list=True)
    return Change(name, _in_words(value["old"], field), _in_words(value["new"], field))


def _find_field(model: type[models.Model] | None, name: str) -> Any:
    """A field of the model with a name for people; None where there is none any more."""
    try:
        field = model._meta.get_field(name) if model else None
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, models.Field) else None


def _in_words(value: Any, field: Any) -> str:
    choices = dict(field.flatchoices) if field is not None else {}
    moment = parse_datetime(value) if isinstance(field, models.DateTimeField) and value else None
    day = parse_date(value) if isinstance(field, models.DateField) and value and moment is None else None
    if value in choices:
        text = str(choices[value])
    elif value is None:
        text = NOTHING
    elif isinstance(value, bool):
        text = _("yes") if value else _("no")
    elif moment is not None:
        text = date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    elif day is not None:
        text = date_format(day, "DATE_FORMAT")
    elif isinstance(field, models.DecimalField):
        text = str(localize(Decimal(value)))
    else:
        text = str(localize(value))
    return text
