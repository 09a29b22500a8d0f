"""The catalogues of translations: what is marked for translation, and what each language makes of it.

``make catalogues`` brings ``locale`` up to date: new messages are added without a translation, those that are gone are
dropped, and the rest is compiled for Django. Babel does it, so no GNU gettext is needed. Unfold comes without
catalogues of its own, so its messages stand in ours.
"""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "locale"
LANGUAGES = ("zh_Hans",)
FOLDERS = ("couponsite", "recommender", "templates")
#: What is written depends on the messages alone.
DATED = datetime(2026, 1, 1, tzinfo=UTC)
#: As Django's ``makemessages`` has them.
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "say": None,  # recommender/sentences.py
}


def catalogue_file(language: str, *, compiled: bool = False) -> Path:
    return LOCALE / language / "LC_MESSAGES" / ("django.mo" if compiled else "django.po")


def marked_messages() -> Catalog:
    """All that is marked for translation in this project and in Unfold."""
    catalogue = Catalog()
    (unfold,) = find_spec("unfold").submodule_search_locations or ()  # type: ignore[union-attr]
    for folder in (*(ROOT / name for name in FOLDERS), Path(unfold)):
        for path in sorted(folder.rglob("*")):
            if path.suffix not in {".py", ".html", ".txt"} or "migrations" in path.parts:
                continue
            for messages, context in _messages_of(path):
                catalogue.add(messages, context=context)
    return catalogue


def _messages_of(path: Path) -> Iterator[tuple[str | tuple[str, ...], str | None]]:
    source = path.read_text()
    if path.suffix != ".py":
        # As for GNU gettext, but lines must not look indented, which Python alone would mind.
        source = "\n".join(line.strip() for line in templatize(source, origin=str(path)).splitlines())
    for _line, messages, _comments, context in extract("python", io.BytesIO(source.encode()), KEYWORDS):
        yield messages, context


def read_catalogue(language: str) -> Catalog:
    """What a language has; an empty catalogue where there is none yet."""
    path = catalogue_file(language)
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def compiled(catalogue: Catalog) -> bytes:
    target = io.BytesIO()
    write_mo(target, catalogue)
    return target.getvalue()


def missing(catalogue: Catalog, marked: Catalog) -> list[Message]:
    """What is marked and not translated."""
    return [
        message for message in marked if message.id and not _is_translated(catalogue.get(message.id, message.context))
    ]


def _is_translated(message: Message | None) -> bool:
    if message is None or message.fuzzy:
        return False
    strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
    return bool(strings) and all(strings)


def update(language: str) -> Catalog:
    """Write a language's catalogue with all that is marked now, and compile it."""
    marked, known = marked_messages(), read_catalogue(language)
    catalogue = Catalog(
        locale=language,
        header_comment="# Couponsite and Unfold in this language. Written by `make catalogues`; translations are kept.",
        project="Couponsite",
        version="0.1.0",
        msgid_bugs_address="",
        creation_date=DATED,
        revision_date=DATED,
        last_translator="",
        language_team="",
        fuzzy=False,
    )
    for message in sorted((each for each in marked if each.id), key=lambda each: str(each.id)):
        found = known.get(message.id, message.context)
        catalogue.add(message.id, found.string if found else None, context=message.context, flags=message.flags)
    path = catalogue_file(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=120, omit_header=False)
    catalogue_file(language, compiled=True).write_bytes(compiled(catalogue))
    return catalogue


if __name__ == "__main__":
    for each in LANGUAGES:
        left = missing(update(each), marked_messages())
        print(f"{each}: {len(left)} messages without a translation")  # noqa: T201
        for message in left:
            print("  ", message.id)  # noqa: T201
