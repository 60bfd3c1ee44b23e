"""The Redis backend keeps the contract, over many nodes, and outlives what happens to Redis."""

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import replace

import pytest
import redis
from django.test import override_settings

from pm_realtime.backends import get_backend
from pm_realtime.backends.base import Admission
from pm_realtime.backends.redis import NodeTimings, RedisBackend, scripts
from pm_realtime.checks import check_settings
from pm_realtime.exceptions import BackendError
from tests.backends.contract import NOTHING, BackendContract, add_all, ids_of, info
from tests.integration.server import free_port
from tests.support.helpers import eventually
from tests.support.valkey import Valkey

PATH = "pm_realtime.backends.redis.RedisBackend"


@pytest.fixture(scope="session")
def shared_url():
    """``REDIS_URL``, or a server for all tests that leave it as it is."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    server = Valkey()
    yield server.url
    server.kill()


@pytest.fixture
def url(shared_url, settings, memory_layer):
    with redis.Redis.from_url(shared_url) as client:
        for key in client.scan_iter("pm_realtime:*"):
            client.delete(key)
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": shared_url}
    return shared_url


@pytest.fixture
def client(url):
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.fixture
def valkey(settings, memory_layer):
    """A server for one test."""
    server = Valkey()
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": server.url}
    yield server
    server.kill()


FAST = NodeTimings(lease=0.6, renew_interval=0.1, retry_interval=0.1, settling=0.5, timeout=0.5)
#: Those of a site.
TIMINGS = NodeTimings()


def environment(**keys):
    """Of another process with these settings."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TEST_PM_REALTIME": json.dumps({"BACKEND": PATH, **keys}),
    }


def keys_of(client):
    return sorted(client.scan_iter("*", count=1000))


def node_of(backend):
    (node,) = backend._nodes.values()
    return node


def kill(backend):
    """Let the lease run out, as that of a process that was killed does."""
    node_of(backend)._keeper.cancel()


