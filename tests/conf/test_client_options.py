"""What an option of the browser client may be, and how JavaScript spells it."""

import re
from math import inf, nan
from uuid import UUID

import pytest
from django.utils.functional import lazystr

from pm_realtime.conf import as_javascript, fault_of
from pm_realtime.conf.client_options import CLIENT_OPTIONS
from tests.support.node import ROOT


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("auto_connect", [True, False]),
        ("reconnect", [True, False]),
        ("max_reconnect_attempts", [0, 5, inf, None]),
        ("reconnect_delay", [0, 250, 0.5]),
        ("url", ["/ws", "wss://example.com/ws", lazystr("/ws")]),
        ("protocols", ["mine", ["mine", "v1.mine+x"], ("mine",), []]),
        ("shared", [True, False, 7, UUID(int=7), "anna", lazystr("anna")]),
        ("debug", [True, False]),
    ],
)
def test_an_option_may_be_what_it_can_be_or_not_be_given(name, values):
    for value in (*values, None, ""):
        assert fault_of({name: value}) is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("auto_connect", [0, 1, "True"]),
        ("max_reconnect_attempts", [-1, -inf, nan, 2.0, "5", False]),
        ("reconnect_delay", [-0.5, inf, nan, True, "500"]),
        ("url", [True, b"/ws", ["/ws"]]),
        ("protocols", [True, {"mine"}, ["a", ""], ["a", "b", "a"], "mine,other", "schön", "a\n"]),
        ("shared", [1.5, b"anna", {"id": 7}]),
    ],
)
def test_what_an_option_cannot_be_is_said_with_what_it_can(name, values):
    expected, _ = CLIENT_OPTIONS[name]
    for value in values:
        assert fault_of({name: value}) == f"{name}={value!r}; it must be {expected}."


def test_the_first_fault_of_several_is_said():
    faulty = {"debug": True, "url": 5, "no_such_option": 1, "shared": []}
    assert fault_of(faulty).startswith("url=5; ")
    assert fault_of({}) is None


def test_the_options_are_those_of_the_client_in_the_spelling_of_python():
    declared = (ROOT / "pm_realtime/static/pm_realtime/client.d.ts").read_text()
    options = declared.split("export interface RealtimeOptions {", 1)[1].split("\n}", 1)[0]
    known = set(re.findall(r"^  (\w+)\?:", options, re.MULTILINE))
    # A class cannot be named in a template.
    assert set(as_javascript(dict.fromkeys(CLIENT_OPTIONS, True))) == known - {"WebSocket"}


def test_only_attempts_without_end_are_given_by_none():
    none = dict.fromkeys(CLIENT_OPTIONS)
    assert as_javascript(none) == {"maxReconnectAttempts": None}
    assert as_javascript(dict.fromkeys(CLIENT_OPTIONS, "")) == {}
