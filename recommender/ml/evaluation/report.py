"""A part of a Markdown page that a program writes, between two markers; people write the rest."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

BEGIN, END = "<!-- backtest: begin -->", "<!-- backtest: end -->"


class ReportError(ValueError):
    """The page cannot be read, or does not have the two markers once each and in order."""


class Section(NamedTuple):
    """A heading and the Markdown below it."""

    title: str
    body: str


def render_sections(sections: Iterable[Section]) -> str:
    """The sections under headings of the third level."""
    return "\n".join(f"### {title}\n\n" + body.strip("\n") + "\n" for title, body in sections)


def check_page(path: Path) -> None:
    """Refuse a page that :func:`write_between_markers` could not write.

    Raises:
        ReportError: the message names the file and what is wrong with it.
    """
    _split(path, BEGIN, END)


def write_between_markers(path: Path, text: str, *, name: str = "backtest") -> None:
    """Replace what stands between the markers of a name in a page; every other byte of it stays. Written whole or not
    at all.

    Raises:
        ReportError: as :func:`check_page`.
        OSError: the file cannot be written.
    """
    path = path.resolve()  # a link goes on pointing at the page
    begin, end = _markers(name)
    before, after = _split(path, begin, end)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        aside = Path(folder) / path.name
        aside.write_bytes("".join([before, begin, "\n\n", text.strip("\n"), "\n\n", end, after]).encode())
        shutil.copymode(path, aside)
        aside.replace(path)


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def _split(path: Path, begin: str, end: str) -> tuple[str, str]:
    """What stands before the first marker and after the second."""
    try:
        page = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is not UTF-8 text: {error}.") from error
    for marker in (begin, end):
        if (times := page.count(marker)) != 1:
            raise ReportError(f"{path} has the line {marker} {times} times; expected once.")
    before, rest = page.split(begin)
    if end not in rest:
        raise ReportError(f"{path} has the line {end} before the line {begin}; expected it after.")
    return before, rest.split(end)[1]
