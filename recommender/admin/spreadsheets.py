"""Small tables by spreadsheet: exported, changed, looked at in a preview, imported."""

import json
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.forms import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from import_export.admin import ImportExportMixin
from import_export.results import Result, RowResult
from unfold.contrib.import_export.forms import ExportForm, ImportForm

from recommender.admin.base import TableAdmin, changelist_url
from recommender.admin.figures import count_of
from recommender.admin.history import record_import
from recommender.models import Upload
from recommender.services.spreadsheets.formats import (
    MAX_FILE_BYTES,
    MAX_ROWS,
    BoundedCSV,
    BoundedXLSX,
    SpreadsheetRefused,
)

FLAGS = {RowResult.IMPORT_TYPE_NEW: ADDITION, RowResult.IMPORT_TYPE_UPDATE: CHANGE}


class SpreadsheetForm(ImportForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["import_file"].help_text = format_html(
            _(
                "At most {rows} rows, told by the shop's own identifiers. A column that is left out leaves what is "
                "stored; an empty cell empties it. For more rows, "
                "<a class='text-link desk-inline' href='{url}'>bring data in</a>."
            ),
            rows=count_of(MAX_ROWS),
            url=changelist_url(Upload),
        )

    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > MAX_FILE_BYTES:
            raise ValidationError(
                _("The file is larger than %(limit)s. For more, use “Bring data in”.")
                % {"limit": filesizeformat(MAX_FILE_BYTES)}
            )
        return file


class SpreadsheetAdmin(ImportExportMixin, TableAdmin):
    """A table that goes out as a spreadsheet and comes in again. ``resource_classes`` has the one that says how."""

    import_form_class = SpreadsheetForm
    export_form_class = ExportForm
    import_formats = (BoundedXLSX, BoundedCSV)
    export_formats = (BoundedXLSX, BoundedCSV)
    to_encoding = "utf-8-sig"  # by its mark spreadsheets know UTF-8

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def add_data_read_fail_error_to_form(self, form: SpreadsheetForm, e: Exception) -> None:
        if isinstance(e, SpreadsheetRefused):
            form.add_error("import_file", str(e))
        else:
            super().add_data_read_fail_error_to_form(form, e)

    def get_import_data_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """All rows or none: what passed the preview may fail at the confirmation, because the tables changed."""
        return {**super().get_import_data_kwargs(**kwargs), "rollback_on_validation_errors": True}

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.has_import_permission(request):
            raise PermissionDenied
        try:
            return super().process_import(request, **kwargs)
        except (FileNotFoundError, SpreadsheetRefused):  # imported already, by a second click; or forgotten since
            messages.error(request, _("This preview was used already, or is too old. Nothing more was imported."))
            return redirect(changelist_url(self.model))

    def process_result(self, result: Result, request: HttpRequest) -> HttpResponse:
        if result.has_errors() or result.has_validation_errors():
            messages.error(
                request, _("The table changed since the preview, and the rows no longer fit. Nothing was imported.")
            )
            return redirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_import"))
        return super().process_result(result, request)

    def generate_log_entries(self, result: Result, request: HttpRequest) -> None:
        """Note in each object's history what the sheet changed, from what to what."""
        content_type = ContentType.objects.get_for_model(self.model)
        LogEntry.objects.bulk_create(
            LogEntry(
                user=request.user,  # type: ignore[misc]
                content_type=content_type,
                object_id=str(row.object_id),
                object_repr=str(row.object_repr)[:200],
                action_flag=FLAGS[row.import_type],
                change_message=json.dumps(
                    record_import(row.diff, add=FLAGS[row.import_type] == ADDITION), ensure_ascii=False
                ),
            )
            for row in result
            if row.import_type in FLAGS
        )

    def add_success_message(self, result: Result, request: HttpRequest) -> None:
        new, updated, skipped = (
            result.totals[kind]
            for kind in (RowResult.IMPORT_TYPE_NEW, RowResult.IMPORT_TYPE_UPDATE, RowResult.IMPORT_TYPE_SKIP)
        )
        text = ngettext(
            "The spreadsheet of %(count)s row is imported: %(new)s new, %(updated)s changed, %(skipped)s unchanged.",
            "The spreadsheet of %(count)s rows is imported: %(new)s new, %(updated)s changed, %(skipped)s unchanged.",
            new + updated + skipped,
        )
        counts = {"count": new + updated + skipped, "new": new, "updated": updated, "skipped": skipped}
        messages.success(request, text % {name: count_of(count) for name, count in counts.items()})
