import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings

from pm_realtime.backends import get_backend, get_presence_store
from pm_realtime.backends.memory_presence import MEMBERS_PER_SWEEP, MemoryPresence
from pm_realtime.backends.presence import LEFT_TTL_SECONDS
from tests.contracts.presence import (
    ALL,
    GRACE_SECONDS,
    LONG_SECONDS,
    ROOM,
    PresenceContract,
    changes,
    enter,
    lose,
    mark_of,
    shown,
    state_of,
    sweep_all,
)
from tests.contracts.presence_model import histories, replay


@pytest.fixture
def store(clock):
    return MemoryPresence(lambda: clock.now)


@pytest.fixture
def others(store):
    return store


class TestMemoryPresence(PresenceContract):
    pass


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories(has_time=True))
async def test_any_history_with_waiting_is_that_of_a_simple_model(store, pass_time, history):
    await replay(history, store, store, pass_time)


async def test_sweep_takes_bites(store, clock):
    count = 2 * MEMBERS_PER_SWEEP + 1
    for number in range(count):
        await enter(store, str(number), str(number))
        await lose(store, str(number))
    clock.now += GRACE_SECONDS
    sweeps = [await store.sweep() for _ in range(3)]
    assert [len(sweep.departures) for sweep in sweeps] == [MEMBERS_PER_SWEEP, MEMBERS_PER_SWEEP, 1]
    assert [sweep.next_seconds for sweep in sweeps] == [0, 0, None]


async def test_members_of_long_graces_do_not_hold_up_others(store, clock):
    await enter(store, "a", "ann", grace=LONG_SECONDS)
    await enter(store, "b", "bob", grace=1)
    await lose(store, "a", "b")
    clock.now += 1
    assert [*(await sweep_all(store))[0]] == ["bob"]
    clock.now += LONG_SECONDS
    assert [*(await sweep_all(store))[0]] == ["ann"]


async def test_states_that_are_set_again_and_again_take_no_memory(store, clock):
    await enter(store, "a", "ann")
    for number in range(1000):
        clock.now += 0.1
        await store.set_state(ROOM, "ann", f"[{number}]", 86_400)
    assert len(store._queue) == 1
    clock.now += 86_400
    await sweep_all(store)
    assert await state_of(store) is None


async def test_memory_of_empty_rooms_is_freed(store, clock):
    for number in range(100):
        await enter(store, "a", room=f"room {number}")
        await store.leave("a", f"room {number}", is_at_once=True)
    await enter(store, "b", room="room 0")
    clock.now += LEFT_TTL_SECONDS + 1
    await store.sweep()
    assert list(store._rooms) == ["room 0"]
    assert await shown(store, "room 0") == {"ann": 1}


async def test_those_who_left_are_forgotten(store, clock):
    await enter(store, "stays", "ann")
    before = await mark_of(store)
    for number in range(100):
        await enter(store, "a", f"user {number}")
        await store.leave("a", ROOM, is_at_once=True)
    assert len((await changes(store, before))[1]) == 100
    clock.now += LEFT_TTL_SECONDS + 1
    await store.read(ROOM, None, ALL)
    assert not store._rooms[ROOM].left


async def test_reader_of_an_empty_room_needs_nothing_whole(store):
    before = await mark_of(store)
    await enter(store, "a")
    assert await changes(store, before) == ({"ann": 1}, [])


async def test_clock_that_is_set_back_stops_nothing(store, clock):
    await enter(store, "a", "ann")
    before = await mark_of(store)
    clock.now -= 3600
    entry = await enter(store, "b", "bob")
    assert entry.must_tell
    assert (await store.read(ROOM, before, ALL)).is_whole
    assert (await mark_of(store)).rev > before.rev
    assert (await store.leave("b", ROOM, is_at_once=True)).departure.seconds == 0


def test_child_of_a_fork_has_none_of_the_members():
    store = MemoryPresence()
    asyncio.run(enter(store, "a"))
    with store._lock:  # As if another thread held it.
        if (child := os.fork()) == 0:
            try:
                os._exit(asyncio.run(shown(store)) != {})
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_store_in_use_is_that_of_the_backend():
    assert get_presence_store() is get_backend().presence
