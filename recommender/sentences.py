"""Sentences that one person causes and another reads, perhaps in another language.

A sentence is a string that still knows its message, as the catalogues have it, and the facts in it. So it can be kept
as what was said and put into words again by :mod:`recommender.wording`. The model layer says its own by :func:`say`.
"""

from collections.abc import Mapping
from typing import Any


class Sentence(str):
    """Words, and what they say.

    Attributes:
        message: as the catalogues have it; with another for the plural, the pair.
        facts: what stands for the placeholders.
        number: that decides between singular and plural; None without a plural.
    """

    message: tuple[str, ...]
    facts: Mapping[str, Any]
    number: int | None

    def __new__(
        cls, words: str, message: tuple[str, ...], facts: Mapping[str, Any], number: int | None = None
    ) -> "Sentence":
        sentence = super().__new__(cls, words)
        sentence.message, sentence.facts, sentence.number = message, facts, number
        return sentence

    def __getnewargs__(self) -> tuple[Any, ...]:
        """For copies, such as those of ``dataclasses.asdict``."""
        return str.__str__(self), self.message, self.facts, self.number

    def __str__(self) -> str:
        """Itself, so that ``str(error)`` of an exception with a sentence is one."""
        return self


def say(message: str, **facts: Any) -> Sentence:
    """A sentence in the language of the source. Its message is marked for translation by standing here."""
    return Sentence(message % facts if facts else message, (message,), facts)
