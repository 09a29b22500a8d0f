"""Django's ``gettext`` for sentences that are stored, and how they are put into words for whoever reads them.

Facts are numbers, texts, moments and days, other sentences, and lists of such, which are told one after another.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db import models
from django.utils import timezone, translation
from django.utils.formats import date_format

from recommender.sentences import Sentence

MESSAGE, FACTS, NUMBER = "say", "with", "number"
MOMENT, DAY = "moment", "day"
#: A sentence at the end of a line.
KEPT_IN_LINE = re.compile(r'\{"say": .*\}$', re.MULTILINE)


class Message(Sentence):
    """A sentence whose facts are still to come."""

    def __mod__(self, facts: Any) -> Sentence:
        words = str.__mod__(self, {name: _in_words(fact) for name, fact in facts.items()})
        return Sentence(words, self.message, facts, self.number)


def gettext(message: str) -> Message:
    return Message(translation.gettext(message), (message,), {})


def ngettext(singular: str, plural: str, number: int) -> Message:
    return Message(translation.ngettext(singular, plural, number), (singular, plural), {}, number)


def keep(text: str) -> str:
    """What to store of a text: of a sentence what it says, of any other text itself."""
    if not isinstance(text, Sentence):
        return text
    return json.dumps(_as_json(text), ensure_ascii=False)


def recall(kept: str) -> str:
    """What was kept, in the language that is active now. What is no sentence is given back as it is."""
    if not kept.startswith('{"' + MESSAGE):
        return kept
    try:
        return _from_json(json.loads(kept))
    except (ValueError, TypeError, KeyError):  # a text that only looks like a sentence
        return kept


def renamed(text: str, old: str, new: str) -> str:
    """A text with ``new`` wherever it says ``old``; a sentence with it in its facts."""
    if not isinstance(text, Sentence):
        return text.replace(old, new)
    return _from_json(json.loads(json.dumps(_as_json(text)).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])))


class SentenceField(models.TextField):
    """A sentence in the reader's language: it is stored as what it says. Other texts stay as they are."""

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str | None:
        return None if value is None else recall(value)

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(keep(value) if isinstance(value, str) else value)


class SentencesField(models.TextField):
    """Lines, each a time and what happened then: told in the reader's language where a sentence was kept."""

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str | None:
        return None if value is None else KEPT_IN_LINE.sub(lambda found: recall(found[0]), value)


def _as_json(sentence: Sentence) -> dict[str, Any]:
    told: dict[str, Any] = {MESSAGE: list(sentence.message)}
    if sentence.facts:
        told[FACTS] = {name: _fact_as_json(fact) for name, fact in sentence.facts.items()}
    if sentence.number is not None:
        told[NUMBER] = sentence.number
    return told


def _fact_as_json(fact: Any) -> Any:
    match fact:
        case None | bool() | int() | float():
            return fact
        case datetime():
            return {MOMENT: fact.isoformat()}
        case date():
            return {DAY: fact.isoformat()}
        case list() | tuple():
            return [_fact_as_json(each) for each in fact]
        case _:
            text = str(fact)  # which may be a sentence, where a row has one for its name
            return _as_json(text) if isinstance(text, Sentence) else text


def _from_json(told: Mapping[str, Any]) -> Sentence:
    facts = {name: _fact_from_json(fact) for name, fact in told.get(FACTS, {}).items()}
    match told[MESSAGE]:
        case [singular, plural]:
            sentence = ngettext(singular, plural, told[NUMBER])
        case [message]:
            sentence = gettext(message)
        case _:
            raise ValueError("neither a message nor a pair of them")
    return sentence % facts if facts else sentence


def _fact_from_json(fact: Any) -> Any:
    match fact:
        case {"moment": moment}:
            return datetime.fromisoformat(moment)
        case {"day": day}:
            return date.fromisoformat(day)
        case dict():
            return _from_json(fact)
        case list():
            return [_fact_from_json(each) for each in fact]
        case _:
            return fact


def _in_words(fact: Any) -> Any:
    match fact:
        case datetime():
            return date_format(timezone.localtime(fact), "DATETIME_FORMAT")
        case date():
            return date_format(fact, "DATE_FORMAT")
        case list() | tuple():
            return " ".join(str(_in_words(each)) for each in fact)
        case _:
            return fact


def sentence_of(label: object) -> Sentence:
    """The sentence of a label that is put into words when it is shown, such as a choice's."""
    with translation.override(None):
        message = str(label)
    return gettext(message)
