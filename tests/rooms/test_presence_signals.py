"""``arrived`` and ``departed``: once for each member, with its user, over all its connections."""

import asyncio
import functools
import threading
from unittest.mock import patch

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import adisconnect_connection, aget_user_connections
from pm_realtime.auth import find_users
from pm_realtime.backends import Arrival, Departure
from pm_realtime.rooms import get_loop_presence, presence_signals
from pm_realtime.rooms.presence_signals import PresenceSignals
from tests.support.helpers import Connection, errors_of, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ROOM = "r"
GRACE_SECONDS = 0.2


@pytest.fixture(autouse=True)
def options(configure):
    presence = {"grace": GRACE_SECONDS}
    configure(
        ROOMS={
            ROOM: {"presence": presence},
            "open": {"presence": {"per": "connection", **presence}, "public": True},
            "plain": {},
        }
    )


@pytest.fixture
def received(connect_receiver):
    """The name and arguments of each signal, in order."""
    received = []

    def receiver(name, sender, signal, **about):
        assert sender is None
        received.append((name, about))

    for name in ("arrived", "departed"):
        connect_receiver(name, functools.partial(receiver, name))
    return received


def names(received):
    return [name for name, _ in received]


async def test_a_member_arrives_once_and_departs_once(received, user):
    async with Connection(user=user) as first, Connection(user=user) as second:
        await first.subscribe(ROOM)
        await eventually(lambda: received)
        assert received == [("arrived", {"room": ROOM, "key": str(user.pk), "user": user})]
        await second.subscribe(ROOM)
        await first.drop()
        await asyncio.sleep(2 * GRACE_SECONDS)
        await second.drop()
    await eventually(lambda: len(received) == 2)
    name, about = received[1]
    seconds = about.pop("seconds")
    assert (name, about) == ("departed", {"room": ROOM, "key": str(user.pk), "user": user})
    assert 3 * GRACE_SECONDS <= seconds < 10


async def test_a_reload_and_a_room_without_presence_send_nothing(received, configure, user):
    # Longer than a reload takes on a busy machine.
    configure(ROOMS={ROOM: {"presence": {"grace": 1}}, "plain": {}})
    async with Connection(user=user) as before:
        await before.subscribe("plain")
        await before.subscribe(ROOM)
        await before.drop()
        async with before.recover():
            await asyncio.sleep(1.5)
            assert names(received) == ["arrived"]


async def test_unsubscribe_sends_departed_at_once(received, configure, user):
    configure(ROOMS={ROOM: {"presence": {"grace": 60}}})
    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.ask("unsubscribe", {"room": ROOM})
        assert names(received) == ["arrived", "departed"]


async def test_anonymous_connections_are_members_of_their_own(received):
    async with Connection() as first, Connection() as second:
        await first.subscribe("open")
        await second.subscribe("open")
    await eventually(lambda: names(received) == ["arrived"] * 2 + ["departed"] * 2)
    assert all(about["user"].is_anonymous for _, about in received)
    keys = [about["key"] for _, about in received]
    assert len({*keys}) == 2
    assert first.connection_id not in keys


async def test_the_user_of_departed_is_as_the_database_has_it(received, user):
    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
    user.first_name = "Ulla"
    await user.asave()
    await eventually(lambda: names(received) == ["arrived", "departed"])
    assert received[1][1]["user"].first_name == "Ulla"


async def test_the_users_of_many_are_read_with_one_query(
    received, users, django_assert_num_queries
):
    gone = [Departure(ROOM, str(each.pk), str(each.pk), 1.0) for each in users.values()]
    gone += [Departure(ROOM, "a", None, 1.0), Departure(ROOM, "b", "no-such-key", 1.0)]
    told = PresenceSignals()
    told.tell_all(gone)
    await eventually(lambda: len(received) == len(gone))
    found = {about["key"]: about["user"] for _, about in received}
    assert found.pop("a").is_anonymous
    assert found.pop("b") is None
    assert found == {str(each.pk): each for each in users.values()}


async def test_member_that_is_there_again_arrives_after_it_departed(received, user):
    key = str(user.pk)
    PresenceSignals().tell_all([Departure(ROOM, key, key, 1.0), Arrival(ROOM, key, key)])
    await eventually(lambda: names(received) == ["departed", "arrived"])
    assert received[1][1]["user"] == user


async def test_nothing_is_read_without_a_receiver():
    told = PresenceSignals()
    with patch.object(presence_signals, "find_users") as find_users:
        told.tell_all([Departure(ROOM, "a", "a", 1.0)])
        await asyncio.sleep(0.01)
    find_users.assert_not_called()


async def test_member_that_comes_again_before_its_user_is_read_departs_before(received, user):
    may_read, key = threading.Event(), str(user.pk)

    def read(user_ids):
        may_read.wait(5)
        return find_users(user_ids)

    told = PresenceSignals()
    with patch.object(presence_signals, "find_users", read):
        told.tell_all([Departure(ROOM, key, key, 1.0)])
        told.tell_arrival(ROOM, key, user)
        await asyncio.sleep(0.01)
        may_read.set()
        await eventually(lambda: len(received) == 2)
    assert names(received) == ["departed", "arrived"]


async def test_a_stuck_receiver_keeps_no_connection(connect_receiver, configure, user):
    configure(ROOMS={ROOM: {"presence": True}})
    go_on = threading.Event()
    connect_receiver("departed", lambda **about: go_on.wait(10))
    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        await adisconnect_connection(connection.connection_id)
        await connection.assert_ended()
        assert await aget_user_connections(user) == []
    go_on.set()


async def test_a_broken_receiver_harms_nobody(connect_receiver, received, user, caplog):
    def broken(**about):
        raise RuntimeError("broken receiver")

    connect_receiver("arrived", broken)
    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        await eventually(lambda: errors_of(caplog))
        assert await connection.is_alive()
    await eventually(lambda: names(received) == ["arrived", "departed"])


async def test_a_slow_receiver_delays_nobody_and_departed_comes_after_arrived(
    connect_receiver, received, configure, user
):
    configure(ROOMS={ROOM: {"presence": {"grace": 60}}})
    go_on, order = threading.Event(), []

    def slow(**about):
        go_on.wait(5)
        order.append("arrived")

    connect_receiver("arrived", slow)
    connect_receiver("departed", lambda **about: order.append("departed"))
    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        leaving = asyncio.create_task(connection.ask("unsubscribe", {"room": ROOM}))
        await asyncio.sleep(0.05)
        assert order == []
        go_on.set()
        await leaving
        assert order == ["arrived", "departed"]


async def test_departures_after_the_last_connection_are_carried_out(received, user):
    async with Connection(user=user) as connection:
        await connection.subscribe(ROOM)
        await connection.drop()
    assert names(received) == ["arrived"]
    await eventually(lambda: names(received) == ["arrived", "departed"])
    await eventually(lambda: get_loop_presence().sweeper._task is None)


async def test_many_arrive_once_each(received, make_user):
    many = await sync_to_async(lambda: [make_user(username=f"user-{n}") for n in range(20)])()
    async with asyncio.timeout(10):
        connections = [Connection(user=each) for each in many for _ in range(2)]
        await asyncio.gather(*(each.__aenter__() for each in connections))
        await asyncio.gather(*(each.subscribe(ROOM) for each in connections))
        await asyncio.gather(*(each.__aexit__() for each in connections))
        await eventually(lambda: len(received) == 40)
    for name in ("arrived", "departed"):
        keys = [about["key"] for found, about in received if found == name]
        assert sorted(keys) == sorted(str(each.pk) for each in many)
