"""A node outlives the outages of Redis, and its state is complete afterwards."""

import asyncio
import logging
import time

import pytest

from pm_realtime.backends.redis import RedisBackend
from pm_realtime.exceptions import BackendError
from tests.backends.redis.support import FAST, TIMINGS, node_of
from tests.contracts.backend import add_all, ids_of, info
from tests.integration.server import free_port
from tests.support.helpers import eventually, running_tasks


async def test_state_is_written_again_into_an_empty_redis(server, caplog):
    caplog.set_level(logging.INFO, "pm_realtime.connection")
    first, second = RedisBackend(FAST), RedisBackend(FAST)
    await add_all(first, "a", "b", user_id="ann")
    await add_all(second, "c", user_id="ann")
    await add_all(second, "n", user_id=None)
    for each, id, room in ((first, "a", "x"), (first, "a", "y"), (second, "c", "x")):
        await each.join(id, room, capacity=5)
    before = (await first.get_stats(), await first.get_user_connections("ann"))
    server.kill()
    await eventually(lambda: not node_of(first).is_written and not node_of(second).is_written)
    for action in (
        lambda: first.join("b", "x", capacity=5),
        first.get_stats,
        lambda: first.add(info("z"), limit=5, policy="refuse"),
    ):
        started = time.monotonic()
        with pytest.raises(BackendError, match=f"127.0.0.1:{server.port}"):
            await action()
        assert time.monotonic() - started < 0.1
    await asyncio.sleep(1)
    server.start()
    await eventually(lambda: node_of(first).is_written and node_of(second).is_written)
    assert (await second.get_stats(), await second.get_user_connections("ann")) == before
    lines = [record.getMessage() for record in caplog.records]
    lost, back = lines
    assert "Lost the shared state" in lost
    assert "Back after" in back
    await first.remove("a")
    assert (await second.get_stats())["roomStats"] == {"x": 1}


@pytest.mark.parametrize("empties", [True, False])
async def test_limits_hold_after_redis_came_back_empty(server, empties):
    first, second = RedisBackend(FAST), RedisBackend(FAST)
    await add_all(first, "a", user_id=None)
    await add_all(second, "b", "c", user_id="ann")
    await add_all(second, "n", user_id=None)
    for id in "bc":
        assert await second.join(id, "room", capacity=2)
    if empties:
        with server.client() as client:
            client.flushall()
    else:
        server.kill()
        server.start()
    await first.remove("nobody")  # This one is the first to notice.
    await eventually(lambda: node_of(first).is_written)
    assert await first.join("a", "room", capacity=2) is False
    (admission,) = await add_all(first, "d", user_id="ann", limit=2, policy="refuse")
    assert not admission.admitted
    (admission,) = await add_all(first, "e", user_id=None, limit=2)
    assert not admission.admitted
    assert (await first.get_stats())["roomStats"] == {"room": 2}


async def test_node_learns_of_its_evicted_connection_with_the_next_renewal(server):
    first, second = RedisBackend(FAST), RedisBackend(FAST)
    evicted = []
    first.on_evicted = evicted.append
    await add_all(first, "a", "b", user_id="ann")
    await first.remove("b")
    (admission,) = await add_all(second, "c", user_id="ann", limit=1)
    assert admission.replaced == ("a",)
    await eventually(lambda: evicted == ["a"])
    assert await ids_of(second) == ["c"]


async def test_connection_removed_during_an_outage_is_gone_afterwards(server, caplog):
    backend = RedisBackend(FAST)
    await add_all(backend, "a", "b", "c")
    for id in "abc":
        await backend.join(id, "room", capacity=None)
    with server.frozen():
        await asyncio.gather(backend.remove("a"), backend.leave("b", "room"))
    await eventually(lambda: node_of(backend).is_written)
    assert await ids_of(backend) == ["b", "c"]
    assert (await backend.get_stats())["roomStats"] == {"room": 1}


@pytest.mark.parametrize("empties", ["flush", "one"])
async def test_next_write_notices_a_lost_lease(server, empties):
    backend = RedisBackend()
    await add_all(backend, "a")
    await backend.join("a", "room", capacity=None)
    with server.client() as client:
        if empties == "flush":
            client.flushall()
        else:
            (lease,) = set(client.scan_iter("*:node:*")) - set(client.scan_iter("*:rooms"))
            client.delete(lease)
        await add_all(backend, "b")
        assert await ids_of(backend) == ["a", "b"]
        assert (await backend.get_stats())["roomStats"] == {"room": 1}


async def test_frozen_redis_delays_no_caller_beyond_the_timeout(server, caplog):
    backend = RedisBackend()
    await add_all(backend, "a")
    with server.frozen():
        started = time.monotonic()
        answers = await asyncio.gather(
            *(backend.join("a", f"r{n}", capacity=5) for n in range(20)),
            *(backend.add(info(f"c{n}"), limit=5, policy="refuse") for n in range(20)),
            *(backend.get_stats() for _ in range(20)),
            *(backend.get_connection("a") for _ in range(20)),
            return_exceptions=True,
        )
        assert time.monotonic() - started < 2 * TIMINGS.timeout + 0.5
        assert all(isinstance(answer, BackendError) for answer in answers), answers
        started = time.monotonic()
        with pytest.raises(BackendError):
            await backend.get_stats()
        assert time.monotonic() - started < 0.1
    await eventually(lambda: node_of(backend).is_written)
    assert await ids_of(backend) == ["a"]
    assert (await backend.get_stats())["totalRooms"] == 0
    assert len(caplog.records) == 2


def test_frozen_redis_delays_no_thread_beyond_the_timeout(server):
    backend = RedisBackend()
    with server.frozen():
        started = time.monotonic()
        with pytest.raises(BackendError):
            backend.run(backend.get_stats())
        assert time.monotonic() - started < TIMINGS.timeout + 0.5


async def test_every_method_raises_backend_error_without_redis(settings):
    settings.PM_REALTIME = {"LOCATION": f"redis://:secret@127.0.0.1:{free_port()}/0"}
    backend = RedisBackend()
    for action in (
        lambda: backend.add(info("a"), limit=5, policy="refuse"),
        lambda: backend.join("a", "room", capacity=5),
        lambda: backend.get_connection("a"),
        lambda: backend.get_user_connections("ann"),
        backend.get_stats,
    ):
        with pytest.raises(BackendError, match=r"127\.0\.0\.1") as raised:
            await action()
        assert "secret" not in str(raised.value)
    await backend.remove("a")
    await backend.leave("a", "room")
    assert running_tasks() == {asyncio.current_task()}


@pytest.mark.slow
async def test_late_write_changes_nothing(server):
    """A server that was frozen runs the commands that it had read before."""
    backend = RedisBackend(FAST)
    await add_all(backend, "a")
    for n in range(5):
        with server.frozen():
            adding = asyncio.create_task(add_all(backend, f"late{n}", user_id=None))
            with pytest.raises(BackendError):
                await adding
            await backend.remove(f"late{n}")
            await asyncio.sleep(0.3)
        await eventually(lambda: node_of(backend).is_written)
        await asyncio.sleep(0.1)
        assert (await backend.get_stats())["totalConnections"] == 1