class TestRedisBackend(BackendContract):
    @pytest.fixture
    def backend(self, url):
        return RedisBackend()

    @pytest.fixture
    def others(self, backend):
        return [RedisBackend(), RedisBackend()]

    # --- over many nodes

    async def test_all_nodes_give_one_answer(self, backend, others):
        second, third = others
        await add_all(backend, "a", user_id="ann")
        await add_all(second, "b", user_id="ann")
        await add_all(second, "n", user_id=None)
        await backend.join("a", "room", capacity=None)
        await second.join("b", "room", capacity=None)
        await second.join("b", "other", capacity=None)
        for asked in (backend, second, third):
            assert await ids_of(asked) == ["a", "b"]
            assert (await asked.get_connection("b")).rooms == ("room", "other")
            assert await asked.get_stats() == {
                "totalConnections": 3,
                "authenticatedConnections": 2,
                "totalRooms": 2,
                "roomStats": {"room": 2, "other": 1},
            }

    async def test_the_oldest_is_pushed_out_on_whichever_node_it_is(self, backend, others):
        await add_all(backend, "a")
        await add_all(others[0], "b")
        await backend.join("a", "room", capacity=None)
        assert await add_all(others[1], "c", limit=2) == [Admission(True, ("a",))]
        assert await ids_of(backend) == ["b", "c"]
        assert (await backend.get_stats())["roomStats"] == {}
        await backend.remove("a")
        assert (await others[0].get_stats())["totalConnections"] == 2

    async def test_of_one_moment_the_first_to_arrive_is_the_oldest(self, backend, others):
        connection = info("z")
        for each, id in ((others[1], "z"), (backend, "y"), (others[0], "x")):
            same = type(connection)(
                connection_id=id, user_id="ann", role="user", connected_at=connection.connected_at
            )
            await each.add(same, limit=5, policy="refuse")
        assert await ids_of(backend) == ["z", "y", "x"]

    async def test_of_many_anonymous_at_once_over_many_nodes_exactly_the_limit_is_admitted(
        self, backend, others
    ):
        backends = [backend, *others]
        await add_all(backend, "ann1", "ann2", user_id="ann")
        for limit in (5, 9, 30):
            answers = await asyncio.gather(
                *(
                    backends[n % 3].add(
                        info(f"{limit}-{n}", None), limit=limit, policy="close_oldest"
                    )
                    for n in range(40)
                )
            )
            assert all(answer.replaced == () for answer in answers)
            stats = await backend.get_stats()
            assert stats["totalConnections"] - stats["authenticatedConnections"] == limit

    @pytest.mark.parametrize("policy", ["close_oldest", "refuse"])
    async def test_of_many_at_once_over_many_nodes_exactly_the_limit_stays(
        self, backend, others, policy
    ):
        backends = [backend, *others]
        for user in map(str, range(50)):
            answers = await asyncio.gather(
                *(
                    backends[n % 3].add(info(f"{user}-{n}", user), limit=5, policy=policy)
                    for n in range(20)
                )
            )
            staying = await ids_of(backend, user)
            assert len(staying) == 5
            if policy == "refuse":
                assert sum(answer.admitted for answer in answers) == 5
            else:
                gone = [id for answer in answers for id in answer.replaced]
                assert sorted([*gone, *staying]) == sorted(f"{user}-{n}" for n in range(20))
        assert (await backend.get_stats())["totalConnections"] == 250

    async def test_a_room_never_holds_one_more_than_its_capacity(self, backend, others):
        backends = [backend, *others]
        for n in range(20):
            await add_all(backends[n % 3], f"c{n}", user_id=None)
        for room in map(str, range(50)):
            joined = await asyncio.gather(
                *(backends[n % 3].join(f"c{n}", room, capacity=10) for n in range(20))
            )
            assert sum(joined) == 10
        stats = await backend.get_stats()
        assert set(stats["roomStats"].values()) == {10}
        assert stats["totalRooms"] == 50

    # --- a life with Redis

    async def test_when_all_are_gone_redis_has_no_key_of_ours(self, backend, others, client):
        for each in (backend, *others):
            name = uuid.uuid4().hex
            await add_all(each, name, user_id=name)
            await each.join(name, "room", capacity=10)
        assert keys_of(client)
        for each in (backend, *others):
            for id in list(node_of(each)._connections):
                await each.remove(id)
        assert keys_of(client) == []

    async def test_a_refused_first_connection_leaves_nothing(self, backend, others, client):
        await add_all(others[0], "a", limit=1, policy="refuse")
        (answer,) = await add_all(backend, "b", limit=1, policy="refuse")
        assert not answer.admitted
        assert node_of(backend)._keeper is None
        await others[0].remove("a")
        assert keys_of(client) == []

    async def test_all_keys_have_our_prefix_one_hash_tag_and_an_expiry(self, backend, client):
        await add_all(backend, "a")
        await backend.join("a", "room", capacity=10)
        keys = keys_of(client)
        assert len(keys) == 3
        for key in keys:
            assert key.startswith("pm_realtime:{asgi}:")
            assert 0 < client.pttl(key) <= TIMINGS.lease * 1000

    async def test_a_node_that_is_released_is_gone_at_once(self, backend, others, client):
        await add_all(others[0], "stays")
        before = keys_of(client)
        await add_all(backend, "a", "b")
        await backend.join("a", "room", capacity=None)
        await backend.release()
        assert keys_of(client) == before
        for late in (backend.leave("a", "room"), backend.remove("a"), backend.remove("b")):
            await late
        assert keys_of(client) == before
        await backend.release()
        await add_all(backend, "c")
        assert await ids_of(others[0]) == ["stays", "c"]

    async def test_a_node_that_was_killed_vanishes_with_its_lease(self, backend, client):
        dead = RedisBackend(FAST)
        await add_all(dead, "d1", "d2")
        await add_all(backend, "a")
        for each, id in ((dead, "d1"), (dead, "d2"), (backend, "a")):
            await each.join(id, "room", capacity=3)
        await add_all(backend, "b")
        assert await backend.join("b", "room", capacity=3) is False
        kill(dead)
        await asyncio.sleep(FAST.lease + 0.2)
        assert await ids_of(backend) == ["a", "b"]
        assert await backend.get_connection("d1") is None
        assert (await backend.get_stats())["totalConnections"] == 2
        assert await backend.join("b", "room", capacity=2) is True
        (answer,) = await add_all(backend, "c", limit=3, policy="refuse")
        assert answer.admitted
        assert len(keys_of(client)) == 3

    async def test_of_a_last_node_that_was_killed_no_key_is_left(self, url, client):
        dead = RedisBackend(FAST)
        await add_all(dead, "d1")
        await asyncio.sleep(FAST.renew_interval * 2)
        await dead.join("d1", "room", capacity=None)
        kill(dead)
        await asyncio.sleep(FAST.lease + 0.2)
        assert keys_of(client) == []

    async def test_a_process_that_was_killed_vanishes_with_its_lease(self, backend, client, url):
        code = (
            "import asyncio, django; django.setup()\n"
            "from tests.backends.redis.test_backend import FAST, RedisBackend, add_all\n"
            "async def live():\n"
            "    backend = RedisBackend(FAST)\n"
            "    await add_all(backend, 'd1', 'd2')\n"
            "    await backend.join('d1', 'room', capacity=1)\n"
            "    print('ready', flush=True)\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(live())\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=environment(LOCATION=url), stdout=subprocess.PIPE
        )
        assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(FAST.lease * 1.5)
        await add_all(backend, "a")
        assert await backend.join("a", "room", capacity=1) is False
        assert await ids_of(backend) == ["d1", "d2", "a"]
        process.kill()
        await process.wait()
        await asyncio.sleep(FAST.lease + 0.1)
        assert await ids_of(backend) == ["a"]
        assert await backend.join("a", "room", capacity=1) is True
        assert len(keys_of(client)) == 3

    async def test_a_node_that_lives_keeps_its_lease(self, url):
        alive, asked = RedisBackend(FAST), RedisBackend()
        await add_all(alive, "a")
        await alive.join("a", "room", capacity=None)
        await asyncio.sleep(FAST.lease * 3)
        assert (await asked.get_stats())["roomStats"] == {"room": 1}
        await alive.remove("a")

    @pytest.mark.slow
    async def test_keeping_alive_costs_the_same_with_ten_and_with_a_thousand(self, url, client):
        async def commands(count):
            backend = RedisBackend(replace(FAST, renew_interval=0.2))
            for n in range(count):
                await backend.add(info(f"{count}-{n}", str(n)), limit=5, policy="refuse")
                await backend.join(f"{count}-{n}", f"room-{n % 50}", capacity=None)
            client.script_load(scripts.RENEW)
            client.config_resetstat()
            await asyncio.sleep(2)
            stats = client.info("commandstats")
            renewals = stats["cmdstat_evalsha"]["calls"]
            kill(backend)
            await backend.release()
            told = {
                name: stat["calls"] / renewals
                for name, stat in stats.items()
                if not name.startswith(("cmdstat_info", "cmdstat_config"))
            }
            return renewals, told

        (few, per_few), (many, per_many) = await commands(10), await commands(1000)
        assert per_few == per_many
        assert abs(few - many) <= 1
        assert few <= 2 / 0.2 + 1

    async def test_the_loop_of_the_last_connection_keeps_no_socket(self, backend, client):
        before = len(client.client_list())
        await add_all(backend, "a")
        assert len(client.client_list()) > before
        await backend.remove("a")
        await eventually(lambda: len(client.client_list()) == before)

    async def test_one_connection_may_come_while_the_last_one_goes(self, backend, client, caplog):
        await add_all(backend, "c0")
        for n in range(100):
            add = asyncio.create_task(add_all(backend, f"c{n + 1}"))
            for _ in range(n % 15):
                await asyncio.sleep(0)
            await asyncio.gather(backend.remove(f"c{n}"), backend.get_stats(), add)
            assert await ids_of(backend) == [f"c{n + 1}"]
        await backend.remove("c100")
        assert keys_of(client) == []
        assert caplog.records == []

    async def test_what_many_do_at_once_is_counted_exactly(self, backend, others, client):
        backends = [backend, *others]

        async def live(each, name, rng):
            for n in range(15):
                id = f"{name}-{n}"
                await each.add(info(id, rng.choice("abcd")), limit=3, policy="close_oldest")
                for room in rng.sample("xyz", 2):
                    await each.join(id, room, capacity=4)
                if rng.random() < 0.3:
                    await each.leave(id, rng.choice("xyz"))
                if rng.random() < 0.7:
                    await each.remove(id)

        lives = (live(backends[n % 3], f"l{n}", random.Random(n)) for n in range(15))
        await asyncio.gather(*lives)
        found = [info for user in "abcd" for info in await backend.get_user_connections(user)]
        rooms = Counter(room for info in found for room in info.rooms)
        assert await backend.get_stats() == {
            "totalConnections": len(found),
            "authenticatedConnections": len(found),
            "totalRooms": len(rooms),
            "roomStats": dict(rooms),
        }
        assert max(rooms.values(), default=0) <= 4
        for each in backends:
            for id in list(node_of(each)._connections):
                await each.remove(id)
        assert keys_of(client) == []

    async def test_no_more_connections_than_the_pool_holds(self, backend, client):
        before = len(client.client_list())
        await asyncio.gather(*(add_all(backend, f"c{n}", user_id=None) for n in range(200)))
        assert len(client.client_list()) - before <= 4

    # --- loops, threads, processes

    def test_loops_come_and_go(self, backend, client, recwarn):
        async def live():
            await add_all(backend, "a")
            await backend.join("a", "room", capacity=1)
            stats = await backend.get_stats()
            assert stats["totalConnections"] == 1
            await backend.remove("a")

        before = len(client.client_list())
        for _ in range(5):
            asyncio.run(live())
            assert asyncio.run(backend.get_stats()) == NOTHING
        assert len(backend._nodes) <= 1
        assert backend.run(backend.get_stats()) == NOTHING
        assert len(client.client_list()) - before <= 1
        assert [str(warning.message) for warning in recwarn] == []

    def test_a_loop_that_ends_with_connections_takes_them_along(self, backend, client):
        asyncio.run(add_all(backend, "a", "b"))
        assert keys_of(client) == []

    def test_a_loop_that_is_closed_without_a_word_is_forgotten(self, backend):
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(backend.get_stats()) == NOTHING
            loop.close()
        assert asyncio.run(backend.get_stats()) == NOTHING

    def test_many_threads_ask_through_one_loop(self, backend, client):
        before = len(client.client_list())

        async def ask():
            def stats():
                return [backend.run(backend.get_stats()) for _ in range(50)]

            return await asyncio.gather(*(asyncio.to_thread(stats) for _ in range(8)))

        assert asyncio.run(ask()) == [[NOTHING] * 50] * 8
        assert len(client.client_list()) - before <= 4

    def test_a_forked_child_asks_with_sockets_of_its_own(self, backend):
        assert backend.run(backend.get_stats()) == NOTHING

        async def in_parent():
            await add_all(backend, "a")
            child = os.fork()
            if child == 0:
                os._exit(self.ask_in_child(backend))
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert await ids_of(backend) == ["a"]
            await backend.join("a", "room", capacity=1)
            return (await backend.get_stats())["roomStats"]

        assert asyncio.run(in_parent()) == {"room": 1}
        assert backend.run(backend.get_stats()) == NOTHING

    def ask_in_child(self, backend):
        """0 where a fork of this process is answered, in two ways."""
        asyncio._set_running_loop(None)
        try:
            total = backend.run(backend.get_stats())["totalConnections"]
            total += asyncio.run(backend.get_stats())["totalConnections"]
            return 0 if total == 2 else 1
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            return 2

    def test_a_process_ends_without_a_word(self, url):
        code = (
            "import asyncio, django; django.setup()\n"
            "from pm_realtime.backends import get_backend\n"
            "backend = get_backend()\n"
            "print(backend.run(backend.get_stats())['totalConnections'])\n"
            "print(asyncio.run(backend.get_stats())['totalConnections'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", code],
            env=environment(LOCATION=url),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("0\n0\n", "")

    def test_timeout_in_background_is_backend_error(self, backend):
        async def time_out():
            raise TimeoutError

        with pytest.raises(BackendError, match="in time"):
            backend.run(time_out())

    async def test_a_caller_that_is_cancelled_leaves_nothing_that_remove_does_not(self, backend):
        await add_all(backend, "stays")
        for n in range(50):
            adding = asyncio.create_task(add_all(backend, f"c{n}", user_id=None))
            for _ in range(n % 10):
                await asyncio.sleep(0)
            adding.cancel()
            await asyncio.gather(adding, return_exceptions=True)
            await backend.remove(f"c{n}")
        assert (await backend.get_stats())["totalConnections"] == 1
        assert list(node_of(backend)._connections) == ["stays"]


