"""Spreadsheet files: read within bounds, because they are read in a web process."""

import io
import zipfile
from typing import Any

from django.utils.translation import gettext as _
from import_export.formats.base_formats import CSV, XLSX
from tablib import Dataset

MAX_ROWS = 2000
MAX_FILE_BYTES = 5 * 2**20
#: A workbook is a zip, which may be made to grow.
MAX_UNPACKED_BYTES = 50 * 2**20
MAX_MEMBERS = 200


class SpreadsheetRefused(ValueError):
    """The file is not one that is read here. The message says why, and what to do instead."""


def refuse_too_many_rows(count: int) -> None:
    """Raise SpreadsheetRefused for more rows than a spreadsheet may have."""
    if count > MAX_ROWS:
        raise SpreadsheetRefused(
            _("%(count)s rows are more than the %(limit)s of a spreadsheet. For more, use “Bring data in”.")
            % {"count": f"{count:,}", "limit": f"{MAX_ROWS:,}"}
        )


class BoundedCSV(CSV):
    def create_dataset(self, in_stream: bytes | str, **kwargs: Any) -> Dataset:
        try:
            return _without_empty_rows(super().create_dataset(in_stream, **kwargs))
        except UnicodeDecodeError as error:
            raise SpreadsheetRefused(_("The file is not UTF-8 text. Save it as “CSV UTF-8”, or as XLSX.")) from error


class BoundedXLSX(XLSX):
    """Cells are written as text: an identifier keeps its zeros."""

    def create_dataset(self, in_stream: bytes) -> Dataset:
        try:
            with zipfile.ZipFile(io.BytesIO(in_stream)) as workbook:
                members = workbook.infolist()
        except zipfile.BadZipFile as error:
            raise SpreadsheetRefused(_("The file is not an XLSX workbook.")) from error
        if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
            raise SpreadsheetRefused(_("The workbook is too large once it is unpacked."))
        try:
            dataset = super().create_dataset(in_stream)
        except (KeyError, zipfile.BadZipFile, SyntaxError) as error:
            raise SpreadsheetRefused(_("The file is not an XLSX workbook.")) from error
        return _without_empty_rows(dataset)


def _without_empty_rows(dataset: Dataset) -> Dataset:
    """The rows up to the last that says something. Empty ones between stay, and keep the lines' numbers right."""
    filled = [number for number, row in enumerate(dataset, 1) if any(cell not in (None, "") for cell in row)]
    last = max(filled, default=0)
    refuse_too_many_rows(last)
    return Dataset(*dataset[:last], headers=dataset.headers)
