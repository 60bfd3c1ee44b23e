"""The tables and examples of docs/delivery.md agree with the code."""

import re

import pytest
from django.http import HttpResponse

from pm_realtime import get_cursor, realtime_room
from pm_realtime.conf import OPTION_NAMES, Conf, conf, retention_of, room_of
from pm_realtime.layer import expect_sockets
from pm_realtime.testing import RealtimeCommunicator
from tests.support.node import ROOT

PAGE = ROOT / "docs" / "delivery.md"
TEXT = PAGE.read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def section(heading):
    return TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(heading):
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def block_with(text):
    (found,) = [block for block in PYTHON if text in block]
    return found


def test_sizes_are_the_defaults_of_the_settings():
    found = {name: default for name, default, _ in rows("Sizes and times")}
    defaults = {name: str(setting.default) for name, setting in Conf.settings().items()}
    settings = {name: default for name, default in found.items() if name.isupper()}
    assert settings == {name: defaults[name] for name in settings}
    options = [name.removesuffix("` of a room") for name in found if not name.isupper()]
    assert set(options) == {"history", "history_ttl"} <= set(OPTION_NAMES)


def test_settings_of_the_chat_are_valid(settings):
    exec(block_with("PM_REALTIME"), found := {})
    settings.PM_REALTIME = found["PM_REALTIME"]
    assert conf.ROOMS
    assert retention_of(room_of("support")) == (200, 604_800)


def test_view_takes_the_position(memory_layer, rf):
    expect_sockets()
    source = block_with("def project")
    assert '@realtime_room("project:{pk}")' in source
    compile(source, "delivery.md", "exec")
    before = get_cursor("project:42")
    view = realtime_room("project:{pk}")(lambda request, pk: HttpResponse())
    view(request := rf.get("/"), pk=42)
    assert request.realtime_cursors == {"project:42": before}


@pytest.mark.parametrize("name", ["test_break", "test_too_late"])
async def test_tests_of_the_page_pass(user, name):
    exec(block_with("def test_break"), found := {})
    await found[name](user)


def test_methods_for_tests_exist():
    for names, _ in rows("Tests"):
        name = re.match(r"\w+", names)[0]
        assert hasattr(RealtimeCommunicator, name) or name in ("recovered", "received")