# --- Redis goes away


async def test_when_redis_comes_back_empty_all_is_written_anew(valkey, caplog):
    caplog.set_level(logging.INFO, "pm_realtime.connection")
    first, second = RedisBackend(FAST), RedisBackend(FAST)
    await add_all(first, "a", "b", user_id="ann")
    await add_all(second, "c", user_id="ann")
    await add_all(second, "n", user_id=None)
    for each, id, room in ((first, "a", "x"), (first, "a", "y"), (second, "c", "x")):
        await each.join(id, room, capacity=5)
    before = (await first.get_stats(), await first.get_user_connections("ann"))
    valkey.kill()
    await eventually(lambda: not node_of(first).is_written and not node_of(second).is_written)
    for action in (
        lambda: first.join("b", "x", capacity=5),
        first.get_stats,
        lambda: first.add(info("z"), limit=5, policy="refuse"),
    ):
        started = time.monotonic()
        with pytest.raises(BackendError, match=f"127.0.0.1:{valkey.port}"):
            await action()
        assert time.monotonic() - started < 0.1
    await asyncio.sleep(1)
    valkey.start()
    await eventually(lambda: node_of(first).is_written and node_of(second).is_written)
    assert (await second.get_stats(), await second.get_user_connections("ann")) == before
    lines = [record.getMessage() for record in caplog.records]
    lost, back = lines
    assert "Lost the shared state" in lost
    assert "Back after" in back
    await first.remove("a")
    assert (await second.get_stats())["roomStats"] == {"x": 1}


