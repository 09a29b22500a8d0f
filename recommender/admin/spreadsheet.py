"""Tables for a spreadsheet: CSV, sent row by row."""

import csv
from collections.abc import Iterable, Iterator

from django.http import StreamingHttpResponse

#: A cell that begins so is taken for a formula (OWASP, CSV Injection).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def stream_csv(*, name: str, rows: Iterable[Iterable[object]]) -> StreamingHttpResponse:
    """Rows as a CSV file to download. No text of a cell is run as a formula by the program that opens it."""
    response = StreamingHttpResponse(_lines(rows), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def harmless(cell: object) -> object:
    """The cell; a text that a spreadsheet would take for a formula has an apostrophe before it. Numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def _lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield "\ufeff"  # tells spreadsheets that it is UTF-8
    for row in rows:
        yield writer.writerow([harmless(cell) for cell in row])
