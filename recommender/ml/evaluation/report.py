"""A part of a Markdown page that a program writes, between two markers; people write the rest."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

BEGIN = "<!-- backtest: begin -->"
END = "<!-- backtest: end -->"


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
    _split(path)


def write_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the markers of a page; every other byte of it stays. Written whole or not at all.

    Raises:
        ReportError: as :func:`check_page`.
        OSError: the file cannot be written.
    """
    path = path.resolve()  # a link goes on pointing at the page
    before, after = _split(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        aside = Path(folder) / path.name
        aside.write_bytes("".join([before, BEGIN, "\n\n", text.strip("\n"), "\n\n", END, after]).encode())
        shutil.copymode(path, aside)
        aside.replace(path)


def _split(path: Path) -> tuple[str, str]:
    """What stands before the first marker and after the second."""
    try:
        page = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is not UTF-8 text: {error}.") from error
    for marker in (BEGIN, END):
        if (times := page.count(marker)) != 1:
            raise ReportError(f"{path} has the line {marker} {times} times; expected once.")
    before, rest = page.split(BEGIN)
    if END not in rest:
        raise ReportError(f"{path} has the line {END} before the line {BEGIN}; expected it after.")
    return before, rest.split(END)[1]