@pytest.mark.parametrize("empties", [True, False])
async def test_limits_hold_where_redis_comes_back_empty(valkey, empties):
    first, second = RedisBackend(FAST), RedisBackend(FAST)
    await add_all(first, "a", user_id=None)
    await add_all(second, "b", "c", user_id="ann")
    await add_all(second, "n", user_id=None)
    for id in "bc":
        assert await second.join(id, "room", capacity=2)
    if empties:
        with valkey.client() as client:
            client.flushall()
    else:
        valkey.kill()
        valkey.start()
    await first.remove("nobody")  # This one is the first to notice.
    await eventually(lambda: not node_of(first).is_written or node_of(first)._generation > 1)
    await eventually(lambda: node_of(first).is_written)
    assert await first.join("a", "room", capacity=2) is False
    (admission,) = await add_all(first, "d", user_id="ann", limit=2, policy="refuse")
    assert not admission.admitted
    (admission,) = await add_all(first, "e", user_id=None, limit=2)
    assert not admission.admitted
    assert (await first.get_stats())["roomStats"] == {"room": 2}


async def test_one_pushed_out_by_another_node_is_named_to_its_own_where_it_was_not_told(valkey):
    first, second = RedisBackend(FAST), RedisBackend(FAST)
    told = []
    first.on_evicted = told.append
    await add_all(first, "a", "b", user_id="ann")
    await first.remove("b")
    (admission,) = await add_all(second, "c", user_id="ann", limit=1)
    assert admission.replaced == ("a",)
    await eventually(lambda: told == ["a"])
    assert list(node_of(first)._connections) == []


