"""Limits hold exactly over all processes, also if many connections ask at the same moment."""

import asyncio
import collections
import contextlib
import json
import random

import pytest
import websockets

from tests.integration.client import Listener, connect
from tests.support.helpers import eventually

pytestmark = pytest.mark.slow

KINDS = ("uvicorn", "uvicorn", "daphne")
ROOM_SIZE = 10
PONG_TIMEOUT_SECONDS = 5


@contextlib.asynccontextmanager
async def sixty_at_once(servers):
    """Open 60 sockets of one user at the same moment, a third of them on each server."""
    headers = {"Cookie": servers[0].make_sessions("user")["user"]}
    opening = [
        websockets.connect(server.ws_url, additional_headers=headers)
        for server in servers
        for _ in range(20)
    ]
    sockets = await asyncio.gather(*opening)
    yield sockets
    await asyncio.gather(*(socket.close() for socket in sockets))


def codes(sockets):
    """Count the sockets by their close codes; the code of an open one is None."""
    return collections.Counter(socket.close_code for socket in sockets)


async def test_five_of_sixty_simultaneous_connections_stay_if_the_oldest_are_closed(cluster):
    servers = cluster(*KINDS)
    async with sixty_at_once(servers) as sockets:
        with contextlib.suppress(TimeoutError):
            await eventually(lambda: codes(sockets)[4502] == 55)
        assert codes(sockets) == {4502: 55, None: 5}
        assert await asyncio.gather(*map(total, servers)) == [5, 5, 5]
        assert codes(sockets) == {4502: 55, None: 5}
        for socket in sockets:
            if socket.close_code is None:
                await assert_alive(socket)


async def test_five_of_sixty_simultaneous_connections_are_accepted_if_more_are_refused(cluster):
    servers = cluster(*KINDS, CONNECTION_LIMIT_POLICY="refuse")
    async with sixty_at_once(servers) as sockets:
        await eventually(lambda: codes(sockets)[4505] == 55)
        assert await asyncio.gather(*map(total, servers)) == [5, 5, 5]
        assert codes(sockets) == {4505: 55, None: 5}
        for socket in sockets:
            if socket.close_code is None:
                assert json.loads(await socket.recv())["type"] == "connected"
                await assert_alive(socket)
            else:
                with pytest.raises(websockets.ConnectionClosed):
                    await socket.recv()


async def assert_alive(socket):
    await socket.send(json.dumps({"type": "ping", "timestamp": 0}))
    async with asyncio.timeout(PONG_TIMEOUT_SECONDS):
        while json.loads(await socket.recv())["type"] != "pong":
            pass


async def total(server):
    return (await server.aget("/stats/")).json()["totalConnections"]


async def test_limits_and_counts_cover_all_servers(cluster):
    first, second = cluster(
        "uvicorn", "daphne", ROOMS={"pair": {"public": True, "max_connections": 2}}
    )
    cookie = first.make_sessions("user")["user"]
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(server, cookie))
            for server in (first, second, first, second, first, second)
        ]
        assert await clients[0].closed() == 4502
        await clients[1].subscribe("pair")
        await clients[2].subscribe("pair")
        assert (await clients[3].subscribe("pair"))["payload"]["code"] == "ROOM_FULL"
        for server in (first, second):
            stats = (await server.aget("/stats/")).json()
            assert stats["totalConnections"] == stats["authenticatedConnections"] == 5
            assert stats["roomStats"] == {"pair": 2}


async def test_room_never_exceeds_max_connections(cluster):
    room = {"public": True, "max_connections": ROOM_SIZE}
    servers = cluster(*KINDS, ROOMS={"ten": room})
    async with contextlib.AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(connect(server, kind=Listener))
            for server in servers
            for _ in range(10)
        ]
        counted = asyncio.create_task(keep_counting(servers))
        for _ in range(50):
            await fill_and_empty(servers, listeners)
        await join_and_leave(listeners)
        counted.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counted


async def keep_counting(servers):
    while True:
        for server in servers:
            stats = (await server.aget("/stats/")).json()["roomStats"]
            assert stats.get("ten", 0) <= ROOM_SIZE


async def fill_and_empty(servers, listeners):
    """Let all connections join at once: ten get in, and leave again."""
    outcomes = await asyncio.gather(*map(join, listeners))
    members = [each for each, outcome in zip(listeners, outcomes, strict=True) if outcome]
    assert len(members) == ROOM_SIZE
    found = (await random.choice(servers).aget("/stats/")).json()
    assert found["roomStats"] == {"ten": ROOM_SIZE}
    await asyncio.gather(*map(leave, members))


async def join(listener):
    answer = await listener.ask("subscribe", {"room": "ten"})
    assert answer["type"] == "subscribed" or answer["payload"]["code"] == "ROOM_FULL"
    return answer["type"] == "subscribed"


async def leave(listener):
    assert (await listener.ask("unsubscribe", {"room": "ten"}))["type"] == "unsubscribed"


async def join_and_leave(listeners):
    """Let all connections join and leave by turns; the members never exceed the size."""
    members = set()

    async def repeat(listener):
        for _ in range(20):
            if await join(listener):
                members.add(listener)
                assert len(members) <= ROOM_SIZE
                await asyncio.sleep(0)
                members.remove(listener)
                await leave(listener)

    await asyncio.gather(*map(repeat, listeners))
