"""The browser client, in Node, and the commands of a real server."""

import contextlib
import sqlite3

import pytest

from tests.integration.chaos.network import Network
from tests.integration.conftest import OPEN
from tests.integration.page import opened
from tests.integration.server import Server
from tests.support.helpers import eventually

APPLICATION = "tests.site.command_asgi:application"
SINGLE = {**OPEN["ROOMS"]["open"], "max_connections": 1}
SETTINGS = {"ROOMS": {**OPEN["ROOMS"], "single": SINGLE}, "RATE_LIMIT": "1000/s"}
#: A page with functions for its calls.
CALLS = """
page.call = (type, payload) => page.realtime.call(type, payload, { room: "open" });
page.read = (call) => call.catch(({ code, path, data, room }) => ({ code, path, data, room }));
"""
#: The server may not have heard yet that the room is free.
JOIN_SINGLE = """
const join = () => page.realtime.subscribe("single").catch(join);
await join();
"""


@pytest.fixture(scope="module", params=["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    with Server(request.param, folder, settings=SETTINGS, application=APPLICATION) as server:
        yield server


@contextlib.asynccontextmanager
async def page_in_room(network, name="page"):
    async with opened(f"{network.ws_url}?client={name}") as page:
        code = "page.seen = page.listen('message', 'open'); page.realtime.connect();"
        await page.run(f"{CALLS}{code} await page.realtime.subscribe('open')")
        yield page


def notes(server):
    """The texts that commands have saved, in order."""
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        return [text for (text,) in database.execute("SELECT text FROM site_note ORDER BY id")]


async def test_call_is_answered_with_a_result_or_an_error(server):
    async with Network([server.port]) as network, page_in_room(network) as page:
        found = await page.run("return await page.call('note.write', { text: 'hello' })")
        assert found["text"] == "hello"
        assert await page.run("return [await page.realtime.call('nothing')]") == [None]
        refused = "return await page.read(page.call('note.write', {}))"
        for content, expected in [
            ("{ text: 'refused' }", {"code": "NOT_NOW", "path": None, "data": {"until": 5}}),
            ("{ text: 5 }", {"code": "INVALID_PAYLOAD", "path": "text", "data": None}),
            ("'hello'", {"code": "INVALID_PAYLOAD", "path": "", "data": None}),
        ]:
            answer = await page.run(refused.replace("{}", content))
            assert {key: answer[key] for key in expected} == expected
        await page.run("await page.realtime.unsubscribe('open')")
        outside = await page.run(refused.replace("{}", "{ text: 'hello' }"))
        assert (outside["code"], outside["room"]) == ("NOT_IN_ROOM", "open")


async def test_call_whose_answer_is_lost_is_carried_out_once_and_resolves(server):
    async with Network([server.port]) as network, page_in_room(network) as page:
        for number in range(3):
            text = f"lost {number}"
            network.stall(["page"])
            await page.run(f"page.sent = page.call('note.write', {{ text: {text!r} }})")
            await eventually(lambda text=text: text in notes(server))
            network.abort(["page"])
            assert (await page.run("return await page.sent"))["text"] == text
            assert notes(server).count(text) == 1


async def test_calls_of_a_room_keep_their_order_over_lost_connections(server):
    async with Network([server.port]) as network, page_in_room(network) as page:
        await page.run(
            "page.calls = Array.from({ length: 30 }, (_, number) =>"
            " page.call('wait', { text: `turn ${100 + number}`, seconds: 0.03 }))"
        )
        for number in (104, 111, 118):
            await eventually(lambda text=f"turn {number}": text in notes(server))
            network.abort(["page"])
        expected = [f"turn {number}" for number in range(100, 130)]
        assert await page.run("return await Promise.all(page.calls)") == expected
        assert [text for text in notes(server) if text.startswith("turn")] == expected


async def test_volatile_message_reaches_the_others_and_not_its_sender(server):
    async with (
        Network([server.port]) as network,
        page_in_room(network) as page,
        page_in_room(network, "other") as other,
    ):
        sending = "return await page.realtime.sendToRoom('open', {}, { volatile: true }) ?? 'sent'"
        assert await page.run(sending.replace("{}", "{ x: 1 }")) == "sent"
        await page.run("await page.realtime.sendToRoom('open', 'plain')")
        await other.run("await page.until(() => page.seen.length === 2)")
        assert await page.run("return page.seen.map(({ content }) => content)") == ["plain"]
        seen = await other.run(
            "return page.seen.map(({ content, volatile }) => [content, volatile])"
        )
        assert seen == [[{"x": 1}, True], ["plain", None]]


async def test_call_waits_until_its_room_has_space_for_the_page_again(server):
    async with (
        Network([server.port]) as network,
        page_in_room(network) as page,
        page_in_room(network, "other") as other,
    ):
        await page.run("await page.realtime.subscribe('single')")
        network.cut(["page"])
        network.abort(["page"])
        await other.run(JOIN_SINGLE)
        code = "page.realtime.call('single.write', { text: 'waited' }, { room: 'single' })"
        await page.run(f"page.errors = []; page.sent = {code}")
        await page.run("page.realtime.on('error', ({ payload }) => page.errors.push(payload.code))")
        network.heal(["page"])
        await page.run("await page.until(() => page.errors.includes('NOT_IN_ROOM'))")
        await other.run("await page.realtime.unsubscribe('single')")
        assert await page.run("return await page.sent") == "waited"
        assert notes(server).count("waited") == 1
