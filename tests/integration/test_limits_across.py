"""Limits hold to the number however many ask at the same moment, over all processes."""

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
SEATS = 10


@contextlib.asynccontextmanager
async def sixty_at_once(servers):
    """60 sockets of one user that open at the same moment, a third on each server."""
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
    """How many sockets are open (None), and were closed with which code."""
    return collections.Counter(socket.close_code for socket in sockets)


async def test_of_sixty_at_once_exactly_five_stay_where_the_oldest_are_closed(cluster):
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


async def test_of_sixty_at_once_exactly_five_are_accepted_where_more_are_refused(cluster):
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
    async with asyncio.timeout(5):
        while json.loads(await socket.recv())["type"] != "pong":
            pass


async def total(server):
    return (await server.aget("/stats/")).json()["totalConnections"]


async def test_limits_and_counts_are_of_all_servers_together(cluster):
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


async def test_a_room_of_ten_never_holds_eleven(cluster):
    room = {"public": True, "max_connections": SEATS}
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
        await come_and_go(listeners)
        counted.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counted


async def keep_counting(servers):
    while True:
        for server in servers:
            stats = (await server.aget("/stats/")).json()["roomStats"]
            assert stats.get("ten", 0) <= SEATS


async def fill_and_empty(servers, listeners):
    """All ask at once for a seat: ten get one, and give it back."""
    outcomes = await asyncio.gather(*map(take_seat, listeners))
    seated = [each for each, outcome in zip(listeners, outcomes, strict=True) if outcome]
    assert len(seated) == SEATS
    found = (await random.choice(servers).aget("/stats/")).json()
    assert found["roomStats"] == {"ten": SEATS}
    await asyncio.gather(*map(leave_seat, seated))


async def take_seat(listener):
    answer = await listener.ask("subscribe", {"room": "ten"})
    assert answer["type"] == "subscribed" or answer["payload"]["code"] == "ROOM_FULL"
    return answer["type"] == "subscribed"


async def leave_seat(listener):
    assert (await listener.ask("unsubscribe", {"room": "ten"}))["type"] == "unsubscribed"


async def come_and_go(listeners):
    """Seats change hands: who has been told ``subscribed`` and has not asked to leave has one."""
    seated = set()

    async def move(listener):
        for _ in range(20):
            if await take_seat(listener):
                seated.add(listener)
                assert len(seated) <= SEATS
                await asyncio.sleep(0)
                seated.remove(listener)
                await leave_seat(listener)

    await asyncio.gather(*map(move, listeners))
