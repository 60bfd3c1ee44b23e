"""The tables, examples and links of docs/presence.md agree with the code."""

import ast
import inspect
import json
import re
from dataclasses import fields

import pytest

import pm_realtime
from pm_realtime import signals
from pm_realtime.conf import PresenceOptions, parse_rate, room_of
from pm_realtime.conf.presence import MAX_GRACE_SECONDS
from pm_realtime.connection.rates import STATE_RATE
from pm_realtime.protocol import MAX_STATE_BYTES, MAX_STATE_TTL_SECONDS, ErrorCode
from pm_realtime.rooms.presence_info import MAX_INFO_BYTES
from pm_realtime.testing import RealtimeCommunicator
from tests.support.node import ROOT

PAGE = ROOT / "docs" / "presence.md"
TEXT = PAGE.read_text()
BLOCKS = {
    (action, name): text
    for action, name, text in re.findall(
        r"<!-- (\w+): (\S+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL
    )
}
MAX_LINES_OF_A_HOW_TO = 25


def section(heading):
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ", 1)[0]


def tables(heading):
    """The rows of each table of a section, without its head."""
    found = re.findall(r"(?:^\|.*\n)+", section(heading), re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in found
    ]


def envelopes():
    return list(map(json.loads, re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)))


@pytest.mark.parametrize(
    "blocks",
    [
        [("append", "mysite/settings.py"), ("template", "viewers")],
        [("append", "mysite/settings.py"), ("template", "typing")],
    ],
)
def test_how_tos_are_short(blocks):
    lines = [line for block in blocks for line in BLOCKS[block].splitlines()]
    assert len(lines) < MAX_LINES_OF_A_HOW_TO


def test_table_of_options_has_each_with_its_default():
    (rows,) = tables("Options")
    found = {name.strip("`"): ast.literal_eval(value.strip("`")) for name, value, _ in rows}
    assert found == {each.name: each.default for each in fields(PresenceOptions)}


def test_example_of_options_is_valid(settings):
    rooms = ast.literal_eval(f"{{{BLOCKS['options', 'desk']}}}")
    settings.PM_REALTIME = {"ROOMS": rooms}
    assert room_of("support:books").options.presence.see == "editor"


def test_members_of_the_envelopes_have_the_fields_of_the_table():
    (rows,) = tables("Members")
    named = {row[0].strip("`") for row in rows}
    subscribed, changed = envelopes()
    (first,) = subscribed["payload"]["presence"]["members"]
    (second,) = changed["payload"]["joined"]
    for member in first, second:
        assert member.keys() | {"state"} == named
    assert changed["payload"]["prev"] == subscribed["payload"]["presence"]["rev"]


def test_codes_exist():
    codes = {row[0].strip("`") for row in tables("On the wire")[-1]}
    assert len(codes) == 4
    assert codes <= set(ErrorCode)


def test_bounds_are_those_of_the_server():
    count = parse_rate(STATE_RATE).count
    assert f"over {count} states a second" in TEXT
    assert f"rate of their own, {count} a second" in TEXT
    assert TEXT.count(f"{MAX_STATE_BYTES:,} bytes") == 2
    assert f"up to {MAX_STATE_TTL_SECONDS:,} " in TEXT
    assert f"{MAX_INFO_BYTES // 1024} KB at most" in TEXT
    assert f"0 to {MAX_GRACE_SECONDS}" in TEXT


def test_functions_and_signals_are_those_of_the_package():
    calls, named_signals = tables("In your code")
    for row in calls:
        name, arguments = re.fullmatch(r"`(\w+)\((.+)\)`", row[0]).groups()
        count = len(inspect.signature(getattr(pm_realtime, name)).parameters)
        assert count == len(arguments.split(", "))
        assert f"`a{name}`" in TEXT
    for row in named_signals:
        assert hasattr(signals, row[0].strip("`"))


def test_tools_for_tests_have_these_arguments():
    assert "users" in inspect.signature(RealtimeCommunicator.assert_presence).parameters


def test_checks_are_those_of_the_package():
    source = "".join(each.read_text() for each in (ROOT / "pm_realtime").rglob("*.py"))
    found = [row[0].strip("`").partition(".")[2] for row in tables("System checks")[0]]
    assert found == ["E037", "E038"]
    assert [id for id in found if id not in source] == []
