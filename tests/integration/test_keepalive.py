"""A process keeps its connections alive, also while they are idle or Valkey is frozen."""

import asyncio
import collections
import contextlib
import time

import pytest
import redis

from tests.integration.client import Listener, connect
from tests.integration.traffic import ROOMS, until_end_of_outage_is_logged
from tests.support.helpers import eventually

#: Of a busy machine. A wait for Valkey takes three times as long at least.
MAX_PONG_SECONDS = 0.5
FREEZE_SECONDS = 20
#: More than the socket_timeout of redis-py 8, which is 5 s.
IDLE_SECONDS = 30
COUNTING_SECONDS = 10
#: The most commands in a second that a process sends to Valkey for itself.
MAX_COMMANDS_PER_SECOND = 12
PUSH_TIMEOUT_SECONDS = 5


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.parametrize("layer", ["pubsub", "core"])
async def test_pings_are_answered_promptly_while_valkey_is_frozen(cluster, valkey, layer):
    servers = cluster("uvicorn", "daphne", layer=layer, ROOMS=ROOMS)
    async with contextlib.AsyncExitStack() as stack:

        async def member(server):
            listener = await stack.enter_async_context(connect(server, kind=Listener))
            await listener.ask("subscribe", {"room": "open"})
            return listener

        groups = [[await member(server) for _ in range(3)] for server in servers]
        with valkey.frozen():
            end = time.monotonic() + FREEZE_SECONDS
            message = {"room": "open", "content": 1}
            async with asyncio.TaskGroup() as tasks:
                for idle, sending, joining in groups:
                    tasks.create_task(keep_pinging(idle, end))
                    tasks.create_task(ping_behind_commands(sending, end, "message", message))
                    tasks.create_task(
                        ping_behind_commands(joining, end, "subscribe", {"room": "own:1"})
                    )
        await until_pushes_reach_all(servers, [each for group in groups for each in group])
        for server in servers:
            await until_end_of_outage_is_logged(server)


async def keep_pinging(listener, end):
    while time.monotonic() < end:
        await ping(listener)
        await asyncio.sleep(0.02)


async def ping_behind_commands(listener, end, type, payload):
    """Ping right behind commands that need Valkey, and until they are refused."""
    pings_while_waiting = 0
    while time.monotonic() < end:
        command = asyncio.create_task(listener.ask(type, payload))
        await asyncio.sleep(0)
        await ping(listener)
        while not command.done():
            await ping(listener)
            pings_while_waiting += 1
            await asyncio.sleep(0.02)
        assert command.result()["payload"]["code"] == "INTERNAL_ERROR"
        await asyncio.sleep(0.1)
    assert pings_while_waiting > 10


async def ping(listener):
    began = time.monotonic()
    assert (await listener.ask("ping"))["type"] == "pong"
    seconds = time.monotonic() - began
    assert seconds < MAX_PONG_SECONDS


async def until_pushes_reach_all(servers, listeners):
    """Wait until a push from each server reaches all ``listeners``."""
    for server in servers:
        async with asyncio.timeout(PUSH_TIMEOUT_SECONDS):
            while (await server.aget("/push/?room=open")).body != "sent":
                await asyncio.sleep(0.05)
    counts = [len(listener.of_type("pushed")) for listener in listeners]
    for server in servers:
        assert (await server.aget("/push/?room=open")).body == "sent"
    await eventually(
        lambda: all(
            len(listener.of_type("pushed")) >= count + len(servers)
            for listener, count in zip(listeners, counts, strict=True)
        )
    )


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.timeout(240)
@pytest.mark.parametrize("layer", ["pubsub", "core"])
def test_cost_does_not_grow_with_idle_connections(cluster, valkey, gather_crowd, layer):
    (server,) = cluster("uvicorn", layer=layer, SHUTDOWN_PERIOD=1)
    gather_crowd(server, size=100, count=1)
    few = commands_in(valkey, COUNTING_SECONDS)
    gather_crowd(server, size=4900, count=1)
    assert server.get("/stats/").json()["totalConnections"] == 5000
    many = commands_in(valkey, COUNTING_SECONDS)
    # The counts may differ by one lease renewal, one liveness probe and the query of the stats.
    assert 0 < many.total() < few.total() * 1.25
    assert many.total() < COUNTING_SECONDS * MAX_COMMANDS_PER_SECOND


def commands_in(valkey, seconds):
    """Count the commands that Valkey carries out in the next ``seconds``."""
    before = command_counts(valkey)
    time.sleep(seconds)
    return command_counts(valkey) - before


def command_counts(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        found = client.info("commandstats")
    return collections.Counter(
        {
            name: each["calls"]
            for name, each in found.items()
            if name not in ("cmdstat_info", "cmdstat_client|setinfo")
        }
    )


@pytest.mark.slow
async def test_idle_process_gets_every_push_although_reads_time_out(cluster, valkey):
    """redis-py 8 closes a silent socket after 5 s, which is how long RedisChannelLayer blocks."""
    servers = cluster("uvicorn", "daphne", layer="core")
    assert "pm_realtime.W004" in servers[0].run("check").stderr
    async with connect(servers[0]) as here, connect(servers[1]) as there:
        await here.subscribe("open")
        await there.subscribe("open")
        await asyncio.sleep(IDLE_SECONDS)
        for server in servers:
            await server.aget("/burst/?room=open&count=50")
            for client in (here, there):
                assert [(await client.receive())["payload"]["n"] for _ in range(50)] == [*range(50)]
        for client in (here, there):
            assert (await client.ask("ping"))["type"] == "pong"
    for server in servers:
        assert server.log == ""
