"""The connections of a killed process soon leave all counts."""

import asyncio
import contextlib

import pytest

from tests.integration.client import Listener, connect

#: The longest time until a killed process has left all counts.
LEASE_SECONDS = 15
POLL_SECONDS = 0.2


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["pubsub", "core"])
async def test_connections_of_a_killed_process_free_their_slots(cluster, layer):
    servers = cluster(
        "uvicorn",
        "daphne",
        "uvicorn",
        layer=layer,
        ROOMS={"four": {"public": True, "max_connections": 4}, "open": {"public": True}},
    )
    *others, doomed = servers
    cookies = doomed.make_sessions("user", "editor")
    async with contextlib.AsyncExitStack() as stack:

        async def member(server, cookie=None):
            listener = await stack.enter_async_context(connect(server, cookie, kind=Listener))
            await listener.ask("subscribe", {"room": "open"})
            return listener

        killed = [await member(doomed, cookies["user"]) for _ in range(3)]
        staying = [await member(server, cookies["editor"]) for server in others]
        waiting = [await member(server) for server in others for _ in range(2)]
        for listener in (*killed, staying[0]):
            assert await join(listener) == "subscribed"
        assert await join(waiting[0]) == "ROOM_FULL"
        gone, stays = (each[0].connected["payload"]["userId"] for each in (killed, staying))
        assert await is_online(others[0], gone)

        doomed.kill()
        for server in others:
            assert (await server.aget("/burst/?room=open&count=50")).body == "sent"
        async with asyncio.timeout(LEASE_SECONDS):
            for server in others:
                await until_counts(server, total=6, authenticated=2, rooms={"four": 1, "open": 6})
                while await is_online(server, gone):
                    await asyncio.sleep(POLL_SECONDS)
            for listener in waiting[:3]:
                assert await join(listener) == "subscribed"
        assert await join(waiting[3]) == "ROOM_FULL"
        for server in others:
            assert await is_online(server, stays)
        for listener in (*staying, *waiting):
            assert [each["n"] for each in listener.of_type("burst")] == [*range(50)] * 2
    assert [server.log for server in others] == ["", ""]


async def join(listener):
    answer = await listener.ask("subscribe", {"room": "four"})
    return answer["payload"].get("code", answer["type"])


async def is_online(server, user):
    return (await server.aget(f"/online/?user={user}")).json()


async def until_counts(server, total, authenticated, rooms):
    expected = {
        "totalConnections": total,
        "authenticatedConnections": authenticated,
        "totalRooms": len(rooms),
        "roomStats": rooms,
    }
    while (await server.aget("/stats/")).json() != expected:
        await asyncio.sleep(POLL_SECONDS)
