"""The members of rooms in Redis, over many nodes, and what becomes of them if nodes are lost."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest

from pm_realtime.backends import Profile, get_backend, get_presence_store
from pm_realtime.backends.redis import RedisBackend
from pm_realtime.backends.redis.presence import RedisPresence
from pm_realtime.exceptions import BackendError
from pm_realtime.signals import arrived, departed
from tests.backends.redis.support import FAST
from tests.contracts.presence import PresenceContract
from tests.support.helpers import Connection, eventually

TIMINGS = replace(FAST, burial_delay=0.1, settling=0.3)
#: A node that does not renew its lease, as if its process were frozen or dead.
FROZEN = replace(TIMINGS, lease=60, renew_interval=3600)
GRACE_SECONDS = 0.3
PREFIX = "pm_realtime:{asgi}:presence:"


class _Store(RedisPresence):
    """Has its nodes forget, too."""

    def __init__(self):
        self._backends = [RedisBackend(TIMINGS), RedisBackend(TIMINGS)]
        self.others = self._backends[1].presence
        super().__init__(self._backends[0]._presence_node)

    async def forget_all(self):
        await self.others.forget_all()
        await super().forget_all()


class TestRedisPresence(PresenceContract):
    @pytest.fixture
    def store(self, url):
        return _Store()

    @pytest.fixture
    def others(self, store):
        return store.others

    @pytest.fixture
    def pass_time(self):
        return asyncio.sleep


@pytest.fixture
def stores(url):
    return [RedisBackend(TIMINGS).presence for _ in range(3)]


def profile_of(key, name=""):
    text = f'{{"userId":"{key}","info":{{"name":"{name}"}}}}'
    return Profile(key=key, user_id=key, text=text)


async def enter(store, connection_id, key="1", *, room="room", grace=GRACE_SECONDS, former_ids=()):
    return await store.enter(
        connection_id, room, profile_of(key), grace_seconds=grace, former_ids=former_ids
    )


async def enter_many(store, count, *, prefix="c", room="room", grace=GRACE_SECONDS):
    await asyncio.gather(
        *(enter(store, f"{prefix}{n}", str(n), room=room, grace=grace) for n in range(count))
    )


async def members_of(store, room="room"):
    """The members by key."""
    picture = await store.read(room, None, 10_000)
    return {member.profile.key: member for member in picture.members}


async def end_lease(client, store):
    client.delete((await store._find_node())._keys[2])


async def sweep_until(stores, is_enough, seconds=10):
    """The departures that all sweeps find until ``is_enough(found)``."""
    found, until = [], time.monotonic() + seconds
    while not is_enough(found) and time.monotonic() < until:
        for swept in await asyncio.gather(*(store.sweep() for store in stores)):
            found += swept.departures
        await asyncio.sleep(0.02)
    assert is_enough(found), found
    return found


async def sweep_for(stores, seconds):
    until = time.monotonic() + seconds
    return await sweep_until(stores, lambda _: time.monotonic() >= until)


def keys_of(client, pattern="*"):
    return {key.removeprefix(PREFIX) for key in client.scan_iter(f"{PREFIX}{pattern}")}


def test_store_in_use_is_that_of_the_backend(url):
    assert get_presence_store() is get_backend().presence


# Over many nodes


async def test_all_nodes_see_the_same_members(stores):
    first, second, third = stores
    assert (await enter(first, "a"))[1:] == (True, True)
    entry = await enter(second, "b")
    assert not entry.has_arrived
    assert entry.member.connections == 2
    for store in stores:
        assert list((await members_of(store)).values()) == [entry.member]
        assert await store.find_key("room", "a") == "1"
    assert await first.leave("a", "room", is_at_once=True) == (False, None)
    assert (await members_of(third))["1"].connections == 1
    assert (await second.leave("b", "room", is_at_once=True)).departure[:3] == ("room", "1", "1")
    assert await members_of(third) == {}


async def test_changes_of_one_moment_have_revs_of_their_own(stores):
    first, _, third = stores
    before = await third.read("room", None, 1000)
    await enter_many(first, 300)
    picture = await third.read("room", before.mark, 1000)
    assert not picture.is_whole
    assert len({member.profile.key for member in picture.members}) == 300
    await enter(first, "d", "7")
    again = await third.read("room", picture.mark, 1000)
    assert [(each.profile.key, each.connections) for each in again.members] == [("7", 2)]
    assert again.mark.rev > picture.mark.rev > 10**15


async def test_one_of_many_changes_in_a_moment_must_be_told(stores):
    entries = await asyncio.gather(*(enter(stores[n % 3], f"c{n}", str(n)) for n in range(60)))
    assert 1 <= sum(entry.must_tell for entry in entries) < 10


async def test_former_connection_of_a_dead_process_is_counted_out(stores, client, url):
    dead = RedisBackend(FROZEN).presence
    await enter(dead, "old")
    await enter(dead, "other", "2")
    entry = await enter(stores[0], "new", former_ids=["old", "other", "unknown"])
    assert not entry.has_arrived
    assert not entry.must_tell
    assert entry.member.connections == 1
    assert await stores[1].find_key("room", "old") is None
    assert await stores[1].find_key("room", "other") == "2"
    await end_lease(client, dead)
    departures = await sweep_until(stores, bool)
    assert [each.key for each in departures] == ["2"]
    assert list(await members_of(stores[1])) == ["1"]


async def test_state_is_set_from_a_process_without_members(stores):
    first, second, third = stores
    await enter(first, "a")
    assert await third.set_state("room", "1", '{"typing":true}', 0.5) is False
    assert await third.set_state("room", "2", "{}", None) is None
    assert (await members_of(second))["1"].state == '{"typing":true}'
    swept = await third.sweep()
    assert 0 < swept.next_seconds <= 0.5
    await sweep_for([second, third], 0.6)
    assert (await members_of(second))["1"].state is None


async def test_redis_keeps_nothing_for_long_once_all_have_left(stores, client):
    for store, name in zip(stores, "abc", strict=True):
        await enter(store, name, name, room=f"room {name}", grace=0)
        await store.set_state(f"room {name}", name, "{}", 100)
    for store, name in zip(stores, "abc", strict=True):
        await store.leave(name, f"room {name}", is_at_once=False)
    keys = keys_of(client)
    assert keys == {"epoch", "run"} | {
        f"{kind}:room {name}" for kind in ("revs", "left", "told") for name in "abc"
    }
    assert all(0 < client.pttl(PREFIX + key) <= 60_000 for key in keys - {"epoch", "run"})
    await enter(stores[0], "a", room="room a")
    assert client.pttl(f"{PREFIX}revs:room a") == -1


# Processes that die or are frozen


async def test_members_of_a_dead_process_depart_once_after_their_grace(stores, client, url):
    dead = RedisBackend(FROZEN).presence
    await enter_many(dead, 600)
    await enter(stores[0], "live", "7")
    await end_lease(client, dead)
    began = time.monotonic()
    departures = await sweep_until(stores, bool)
    seconds = time.monotonic() - began - TIMINGS.burial_delay - GRACE_SECONDS
    assert -0.01 < seconds < 2
    departures += await sweep_until(stores, lambda found: len(departures + found) >= 599)
    departures += await sweep_for(stores, 0.1)
    assert Counter(each.key for each in departures) == Counter(set(map(str, range(600))) - {"7"})
    assert {key: each.connections for key, each in (await members_of(stores[1])).items()} == {
        "7": 1
    }
    assert len(keys_of(client, "node:*")) == len(keys_of(client, "lease:*")) == 1


@pytest.mark.slow
async def test_five_thousand_members_of_a_dead_process_depart_once(stores, client, url):
    dead, count = RedisBackend(FROZEN).presence, 5000
    await enter_many(dead, count)
    await end_lease(client, dead)
    departures = await sweep_until(stores, lambda found: len(found) >= count)
    departures += await sweep_for(stores, 0.1)
    assert Counter(each.key for each in departures) == Counter(map(str, range(count)))
    assert await members_of(stores[1]) == {}


async def test_process_without_members_looks_for_those_that_have_some(stores):
    first, viewer, _ = stores
    await enter(first, "a")
    assert (await first.sweep()).next_seconds is None
    assert 0 < (await viewer.sweep()).next_seconds <= 1
    await first.leave("a", "room", is_at_once=True)
    assert (await viewer.sweep()).next_seconds is None


@pytest.mark.slow
async def test_nobody_departs_who_comes_back_from_a_dead_process(stores, client, url):
    dead = RedisBackend(FROZEN).presence
    await enter_many(dead, 100, grace=0.6)
    mark = (await stores[0].read("room", None, 1000)).mark
    await end_lease(client, dead)
    await sweep_for(stores, TIMINGS.burial_delay + 0.1)
    await enter_many(stores[0], 50, prefix="new", grace=0.6)
    await enter_many(stores[1], 100, prefix="other", grace=0.6)
    picture = await stores[0].read("room", mark, 1000)
    assert {each.profile.key: each.connections for each in picture.members} == {
        str(n): 2 for n in range(50)
    }
    assert await sweep_for(stores, 0.7) == []


@pytest.mark.slow
async def test_process_that_was_frozen_and_not_missed_yet_goes_on_in_silence(stores, client, url):
    frozen = RedisBackend(FROZEN).presence
    await enter_many(frozen, 300, grace=5)
    mark = (await stores[0].read("room", None, 1000)).mark
    await end_lease(client, frozen)
    await sweep_for(stores, TIMINGS.burial_delay + 0.1)
    swept = await frozen.sweep()
    assert swept.departures == swept.arrivals == []
    assert mark.rev == (await stores[0].read("room", mark, 1000)).mark.rev
    assert await sweep_for([frozen, *stores], 0.2) == []
    await frozen.leave("c7", "room", is_at_once=True)
    assert len(await members_of(stores[0])) == 299


async def test_members_of_a_frozen_process_that_departed_arrive_again(stores, client, url):
    frozen = RedisBackend(FROZEN).presence
    await enter(frozen, "a")
    await enter(frozen, "b", "2")
    await enter(stores[0], "c", "2")
    await frozen.set_state("room", "1", "{}", None)
    since_ms = (await members_of(stores[0]))["1"].since_ms
    await end_lease(client, frozen)
    departures = await sweep_until(stores, bool)
    assert [each.key for each in departures] == ["1"]
    swept = await frozen.sweep()
    assert swept.arrivals == [("room", "1", "1")]
    assert swept.rooms == ["room"]
    assert (await frozen.sweep()).arrivals == []
    members = await members_of(stores[0])
    assert members["1"].since_ms > since_ms
    assert members["1"].state is None
    assert members["2"].connections == 2


@pytest.mark.slow
async def test_connection_that_ended_while_its_process_was_frozen_does_not_come_back(
    stores, client, url
):
    frozen = RedisBackend(FROZEN).presence
    await enter_many(frozen, 3)
    await end_lease(client, frozen)
    await sweep_until(stores, lambda found: len(found) >= 3)
    mark = (await stores[0].read("room", None, 10)).mark
    sweeping = asyncio.create_task(frozen.sweep())
    node = await frozen._find_node()
    await eventually(lambda: node._paused_until)
    await frozen.leave("c1", "room", is_at_once=True)
    await frozen.leave("c2", "room", is_at_once=False)
    assert (await sweeping).arrivals == [("room", "0", "0")]
    picture = await stores[0].read("room", mark, 10)
    assert [each.profile.key for each in picture.members] == ["0"]
    assert await sweep_for([frozen, *stores], GRACE_SECONDS + 0.1) == []


@pytest.mark.slow
async def test_site_hears_of_members_that_departed_while_it_was_frozen(url, settings, user, client):
    settings.PM_REALTIME |= {"ROOMS": {"room": {"presence": {"grace": 0.05}}}}
    other, key = RedisBackend(TIMINGS).presence, str(user.pk)
    received = []

    def receiver(signal, **about):
        received.append((signal, about["key"]))

    async with Connection(user=user) as connection:
        await connection.subscribe("room")
        for signal in (arrived, departed):
            signal.connect(receiver)
        try:
            while not (found := (await other.sweep()).departures):
                for name in keys_of(client, "lease:*"):
                    client.delete(f"{PREFIX}{name}")
                await asyncio.sleep(0.02)
            assert [each.key for each in found] == [key]
            await eventually(lambda: received == [(arrived, key)])
            assert (await other.read("room", None, 10)).total == 1
        finally:
            for signal in (arrived, departed):
                signal.disconnect(receiver)


async def test_released_node_leaves_its_members_their_grace(url, stores, client):
    backend = RedisBackend(TIMINGS)
    await enter_many(backend.presence, 300, grace=0.6)
    await enter(backend.presence, "z", "z", room="other", grace=0)
    mark = (await stores[0].read("room", None, 1000)).mark
    await backend.release()
    assert keys_of(client, "node:*") | keys_of(client, "lease:*") == set()
    await enter_many(stores[0], 150, prefix="new", grace=0.6)
    assert (await stores[0].read("room", mark, 1000)).members == []
    departures = await sweep_until(stores, lambda found: len(found) >= 151)
    departures += await sweep_for(stores, 0.1)
    assert Counter(each.key for each in departures) == Counter(["z", *map(str, range(150, 300))])


# Redis that is away, or has lost what it knew


async def settle(stores):
    """Have all of ``stores`` notice that Redis is back. Returns all that their sweeps found."""
    found = []
    for _ in range(200):
        answers = await asyncio.gather(*(each.sweep() for each in stores), return_exceptions=True)
        swept = [answer for answer in answers if not isinstance(answer, BackendError)]
        found += swept
        if len(swept) == len(stores):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(answers)


def lose_by_flushing(server):
    with server.client() as client:
        client.flushall()


def lose_by_restarting(server):
    server.kill()
    server.start()


@pytest.fixture
def on_server(server):
    return [RedisBackend(TIMINGS).presence for _ in range(3)]


@pytest.mark.parametrize(
    "lose", [pytest.param(lose_by_flushing, marks=pytest.mark.slow), lose_by_restarting]
)
async def test_redis_that_came_back_empty_is_written_again_in_silence(server, on_server, lose):
    first, second, viewer = stores = on_server
    await enter_many(first, 300)
    await enter(second, "a", "7")
    await enter(second, "b", "x", room="other")
    await first.set_state("room", "3", '{"typing":true}', None)
    await first.set_state("room", "4", "{}", 100)
    before, other = await members_of(viewer), await members_of(viewer, "other")
    mark = (await viewer.read("room", None, 1000)).mark
    began = time.monotonic()
    lose(server)
    answers = await settle(stores)
    assert time.monotonic() - began < 5
    picture = await viewer.read("room", mark, 1000)
    assert picture.is_whole
    assert picture.mark.rev > mark.rev
    assert {each.profile.key: each for each in picture.members} == before
    assert await members_of(viewer, "other") == other
    assert not any(answer.departures or answer.arrivals for answer in answers)
    assert {room for answer in answers for room in answer.rooms} == {"room", "other"}
    assert await sweep_for(stores, GRACE_SECONDS + 0.1) == []


async def test_redis_that_lost_its_last_second_is_mended_in_silence(server, on_server):
    """As after a failover: all leases are there, and what was written last is not."""
    first, second, viewer = stores = on_server
    await enter(first, "a", "1")
    await enter(first, "b", "2", grace=0.1)
    await first.leave("b", "room", is_at_once=False)
    await viewer.sweep()
    with server.client() as client:
        client.save()
    await enter(second, "back", "2")
    await enter(first, "new", "3")
    await first.set_state("room", "1", "{}", None)
    before, mark = await members_of(viewer), (await viewer.read("room", None, 10)).mark
    server.crash()
    server.restart()
    departures = [each for answer in await settle(stores) for each in answer.departures]
    picture = await viewer.read("room", mark, 10)
    assert {each.profile.key: each for each in picture.members} == before
    assert departures + await sweep_for(stores, GRACE_SECONDS + 0.2) == []
    assert await members_of(viewer) == before


async def test_reader_without_members_waits_until_those_who_have_some_have_written(stores, client):
    first, second, viewer = stores
    await enter_many(first, 300)
    await enter(second, "a", "x")
    picture = await viewer.read("room", None, 1000)
    client.flushall()
    reading = asyncio.create_task(viewer.read("room", picture.mark, 1000))
    checking = asyncio.create_task(viewer.check({"room": picture.mark}))
    await asyncio.sleep(0.1)
    await asyncio.gather(first.sweep(), second.sweep())
    assert (await reading).total == 301
    assert await checking == {}


async def test_new_process_may_be_the_first_to_write_into_an_empty_redis(stores, client, url):
    first, second, _ = stores
    await enter(first, "a")
    await enter(second, "b", "2")
    client.flushall()
    assert (await enter(RedisBackend(TIMINGS).presence, "c", "3")).has_arrived
    reading = asyncio.create_task(first.read("room", None, 10))
    await asyncio.sleep(TIMINGS.settling / 2)
    await second.sweep()
    assert (await reading).total == 3


@pytest.mark.slow
async def test_members_in_their_grace_when_redis_was_emptied_depart_once(stores, client):
    first, second, _ = stores
    await enter_many(first, 10, grace=1)
    await enter(second, "a", "3", grace=1)
    await enter(second, "back", "4", grace=1)
    for n in range(5):
        await first.leave(f"c{n}", "room", is_at_once=False)
    client.flushall()
    departures = await sweep_until(stores, lambda found: len(found) >= 3)
    departures += await sweep_for(stores, 0.1)
    assert sorted(each.key for each in departures) == ["0", "1", "2"]
    assert len(await members_of(second)) == 7


@pytest.mark.slow
async def test_member_that_departed_before_redis_was_emptied_departs_no_more(stores, client):
    first, second, _ = stores
    await enter_many(first, 3)
    await enter(second, "a", "3")
    await first.leave("c0", "room", is_at_once=False)
    [departure] = await sweep_until([second], lambda found: found)
    await first.sweep()
    client.flushall()
    assert await sweep_for(stores, GRACE_SECONDS + TIMINGS.settling) == []
    assert departure.key == "0"
    assert (await members_of(first)).keys() == {"1", "2", "3"}


async def test_state_that_another_process_has_set_outlives_emptied_redis(stores, client):
    first, second, viewer = stores
    await enter(first, "old")
    await first.set_state("room", "1", '{"typing":true}', None)
    await enter(second, "new", former_ids=["old"])
    await first.leave("old", "room", is_at_once=False)
    await sweep_for([first], GRACE_SECONDS + 0.1)
    client.flushall()
    await settle(stores)
    assert (await members_of(viewer))["1"].state == '{"typing":true}'


async def test_leaving_while_redis_is_away_is_written_later(server, on_server):
    first, second, viewer = stores = on_server
    await enter_many(first, 4)
    await enter(second, "x", "0")
    with server.frozen():
        for n, is_at_once in ((0, True), (1, True), (2, False)):
            assert await first.leave(f"c{n}", "room", is_at_once=is_at_once) == (False, None)
        with pytest.raises(BackendError):
            await enter(first, "new", "9")
        with pytest.raises(BackendError):
            await first.read("room", None, 10)
    answers = await settle(stores)
    departures = [each for answer in answers for each in answer.departures]
    departures += await sweep_for(stores, GRACE_SECONDS + 0.2)
    assert sorted(each.key for each in departures) == ["1", "2"]
    members = await members_of(viewer)
    assert {key: each.connections for key, each in members.items()} == {"0": 1, "3": 1}


async def test_marks_of_before_an_outage_are_not_trusted(server, on_server):
    """Redis may have lost the changes that they name, and have others of the same time."""
    first, _, viewer = on_server
    await enter(first, "a")
    mark = (await viewer.read("room", None, 10)).mark
    assert [*await viewer.check({"room": mark})] == ["room"]
    with server.frozen(), pytest.raises(BackendError):
        await viewer.read("room", mark, 10)
    await settle([first])
    assert await viewer.check({"room": mark}) == {}
    picture = await viewer.read("room", mark, 10)
    assert picture.is_whole
    assert [*await viewer.check({"room": picture.mark})] == ["room"]


async def test_loop_that_closes_releases_its_members(url, stores):
    def serve():
        async def main():
            await enter(RedisBackend(TIMINGS).presence, "a", grace=0.2)

        asyncio.run(main())

    await asyncio.to_thread(serve)
    assert [each.key for each in await sweep_until(stores, bool)] == ["1"]


async def test_lease_ends_once_nobody_is_held(stores, client):
    await enter(stores[0], "a")
    await stores[0].leave("a", "room", is_at_once=True)
    await eventually(lambda: not keys_of(client, "lease:*"))
    assert not keys_of(client, "node:*")