async def test_what_left_while_redis_was_away_is_gone_when_it_is_back(valkey, caplog):
    backend = RedisBackend(FAST)
    await add_all(backend, "a", "b", "c")
    for id in "abc":
        await backend.join(id, "room", capacity=None)
    with valkey.frozen():
        await asyncio.gather(backend.remove("a"), backend.leave("b", "room"))
    await eventually(lambda: node_of(backend).is_written)
    assert await ids_of(backend) == ["b", "c"]
    assert (await backend.get_stats())["roomStats"] == {"room": 1}


@pytest.mark.parametrize("empties", ["flush", "one"])
async def test_a_lost_lease_is_noticed_by_the_next_write(valkey, empties):
    backend = RedisBackend()
    await add_all(backend, "a")
    await backend.join("a", "room", capacity=None)
    with redis.Redis.from_url(valkey.url) as client:
        if empties == "flush":
            client.flushall()
        else:
            client.delete(f"pm_realtime:{{asgi}}:node:{node_of(backend)._id}")
        await add_all(backend, "b")
        assert await ids_of(backend) == ["a", "b"]
        assert (await backend.get_stats())["roomStats"] == {"room": 1}


async def test_a_frozen_redis_holds_nobody_up(valkey, caplog):
    backend = RedisBackend()
    await add_all(backend, "a")
    with valkey.frozen():
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


