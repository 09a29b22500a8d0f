"""What is typed as a code, and what it is taken for: by Python, and by the database for codes that stand as they were
chosen."""

import unicodedata

from django.db.models import Func

#: What people put between the characters of a code.
SEPARATORS = " -_."
#: Categories of Unicode: dashes, spaces, and what is not seen, such as a space of no width or the end of a line.
_BETWEEN = frozenset({"Pd", "Zs", "Zl", "Zp", "Cc", "Cf"})
LOOK_ALIKES = {"I": "1", "L": "1", "O": "0"}


def normalise_code(entered: str) -> str:
    """A code as it is kept, whatever the case, the dashes and the look-alikes that it was typed with.

    Full-width characters, as Chinese keyboards give them, are taken for what they show. Letters I and L are 1, O is 0.
    Dashes and spaces of every kind do not matter, nor does what is not seen: both come with what is copied.
    """
    text = unicodedata.normalize("NFKC", entered).upper()
    return "".join(LOOK_ALIKES.get(character, character) for character in text if not _is_between(character))


def _is_between(character: str) -> bool:
    return character in SEPARATORS or unicodedata.category(character) in _BETWEEN


def _replaced(expression: str) -> str:
    for character, meant in {**dict.fromkeys(SEPARATORS, ""), **LOOK_ALIKES}.items():
        expression = f"REPLACE({expression}, '{character}', '{meant}')"
    return expression


class NormalisedCode(Func):
    """:func:`normalise_code` of a column, but for what a database knows nothing of: full-width characters, other dashes
    and spaces, and on SQLite the case of letters beyond A to Z. All in it are literals, so that an index on it
    serves."""

    arity = 1
    template = _replaced("UPPER(%(expressions)s)")
