"""The browser client, in Node, and a real server: what is sent and asked for over a lost wire."""

import asyncio
import contextlib

import pytest

from tests.integration.chaos.network import Network
from tests.integration.client import connect
from tests.integration.page import opened


@contextlib.asynccontextmanager
async def page_in_room(server):
    """A page behind a network that can be cut, and what it saw of the room ``open``."""
    async with (
        Network([server.port]) as network,
        opened(f"{network.ws_url}?client=page") as page,
    ):
        code = "page.seen = page.listen('pushed', 'open'); page.realtime.connect();"
        await page.run(f"{code} await page.realtime.subscribe('open')")
        yield network, page


async def push(server, numbers):
    for number in numbers:
        assert (await server.aget(f"/push/?room=open&payload={number}")).body == "sent"


async def test_message_whose_answer_is_lost_is_in_the_room_once_and_resolves(serve):
    server = serve("uvicorn")
    async with page_in_room(server) as (network, page), connect(server) as other:
        await other.subscribe("open")
        for number in range(3):
            network.stall(["page"])
            sent = f"page.realtime.sendToRoom('open', {number}).then(({{ type }}) => type)"
            await page.run(f"page.sent = {sent}")
            message = await other.receive()
            assert message["payload"]["content"] == number
            network.abort(["page"])
            assert await page.run("return await page.sent") in ("ack", "message")
        await push(server, [0])
        assert (await other.receive())["type"] == "pushed"


@pytest.mark.slow
async def test_second_part_of_a_page_gets_the_past_while_messages_come_in(serve):
    server = serve("uvicorn")
    async with page_in_room(server) as (_, page):
        await push(server, range(30))
        pushing = asyncio.create_task(push(server, range(30, 90)))
        code = "page.late = page.listen('pushed', 'open');"
        await page.run(f"{code} await page.realtime.subscribe('open', {{ last: 20 }})")
        await pushing
        await page.run("await page.until(() => page.late.includes(89))")
        assert await page.run("return page.seen") == list(range(90))
        late = await page.run("return page.late")
        assert late == list(range(late[0], 90))
        assert late[0] >= 10


async def miss(network, server, numbers):
    """Push ``numbers`` to the room while the page has no connection."""
    network.cut(["page"])
    await push(server, numbers)
    network.abort(["page"])
    network.heal(["page"])


@pytest.mark.slow
async def test_page_gets_what_it_missed_or_is_told_of_a_gap(serve):
    server = serve("uvicorn", RECOVERY_SIZE=3)
    async with page_in_room(server) as (network, page):
        await push(server, range(5))
        await page.run("await page.until(() => page.seen.includes(4))")
        await miss(network, server, range(5, 8))
        await page.run("await page.until(() => page.seen.includes(7))")
        assert await page.run("return page.seen") == list(range(8))
        assert await page.run("return page.gaps") == []
        await miss(network, server, range(8, 15))
        await page.run("await page.until(() => page.seen.includes(14))")
        assert await page.run("return page.seen") == [*range(8), 12, 13, 14]
        assert await page.run("return page.gaps") == [{"room": "open"}]
