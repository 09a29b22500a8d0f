"""Every message that staff and shoppers can meet is translated, and the translations fit their messages."""

import re

import pytest
from django.utils import translation
from django.utils.translation import gettext

from tests.catalogues import LANGUAGES, catalogue_file, compiled, marked_messages, missing, read_catalogue

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd](?![\w ])|\{\w*\}")


@pytest.fixture(scope="module")
def marked():
    return marked_messages()


def test_messages_of_code_of_templates_and_of_unfold_are_found(marked) -> None:
    assert marked.get("Never bought what this coupon is for") is not None  # recommender/reasons.py
    assert marked.get("All runs of the campaign") is not None  # templates
    assert marked.get("%(count)s time").id == ("%(count)s time", "%(count)s times")
    assert marked.get("Search apps and models...") is not None  # Unfold's templates
    assert len(marked) > 1_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_left_untranslated(language: str, marked) -> None:
    assert [message.id for message in missing(read_catalogue(language), marked)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_translated_that_is_gone(language: str, marked) -> None:
    known = [message.id for message in read_catalogue(language) if message.id]
    assert [name for name in known if marked.get(name) is None and marked.get(name, None) is None] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_the_placeholders(language: str) -> None:
    wrong = []
    for message in read_catalogue(language):
        if not message.id:
            continue
        of_message = message.id[-1] if isinstance(message.id, tuple | list) else message.id
        strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
        wrong += [
            (message.id, string)
            for string in strings
            if sorted(PLACEHOLDER.findall(string)) != sorted(PLACEHOLDER.findall(of_message))
        ]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_django_reads_is_compiled_from_what_people_write(language: str) -> None:
    assert catalogue_file(language, compiled=True).read_bytes() == compiled(read_catalogue(language))


def test_a_reader_of_chinese_reads_chinese() -> None:
    with translation.override("zh-hans"):
        assert gettext("Home") == "首页"
        assert gettext("Never bought what this coupon is for") != "Never bought what this coupon is for"
