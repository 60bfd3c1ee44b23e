"""Texts that a site gives, as plain ones."""

import enum

import pytest
from django.db.models import TextChoices
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override

from pm_realtime.texts import plain_text, shown_text


class Mixed(str, enum.Enum):  # noqa: UP042 - Its `str()` is the name of the member.
    NOTICE = "notice"


class Modern(enum.StrEnum):
    NOTICE = "notice"


class Plain(enum.Enum):
    NOTICE = "notice"
    NUMBER = 1


class Choice(TextChoices):
    NOTICE = "notice", "A notice"


class Loud(str):
    def __str__(self):
        return self.upper()


@pytest.mark.parametrize(
    "value",
    [
        "notice",
        Mixed.NOTICE,
        Modern.NOTICE,
        Plain.NOTICE,
        Choice.NOTICE,
        Loud("notice"),
        mark_safe("notice"),
        format_html("{}", "notice"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_text_of_any_kind_becomes_a_plain_one(value):
    for text in (plain_text(value), shown_text(value)):
        assert text == "notice"
        assert type(text) is str


@pytest.mark.parametrize(
    "value", [None, 5, True, b"x", [], Plain.NUMBER, str, SimpleLazyObject(lambda: "x")], ids=repr
)
def test_other_values_are_no_text(value):
    assert plain_text(value) is None
    assert shown_text(value) is None


def test_lazy_translation_is_a_text_that_people_read_in_the_active_language():
    assert plain_text(gettext_lazy("Yes")) is None
    with override("de"):
        assert shown_text(gettext_lazy("Yes")) == "Ja"


def test_half_surrogate_is_shown_as_a_question_mark():
    assert plain_text("a\ud800") == "a\ud800"
    assert shown_text("a\ud800é") == "a?é"
