"""Calls of tabs that share one socket, in a real Chromium with a real server."""

import contextlib
import sqlite3

import pytest

from tests.integration.conftest import OPEN
from tests.integration.devtools import until
from tests.integration.server import Server
from tests.integration.shared_tabs import browse
from tests.support.helpers import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]

APPLICATION = "tests.site.command_asgi:application"
CALLS = 12
START_CALLS = """
window.results = 0;
window.realtime.on("result", () => { window.results += 1; });
window.calls = Promise.all(Array.from({ length: COUNT }, (_, number) => {
  const payload = { text: `NAME ${100 + number}`, seconds: 0.03 };
  return window.realtime.call("wait", payload, { room: "open" });
}));
"started"
"""
VOLATILE = "window.seen.filter(({ payload }) => payload.volatile).map(({ payload }) => payload)"
SEND_VOLATILE = (
    "window.realtime.sendToRoom('open', { x: 1 }, { volatile: true }).then(() => 'sent')"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    with Server("uvicorn", folder, settings=OPEN, application=APPLICATION) as server:
        yield server


def notes(server, name):
    """The texts of one tab that commands have saved, in order."""
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        rows = database.execute("SELECT text FROM site_note ORDER BY id")
        return [text for (text,) in rows if text.startswith(name)]


async def test_calls_are_carried_out_once_and_in_order_over_leaders(server, chromium):
    async with browse(chromium, server) as tabs:
        user = await tabs.visit("/sign-in/anna/")
        await tabs.open_many(4, "open", key=user)
        expected = {}
        for name, tab in zip(("one", "two"), tabs.open_tabs[-2:], strict=True):
            await tab.evaluate(START_CALLS.replace("NAME", name).replace("COUNT", str(CALLS)))
            expected[name] = [f"{name} {100 + number}" for number in range(CALLS)]
        for count, end in [(3, "close"), (8, "crash")]:
            await eventually(lambda count=count: len(notes(server, "one")) >= count)
            await getattr(await tabs.take_leader(), end)()
        assert await tabs.each("window.calls") == list(expected.values())
        assert {name: notes(server, name) for name in expected} == expected
        # Each tab has its own results, and those only.
        assert await tabs.each("window.results") == [CALLS, CALLS]
        assert await tabs.each("window.closes") == [[], []]
        assert await tabs.sockets() == 1


async def test_volatile_message_reaches_the_other_tabs_of_the_room(server, chromium):
    async with browse(chromium, server) as tabs:
        await tabs.visit("/sign-in/anna/")
        await tabs.open_many(2, "open")
        await tabs.open("")
        first, second, outside = tabs.open_tabs
        await until(tabs.leader, "one leader")
        for tab in (first, second):
            assert await tab.evaluate(SEND_VOLATILE) == "sent"
        await tabs.server.aget("/push/?room=open&payload=1")
        for tab in (first, second):
            await tab.wait("window.seen.some(({ type }) => type === 'pushed')")
            [message] = await tab.evaluate(VOLATILE)
            assert message["content"] == {"x": 1}
        assert await outside.evaluate(VOLATILE) == []
