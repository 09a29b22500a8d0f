"""Why an open group is for a shopper, and a shopper for a group, in words, in the reader's language."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

Reason = Mapping[str, Any]


def group_reasons_in_words(reasons: Iterable[Reason]) -> list[str]:
    """One sentence a reason, without its full stop."""
    return [_WORDS[reason["kind"]](reason) for reason in reasons]


def _companions_in_it(reason: Reason) -> str:
    return ngettext(
        "%(people)d person with whom groups were joined before is in it",
        "%(people)d people with whom groups were joined before are in it",
        reason["people"],
    ) % {"people": reason["people"]}


def _joined_together(reason: Reason) -> str:
    return ngettext(
        "joined %(times)d group together with its members before",
        "joined %(times)d groups together with its members before",
        reason["times"],
    ) % {"times": reason["times"]}


def _buys_alike(reason: Reason) -> str:
    return _("buys much the same as a member of it")


def _buys_it(reason: Reason) -> str:
    return ngettext(
        "bought what it is for %(times)d time lately", "bought what it is for %(times)d times lately", reason["times"]
    ) % {"times": reason["times"]}


def _buys_its_kind(reason: Reason) -> str:
    return ngettext(
        "bought things of its kind %(times)d time lately",
        "bought things of its kind %(times)d times lately",
        reason["times"],
    ) % {"times": reason["times"]}


def _one_place_left(reason: Reason) -> str:
    return _("a single place is left")


_WORDS: Mapping[str, Callable[[Reason], str]] = {
    "companions_in_it": _companions_in_it,
    "joined_together": _joined_together,
    "buys_alike": _buys_alike,
    "buys_it": _buys_it,
    "buys_its_kind": _buys_its_kind,
    "one_place_left": _one_place_left,
}
KINDS = frozenset(_WORDS)
