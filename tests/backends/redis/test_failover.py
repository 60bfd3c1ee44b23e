"""Sentinel promotes a replica, and a site on it recovers by itself."""

import asyncio
import signal
from contextlib import ExitStack, suppress

import pytest
import redis

from pm_realtime import aget_stats, asend_to_room, send_to_room
from pm_realtime.backends.redis import RedisBackend
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER
from tests.backends.redis.support import assert_pushes_arrive, until_heard_anew
from tests.contracts.backend import add_all, ids_of
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, errors_of, eventually
from tests.support.valkey import Sentinel, Valkey

SECRET = "secret"
PASSWORDS = ("--requirepass", SECRET, "--masterauth", SECRET)


def info_of(server):
    """The role of ``server``; empty if the sentinel has just closed all connections to it."""
    with suppress(redis.ConnectionError), server.client(password=SECRET) as client:
        return client.info("replication")
    return {}


@pytest.fixture
async def three():
    """A master, its replica that is up to date, and a client of the sentinel that knows both."""
    with ExitStack() as stack:

        def start(kind, *arguments):
            server = kind(*arguments)
            stack.callback(server.kill)
            return server

        master = start(Valkey, *PASSWORDS, "--repl-diskless-sync-delay", "0")
        replica = start(Valkey, *PASSWORDS, "--replicaof", "127.0.0.1", str(master.port))
        await eventually(lambda: info_of(replica).get("master_link_status") == "up")
        sentinel = start(Sentinel, master, f"sentinel auth-pass main {SECRET}")
        client = stack.enter_context(sentinel.client())
        await eventually(lambda: is_candidate(client.sentinel_slaves("main")))
        yield master, replica, client


def is_candidate(replicas):
    """Whether the sentinel has talked to the replica and would make it the master."""
    return [each["master-link-status"] for each in replicas] == ["ok"]


async def crash(master, replica, sentinel):
    master.kill()
    await eventually(lambda: info_of(replica).get("role") == "master", 20)


async def hang(master, replica, sentinel):
    """The master freezes: no socket is closed."""
    master.process.send_signal(signal.SIGSTOP)
    await eventually(lambda: info_of(replica).get("role") == "master", 20)


async def switch(master, replica, sentinel):
    """An operator switches servers; the sentinel demotes the old master eight seconds later."""
    sentinel.execute_command("SENTINEL FAILOVER", "main")
    await eventually(lambda: info_of(master).get("role") == "slave", 30)


async def until_done(step):
    """The answer of ``step``, once it raises no ``BackendError`` any more."""
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        while True:
            try:
                return await step()
            except BackendError:
                await asyncio.sleep(0.05)


async def until_subscribed(connection, room):
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        while (reply := await connection.ask("subscribe", {"room": room}))["type"] == "error":
            assert reply["payload"]["code"] == "INTERNAL_ERROR"
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("layer", "fail_over"),
    [
        (PUBSUB_LAYER, crash),
        (CORE_LAYER, crash),
        pytest.param(PUBSUB_LAYER, hang, marks=pytest.mark.slow),
        pytest.param(CORE_LAYER, hang, marks=pytest.mark.slow),
        pytest.param(PUBSUB_LAYER, switch, marks=pytest.mark.slow),
        pytest.param(CORE_LAYER, switch, marks=pytest.mark.slow),
    ],
)
async def test_pushes_and_counts_work_again_after_a_failover(three, use, layer, fail_over, caplog):
    master, replica, sentinel = three
    sentinels = [("127.0.0.1", sentinel.connection_pool.connection_kwargs["port"])]
    use(layer, {"sentinels": sentinels, "master_name": "main", "password": SECRET})
    other = RedisBackend()
    async with Connection() as connection:
        await connection.subscribe("room")
        await assert_pushes_arrive(connection, "room")
        await add_all(other, "other")
        await fail_over(master, replica, sentinel)
        await until_heard_anew(15)
        await until_done(lambda: asyncio.to_thread(send_to_room, "room", "afterwards"))
        await connection.assert_push("afterwards")
        await until_subscribed(connection, "another")
        for room in ("room", "another"):
            await until_done(lambda room=room: asend_to_room(room, "from-a-loop"))
            await connection.assert_push("from-a-loop")
        assert await until_done(lambda: ids_of(other)) == ["other"]
        assert (await aget_stats())["roomStats"] == {"room": 1, "another": 1}
        assert (await aget_stats())["totalConnections"] == 2
        await other.remove("other")
    for record in errors_of(caplog):
        assert record.name == "pm_realtime.connection"
    assert len(errors_of(caplog)) <= 2  # The layer and the counts, each where it noticed alone.
