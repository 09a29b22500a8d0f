"""Spreadsheet files: read within bounds, because they are read in a web process."""

import io
import re
import zipfile
import zlib
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from import_export.formats.base_formats import CSV, Format
from python_calamine import CalamineError, CalamineWorkbook
from tablib import Dataset
from xlsxwriter import Workbook

MAX_ROWS = 1500
MAX_FILE_BYTES = 5 * 2**20
#: A workbook is a zip, which may be made to grow.
MAX_UNPACKED_BYTES = 50 * 2**20
MAX_MEMBERS = 200
#: The reader takes memory for every cell up to the last that is named, be those between empty.
LAST_ROW = 10_000
COLUMN_LETTERS = 2
CELL = re.compile(rb"""\br=["']([A-Za-z]*)(\d+)["']""")


class SpreadsheetRefused(ValueError):
    """The file is not one that is read here. The message says why, and what to do instead."""


def refuse_too_many_rows(count: int) -> None:
    """Raise SpreadsheetRefused for more rows than a spreadsheet may have."""
    if count > MAX_ROWS:
        raise SpreadsheetRefused(
            _("%(count)s rows are more than the %(limit)s of a spreadsheet. For more, use “Bring data in”.")
            % {
                "count": number_format(count, force_grouping=True),
                "limit": number_format(MAX_ROWS, force_grouping=True),
            }
        )


class BoundedCSV(CSV):
    def create_dataset(self, in_stream: bytes | str, **kwargs: Any) -> Dataset:
        try:
            return _without_empty_rows(super().create_dataset(in_stream, **kwargs))
        except UnicodeDecodeError as error:
            raise SpreadsheetRefused(_("The file is not UTF-8 text. Save it as “CSV UTF-8”, or as XLSX.")) from error


class BoundedXLSX(Format):
    """Cells are written as text: an identifier keeps its zeros, and a formula is none."""

    def get_title(self) -> str:
        return "xlsx"

    def get_extension(self) -> str:
        return "xlsx"

    def get_content_type(self) -> str:
        return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

    def __init__(self, encoding: str | None = None) -> None:
        """A workbook knows its encoding; the argument is for those formats that do not."""

    def can_import(self) -> bool:
        return True

    def can_export(self) -> bool:
        return True

    def create_dataset(self, in_stream: bytes) -> Dataset:
        """The first sheet of a workbook."""
        _refuse_overgrown(in_stream)
        try:
            with CalamineWorkbook.from_filelike(io.BytesIO(in_stream)) as book:
                rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
        except (CalamineError, IndexError) as error:
            raise SpreadsheetRefused(_("The file is not an XLSX workbook.")) from error
        headers, *cells = rows or [[]]
        return _without_empty_rows(Dataset(*cells, headers=[str(name) for name in headers]))

    def export_data(self, dataset: Dataset, **kwargs: Any) -> bytes:
        file = io.BytesIO()
        # What is text stays text; nothing is made a number, a link or a formula.
        with Workbook(file, {"in_memory": True}) as book:
            sheet = book.add_worksheet()
            for number, row in enumerate([dataset.headers, *dataset]):
                for column, cell in enumerate(row):
                    sheet.write_string(number, column, cell)
        return file.getvalue()


def _refuse_overgrown(content: bytes) -> None:
    """Raise SpreadsheetRefused for what is no workbook, or is one that fills the memory when it is read."""
    too_large = _("The workbook is too large once it is unpacked.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as workbook:
            members = workbook.infolist()
            if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise SpreadsheetRefused(too_large)
            for member in members:
                if member.filename.startswith("xl/worksheets/"):
                    for column, row in CELL.findall(workbook.read(member)):
                        if len(column) > COLUMN_LETTERS or len(row) > 7 or int(row) > LAST_ROW:
                            raise SpreadsheetRefused(too_large)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SpreadsheetRefused(_("The file is not an XLSX workbook.")) from error


def _without_empty_rows(dataset: Dataset) -> Dataset:
    """The rows up to the last that says something. Empty ones between stay, and keep the lines' numbers right."""
    filled = [number for number, row in enumerate(dataset, 1) if any(cell not in (None, "") for cell in row)]
    last = max(filled, default=0)
    refuse_too_many_rows(last)
    return Dataset(*dataset[:last], headers=dataset.headers)
