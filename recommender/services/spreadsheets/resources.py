"""What the spreadsheets of all tables share: their rows are told by the shop's own identifiers."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from import_export.instance_loaders import CachedInstanceLoader
from import_export.resources import ModelResource
from import_export.results import RowResult
from import_export.widgets import Widget
from tablib import Dataset

from recommender.services.spreadsheets.formats import SpreadsheetRefused, refuse_too_many_rows
from recommender.services.spreadsheets.widgets import (
    ExactWidget,
    FlagWidget,
    MomentWidget,
    RealWidget,
    TextWidget,
    WholeWidget,
)

WIDGETS: dict[type[models.Field], type[Widget]] = {
    models.CharField: TextWidget,
    models.BooleanField: FlagWidget,
    models.DecimalField: ExactWidget,
    models.PositiveIntegerField: WholeWidget,
    models.PositiveSmallIntegerField: WholeWidget,
    models.FloatField: RealWidget,
    models.DateTimeField: MomentWidget,
}
HEADER_ROWS = 1


class SpreadsheetResource(ModelResource):
    """A table as a spreadsheet. A column that is left out leaves what is stored; an empty cell empties it."""

    identifier: ClassVar[str]

    class Meta:
        skip_unchanged = True
        report_skipped = True
        clean_model_instances = True
        instance_loader_class = CachedInstanceLoader

    @classmethod
    def widget_from_django_field(cls, f: models.Field, default: type[Widget] = TextWidget) -> type[Widget]:
        return next((widget for kind, widget in WIDGETS.items() if isinstance(f, kind)), default)

    def before_import(self, dataset: Dataset, **kwargs: Any) -> None:
        """Look at the sheet as a whole.

        Raises:
            SpreadsheetRefused: its header has no identifier, or a column that is not known or comes twice, or an
                identifier comes twice.
        """
        headers = [str(name) for name in dataset.headers or []]
        known = [field.column_name for field in self.get_import_fields()]
        if self.identifier not in headers:
            raise SpreadsheetRefused(
                _("The column %(column)s is missing. Expected a header with %(known)s; found %(found)s.")
                % {"column": self.identifier, "known": ", ".join(known), "found": ", ".join(headers)[:300] or "–"}
            )
        for name in headers:
            if name not in known:
                raise SpreadsheetRefused(
                    _("The column %(column)s is not known. Expected some of %(known)s.")
                    % {"column": name[:60], "known": ", ".join(known)}
                )
            if headers.count(name) > 1:
                raise SpreadsheetRefused(_("The column %(column)s comes twice.") % {"column": name})
        identifiers = [TextWidget().clean(cell) for cell in dataset[self.identifier]]
        refuse_too_many_rows(len(identifiers))
        for identifier, count in Counter(identifiers).items():
            if identifier and count > 1:
                lines = [str(line) for line, value in enumerate(identifiers, 1 + HEADER_ROWS) if value == identifier]
                raise SpreadsheetRefused(
                    _("Lines %(lines)s have the same %(column)s: %(value)s.")
                    % {"lines": ", ".join(lines[:5]), "column": self.identifier, "value": identifier[:64]}
                )

    def before_export(self, queryset: QuerySet, **kwargs: Any) -> None:
        """Raise SpreadsheetRefused when there are more rows than a spreadsheet may have."""
        refuse_too_many_rows(queryset.count())

    def get_diff_class(self) -> type["Changes"]:
        return Changes

    def after_import_row(self, row: Mapping[str, Any], row_result: RowResult, **kwargs: Any) -> None:
        """Note for the preview where in the sheet a row stands, and whom it is about."""
        row_result.line = kwargs["row_number"] + HEADER_ROWS
        row_result.identifier = TextWidget().clean(row[self.identifier])


class Changes:
    """What a row of the sheet does to an object, column by column. The library makes one a row, as its ``diff``."""

    def __init__(self, resource: SpreadsheetResource, instance: models.Model, new: bool) -> None:
        self._before = {} if new else _export(resource, instance)
        self._now: dict[str, str] = {}

    def compare_with(self, resource: SpreadsheetResource, instance: models.Model) -> None:
        self._now = _export(resource, instance)

    def as_html(self) -> list[tuple[str, str, str]]:
        """Of each column that changes its name, its cell before and its cell now."""
        return [
            (column, self._before.get(column, ""), cell)
            for column, cell in self._now.items()
            if cell != self._before.get(column, "")
        ]


def _export(resource: SpreadsheetResource, instance: models.Model) -> dict[str, str]:
    return {field.column_name: field.export(instance) for field in resource.get_import_fields()}