def test_a_thread_is_answered_in_time_by_a_frozen_redis(valkey):
    backend = RedisBackend()
    with valkey.frozen():
        started = time.monotonic()
        with pytest.raises(BackendError):
            backend.run(backend.get_stats())
        assert time.monotonic() - started < TIMINGS.timeout + 0.5


async def test_without_redis_all_raises_backend_error(settings):
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
    assert node_of(backend)._keeper is None


@pytest.mark.slow
async def test_what_arrives_late_changes_nothing(valkey):
    """Commands that a frozen server read before it was stopped are carried out when it goes on."""
    backend = RedisBackend(FAST)
    await add_all(backend, "a")
    for n in range(5):
        with valkey.frozen():
            adding = asyncio.create_task(add_all(backend, f"late{n}", user_id=None))
            with pytest.raises(BackendError):
                await adding
            await backend.remove(f"late{n}")
            await asyncio.sleep(0.3)
        await eventually(lambda: node_of(backend).is_written)
        await asyncio.sleep(0.1)
        assert (await backend.get_stats())["totalConnections"] == 1


# --- the address

SENTINEL = {"sentinels": [("127.0.0.1", 26379)], "master_name": "main"}


def layer(*hosts, path="channels_redis.pubsub.RedisPubSubChannelLayer"):
    return {"default": {"BACKEND": path, "CONFIG": {"hosts": list(hosts)}}}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("redis://one:1234/2", "one:1234"),
        ("rediss://:secret@one/2?socket_timeout=30", "one:6379"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock"),
        (("one", 1234), "one:1234"),
        (["one", 1234], "one:1234"),
        ({"address": "redis://one:1", "password": "secret", "socket_timeout": None}, "one:1"),
        ({"host": "one", "port": 5, "db": 3}, "one:5"),
        (SENTINEL, "main"),
        ({**SENTINEL, "sentinel_kwargs": {"password": "secret"}}, "main"),
    ],
)
async def test_a_host_of_the_layer_is_read_as_channels_redis_reads_it(settings, host, address):
    settings.CHANNEL_LAYERS = layer(host, "redis://second:1")
    settings.PM_REALTIME = {}
    backend = RedisBackend()
    assert backend.check() == []
    node = await backend._node()
    assert node._client.address == address
    pool, *sentinels = [pool.connection_kwargs for pool in node._client._pools]
    for name in ("socket_timeout", "socket_connect_timeout"):
        assert pool[name] == TIMINGS.timeout
        assert sum(sentinel[name] for sentinel in sentinels) < TIMINGS.timeout


