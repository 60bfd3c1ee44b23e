"""Options of the browser client: valid values and the spelling in JavaScript."""

import re
from math import inf, nan
from uuid import UUID

import pytest
from django.utils.functional import lazystr

from pm_realtime.conf import as_javascript, describe_fault
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
        ("persist", ["own", "all", False]),
        ("debug", [True, False]),
    ],
)
def test_valid_and_missing_values_have_no_fault(name, values):
    for value in (*values, None, ""):
        assert describe_fault({name: value}) is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("auto_connect", [0, 1, "True"]),
        ("max_reconnect_attempts", [-1, -inf, nan, 2.0, "5", False]),
        ("reconnect_delay", [-0.5, inf, nan, True, "500"]),
        ("url", [True, b"/ws", ["/ws"]]),
        ("protocols", [True, {"mine"}, ["a", ""], ["a", "b", "a"], "mine,other", "schön", "a\n"]),
        ("shared", [1.5, b"anna", {"id": 7}]),
        ("persist", [True, 0, "none", ["own"]]),
    ],
)
def test_fault_names_option_value_and_valid_values(name, values):
    expected, _ = CLIENT_OPTIONS[name]
    for value in values:
        assert describe_fault({name: value}) == f"{name}={value!r}; it must be {expected}."


def test_first_of_several_faults_is_described():
    faulty = {"debug": True, "url": 5, "no_such_option": 1, "shared": []}
    assert describe_fault(faulty).startswith("url=5; ")
    assert describe_fault({}) is None


def test_options_are_those_of_the_client():
    declared = (ROOT / "pm_realtime/static/pm_realtime/client.d.ts").read_text()
    options = declared.split("export interface RealtimeOptions {", 1)[1].split("\n}", 1)[0]
    known = set(re.findall(r"^  (\w+)\?:", options, re.MULTILINE))
    # A class cannot be named in a template.
    assert set(as_javascript(dict.fromkeys(CLIENT_OPTIONS, True))) == known - {"WebSocket"}


def test_none_is_a_value_of_max_reconnect_attempts_only():
    none = dict.fromkeys(CLIENT_OPTIONS)
    assert as_javascript(none) == {"maxReconnectAttempts": None}
    assert as_javascript(dict.fromkeys(CLIENT_OPTIONS, "")) == {}
