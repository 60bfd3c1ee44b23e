"""The tables and links of docs/commands.md agree with the code."""

import inspect
import json
import re
from decimal import Decimal
from typing import Annotated

import msgspec
import pytest

from pm_realtime import Command, command
from pm_realtime.protocol import ErrorCode, decode
from pm_realtime.schemas import InvalidPayload, payload_type
from pm_realtime.testing import RealtimeCommunicator, acall_command_handler, call_command_handler
from tests.support.node import ROOT

PAGE = ROOT / "docs" / "commands.md"
TEXT = PAGE.read_text()


def section(heading):
    return re.split(rf"\n##+ {heading}\n", TEXT)[1].split("\n## ", 1)[0]


def rows(heading):
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line[1:]) for line in lines if not line.startswith("|--")]
    return [[cell.strip() for cell in row] for row in cells]


def test_table_of_the_decorator_has_its_arguments_with_their_defaults():
    found = {row[0].strip("`"): row[1].strip("` ") for row in rows("The decorator")[1:]}
    found["atomic"] = found["atomic"].replace("True", "None")  # It is True for sync functions.
    parameters = inspect.signature(command).parameters.values()
    assert found == {
        each.name: ""
        if each.default is each.empty
        else f"{each.default:g}"
        if isinstance(each.default, float)
        else str(each.default)
        for each in parameters
    }


def test_table_of_the_request_has_what_a_command_has():
    found = {row[0].strip("`") for row in rows("The function")[1:]}
    assert found == {*Command.__struct_fields__} - {"is_volatile"}
    assert "request.is_volatile" in TEXT


def test_envelopes_are_those_of_the_protocol():
    texts = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    error, sent, result = map(json.loads, texts)
    command = decode(texts[1], max_bytes=65536)
    assert (command.type, command.room, command.id) == ("auction.bid", "auction:7", "c7")
    assert command.payload == sent["payload"]
    assert result.keys() == {"type", "id", "timestamp", "payload"}
    amount = Annotated[Decimal, msgspec.Meta(gt=0)]
    with pytest.raises(InvalidPayload) as refused:
        payload_type(msgspec.defstruct("Offer", [("amount", amount)])).convert({"amount": "-1"})
    found = error["payload"]
    assert (found["message"], found["path"]) == (refused.value.message, refused.value.path)


def test_codes_exist():
    named = {code for row in rows("Answers") for code in re.findall(r"`([A-Z_]+)`", row[0])}
    assert len(named) >= 8
    assert named <= set(ErrorCode)


def test_checks_are_those_of_the_package():
    source = "".join(each.read_text() for each in (ROOT / "pm_realtime").rglob("*.py"))
    found = [row[0].strip("`").partition(".")[2] for row in rows("System checks")[1:]]
    assert found == [*(f"E{number:03}" for number in range(29, 36)), "W036"]
    assert [id for id in found if id not in source] == []


def test_tools_for_tests_have_these_signatures():
    text = section("Tests")
    for tool in call_command_handler, acall_command_handler, RealtimeCommunicator.call:
        assert tool.__name__ in text
        for name in inspect.signature(tool).parameters:
            assert name in text or name in ("self", "timeout", "values")