async def test_a_unix_socket_and_a_dict_reach_the_server(settings, tmp_path):
    path = tmp_path / "valkey.sock"
    server = Valkey("--unixsocket", str(path), "--requirepass", "secret")
    port = server.port
    try:
        settings.PM_REALTIME = {}
        for host in (
            f"unix://:secret@{path}",
            f"redis://:secret@127.0.0.1:{port}/1",
            {"host": "127.0.0.1", "port": port, "password": "secret"},
            {"address": f"redis://127.0.0.1:{port}", "password": "secret"},
        ):
            settings.CHANNEL_LAYERS = layer(host)
            backend = RedisBackend()
            await add_all(backend, "a")
            assert await ids_of(backend) == ["a"]
            await backend.remove("a")
        settings.CHANNEL_LAYERS = layer(("127.0.0.1", port))
        with pytest.raises(BackendError, match=r"(?i)auth"):
            await RedisBackend().get_stats()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("setting", "channel_layers", "word"),
    [
        ({"LOCATION": "localhost:6379"}, {}, "redis://"),
        ({"LOCATION": "redis://host:port"}, {}, "port"),
        ({}, {}, "is not set"),
        ({}, layer({"bogus": 1}), "bogus"),
        ({}, layer("http://host"), "redis://"),
        ({}, {"default": {**layer()["default"], "CONFIG": {"hosts": "redis://host"}}}, "list"),
        ({}, layer(("host",)), "1 of the two"),
        ({}, layer({"master_name": "main"}), "sentinels"),
        ({}, layer(6379), "6379"),
    ],
)
async def test_an_address_that_cannot_be_read_is_a_check_error(
    settings, setting, channel_layers, word
):
    settings.PM_REALTIME = {"BACKEND": PATH, **setting}
    settings.CHANNEL_LAYERS = channel_layers
    (message,) = get_backend().check()
    assert message.id == "pm_realtime.E016"
    assert word in message.msg
    with pytest.raises(BackendError):
        await get_backend().get_stats()


async def test_a_config_that_is_no_dict_is_an_error_of_the_backend(settings):
    settings.PM_REALTIME = {}
    settings.CHANNEL_LAYERS = {"default": {**layer()["default"], "CONFIG": ["x"]}}
    assert get_backend().check() == []  # The check of the layer says it.
    with pytest.raises(BackendError, match="must be a dict"):
        await get_backend().get_stats()


def test_a_location_of_a_wrong_type_is_reported_once(settings):
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": 6379}
    assert [message.id for message in check_settings()] == ["pm_realtime.E003"]


async def test_sites_with_layers_of_different_prefixes_do_not_see_each_other(shared_url, settings):
    path = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.PM_REALTIME = {}
    backends = []
    for prefix in ("one", "two"):
        config = {"hosts": [shared_url], "prefix": prefix}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": path, "CONFIG": config}}
        backends.append(get_backend())
        await add_all(backends[-1], f"of-{prefix}", user_id="1", limit=1)
    for backend, prefix in zip(backends, ("one", "two"), strict=True):
        (found,) = await backend.get_user_connections("1")
        assert found.connection_id == f"of-{prefix}"
        await backend.remove(f"of-{prefix}")


def test_a_layer_without_hosts_means_localhost(settings):
    settings.PM_REALTIME = {}
    settings.CHANNEL_LAYERS = layer()
    assert RedisBackend().check() == []


def test_without_the_package_redis_a_check_says_what_to_install(monkeypatch):
    for module in ("backend", "client"):
        monkeypatch.setattr(f"pm_realtime.backends.redis.{module}.is_installed", False)
    (message,) = RedisBackend().check()
    assert message.id == "pm_realtime.E015"
    assert "pm-realtime[redis]" in message.hint
    with pytest.raises(BackendError, match="package redis"):
        asyncio.run(RedisBackend().get_stats())


def test_the_module_imports_without_the_package_redis():
    code = (
        "import sys; sys.modules['redis'] = None; sys.modules['redis.asyncio'] = None\n"
        "import django; django.setup()\n"
        "from pm_realtime.backends import get_backend\n"
        "print([message.id for message in get_backend().check()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "['pm_realtime.E015']\n", done.stderr


def test_a_change_of_location_makes_a_new_backend(url):
    before = get_backend()
    with override_settings(PM_REALTIME={"BACKEND": PATH, "LOCATION": "redis://other"}):
        assert get_backend() is not before
