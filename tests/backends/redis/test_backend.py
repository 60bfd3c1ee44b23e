"""The Redis backend keeps the contract, over many nodes, and leaves nothing behind."""

import asyncio
import gc
import os
import random
import subprocess
import sys
import uuid
import weakref
from collections import Counter
from dataclasses import replace

import pytest

from pm_realtime.backends.base import Admission
from pm_realtime.backends.redis import RedisBackend, scripts
from pm_realtime.exceptions import BackendError
from tests.backends.redis.support import FAST, TIMINGS, environment
from tests.contracts.backend import NOTHING, BackendContract, add_all, ids_of, info
from tests.support.helpers import eventually, running_tasks

#: The timing of a node whose process is killed as soon as it has written.
KILLED = replace(FAST, renew_interval=3600)


def keys_of(client):
    return sorted(client.scan_iter("*", count=1000))


class TestRedisBackend(BackendContract):
    @pytest.fixture
    def backend(self, url):
        return RedisBackend()

    @pytest.fixture
    def others(self, backend):
        return [RedisBackend(), RedisBackend()]

    # --- over many nodes

    async def test_all_nodes_give_the_same_answer(self, backend, others):
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

    async def test_oldest_connection_is_counted_out_on_any_node(self, backend, others):
        await add_all(backend, "a")
        await add_all(others[0], "b")
        await backend.join("a", "room", capacity=None)
        assert await add_all(others[1], "c", limit=2) == [Admission(True, ("a",))]
        assert await ids_of(backend) == ["b", "c"]
        assert (await backend.get_stats())["roomStats"] == {}
        await backend.remove("a")
        assert (await others[0].get_stats())["totalConnections"] == 2

    async def test_connections_of_the_same_moment_are_sorted_by_arrival(self, backend, others):
        connection = info("z")
        for each, id in ((others[1], "z"), (backend, "y"), (others[0], "x")):
            same = type(connection)(
                connection_id=id, user_id="ann", role="user", connected_at=connection.connected_at
            )
            await each.add(same, limit=5, policy="refuse")
        assert await ids_of(backend) == ["z", "y", "x"]

    async def test_concurrent_anonymous_connections_on_many_nodes_keep_the_limit(
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
    async def test_concurrent_connections_on_many_nodes_keep_the_limit(
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

    async def test_concurrent_joins_on_many_nodes_keep_the_capacity(self, backend, others):
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

    # --- keys, leases and sockets

    async def test_redis_has_no_key_once_all_connections_are_gone(self, backend, others, client):
        nodes = dict(zip("abc", (backend, *others), strict=True))
        for name, each in nodes.items():
            await add_all(each, name, user_id=uuid.uuid4().hex)
            await each.join(name, "room", capacity=10)
        assert keys_of(client)
        for name, each in nodes.items():
            await each.remove(name)
        assert keys_of(client) == []

    async def test_refused_first_connection_leaves_nothing(self, backend, others, client):
        await add_all(others[0], "a", limit=1, policy="refuse")
        (answer,) = await add_all(backend, "b", limit=1, policy="refuse")
        assert not answer.admitted
        await others[0].remove("a")
        assert keys_of(client) == []
        assert running_tasks() == {asyncio.current_task()}

    async def test_all_keys_have_the_prefix_and_an_expiry(self, backend, client):
        await add_all(backend, "a")
        await backend.join("a", "room", capacity=10)
        keys = keys_of(client)
        assert len(keys) == 3
        for key in keys:
            assert key.startswith("pm_realtime:{asgi}:")
            assert 0 < client.pttl(key) <= TIMINGS.lease * 1000

    async def test_released_node_is_gone_at_once(self, backend, others, client):
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

    async def test_killed_node_vanishes_with_its_lease(self, backend, client):
        dead = RedisBackend(KILLED)
        await add_all(dead, "d1", "d2")
        await add_all(backend, "a")
        for each, id in ((dead, "d1"), (dead, "d2"), (backend, "a")):
            await each.join(id, "room", capacity=3)
        await add_all(backend, "b")
        assert await backend.join("b", "room", capacity=3) is False
        await asyncio.sleep(KILLED.lease + 0.2)
        assert await ids_of(backend) == ["a", "b"]
        assert await backend.get_connection("d1") is None
        assert (await backend.get_stats())["totalConnections"] == 2
        assert await backend.join("b", "room", capacity=2) is True
        (answer,) = await add_all(backend, "c", limit=3, policy="refuse")
        assert answer.admitted
        assert len(keys_of(client)) == 3

    async def test_killed_last_node_leaves_no_key(self, url, client):
        dead = RedisBackend(KILLED)
        await add_all(dead, "d1")
        await asyncio.sleep(KILLED.lease / 2)
        await dead.join("d1", "room", capacity=None)
        await asyncio.sleep(KILLED.lease + 0.2)
        assert keys_of(client) == []

    async def test_killed_process_vanishes_with_its_lease(self, backend, client, url):
        code = (
            "import asyncio, django; django.setup()\n"
            "from pm_realtime.backends import RedisBackend\n"
            "from tests.backends.redis.support import FAST\n"
            "from tests.contracts.backend import add_all\n"
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

    async def test_living_node_keeps_its_lease(self, url):
        alive, asked = RedisBackend(FAST), RedisBackend()
        await add_all(alive, "a")
        await alive.join("a", "room", capacity=None)
        await asyncio.sleep(FAST.lease * 3)
        assert (await asked.get_stats())["roomStats"] == {"room": 1}
        await alive.remove("a")

    @pytest.mark.slow
    async def test_renewal_costs_the_same_for_ten_and_a_thousand_connections(self, url, client):
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
            await backend.release()
            per_renewal = {
                name: stat["calls"] / renewals
                for name, stat in stats.items()
                if not name.startswith(("cmdstat_info", "cmdstat_config"))
            }
            return renewals, per_renewal

        (few, per_few), (many, per_many) = await commands(10), await commands(1000)
        assert per_few == per_many
        assert abs(few - many) <= 1
        assert few <= 2 / 0.2 + 1

    async def test_loop_without_connections_keeps_no_socket(self, backend, client):
        before = len(client.client_list())
        await add_all(backend, "a")
        assert len(client.client_list()) > before
        await backend.remove("a")
        await eventually(lambda: len(client.client_list()) == before)

    async def test_connection_is_added_while_the_last_one_is_removed(self, backend, client, caplog):
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

    async def test_concurrent_changes_are_counted_exactly(self, backend, others, client):
        backends, ids = [backend, *others], []

        async def live(each, name, rng):
            for n in range(15):
                ids.append(id := f"{name}-{n}")
                await each.add(info(id, rng.choice("abcd")), limit=3, policy="close_oldest")
                for room in rng.sample("xyz", 2):
                    await each.join(id, room, capacity=4)
                if rng.random() < 0.3:
                    await each.leave(id, rng.choice("xyz"))
                if rng.random() < 0.7:
                    await each.remove(id)

        lives = (live(backends[n % 3], f"l{n}", random.Random(n)) for n in range(15))
        await asyncio.gather(*lives)
        found = [each for user in "abcd" for each in await backend.get_user_connections(user)]
        rooms = Counter(room for each in found for room in each.rooms)
        assert await backend.get_stats() == {
            "totalConnections": len(found),
            "authenticatedConnections": len(found),
            "totalRooms": len(rooms),
            "roomStats": dict(rooms),
        }
        assert max(rooms.values(), default=0) <= 4
        for each in backends:
            for id in ids:
                await each.remove(id)
        assert keys_of(client) == []

    async def test_backend_opens_at_most_four_sockets(self, backend, client):
        before = len(client.client_list())
        await asyncio.gather(*(add_all(backend, f"c{n}", user_id=None) for n in range(200)))
        assert len(client.client_list()) - before <= 4

    # --- loops, threads, processes

    def test_closed_loops_are_forgotten(self, backend, client, recwarn):
        loops = []

        async def live():
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await add_all(backend, "a")
            await backend.join("a", "room", capacity=1)
            stats = await backend.get_stats()
            assert stats["totalConnections"] == 1
            await backend.remove("a")

        gc.collect()
        recwarn.clear()  # Warnings about what earlier tests left.
        before = len(client.client_list())
        for _ in range(5):
            asyncio.run(live())
            assert asyncio.run(backend.get_stats()) == NOTHING
        assert backend.run(backend.get_stats()) == NOTHING
        gc.collect()
        assert [loop() for loop in loops] == [None] * 5
        assert len(client.client_list()) - before <= 1
        assert [str(warning.message) for warning in recwarn] == []

    def test_connections_vanish_with_their_loop(self, backend, client):
        asyncio.run(add_all(backend, "a", "b"))
        assert keys_of(client) == []

    def test_loop_closed_without_cleanup_does_no_harm(self, backend):
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(backend.get_stats()) == NOTHING
            loop.close()
        assert asyncio.run(backend.get_stats()) == NOTHING

    def test_threads_ask_through_one_loop(self, backend, client):
        before = len(client.client_list())

        async def ask():
            def stats():
                return [backend.run(backend.get_stats()) for _ in range(50)]

            return await asyncio.gather(*(asyncio.to_thread(stats) for _ in range(8)))

        assert asyncio.run(ask()) == [[NOTHING] * 50] * 8
        assert len(client.client_list()) - before <= 4

    def test_forked_child_opens_its_own_sockets(self, backend):
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
        """0 if a fork of this process is answered in both ways."""
        asyncio._set_running_loop(None)
        try:
            total = backend.run(backend.get_stats())["totalConnections"]
            total += asyncio.run(backend.get_stats())["totalConnections"]
            return 0 if total == 2 else 1
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            return 2

    def test_process_ends_without_output(self, url):
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

    def test_timeout_in_the_background_raises_backend_error(self, backend):
        async def time_out():
            raise TimeoutError

        with pytest.raises(BackendError, match="in time"):
            backend.run(time_out())

    async def test_cancelled_add_is_undone_by_remove(self, backend, client):
        await add_all(backend, "stays")
        for n in range(50):
            adding = asyncio.create_task(add_all(backend, f"c{n}", user_id=None))
            for _ in range(n % 10):
                await asyncio.sleep(0)
            adding.cancel()
            await asyncio.gather(adding, return_exceptions=True)
            await backend.remove(f"c{n}")
        assert (await backend.get_stats())["totalConnections"] == 1
        # The node's own copy, which it writes into a Redis that came back empty, has no more.
        client.delete(*client.scan_iter("pm_realtime:*"))
        await backend.join("stays", "room", capacity=None)
        assert (await backend.get_stats())["totalConnections"] == 1
