"""Queries about connections, users and counts."""

from contextlib import AsyncExitStack

import pytest

from pm_realtime import asend_to_user
from tests.support.helpers import Connection

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def test_get_connection_returns_user_role_and_rooms(helpers, user):
    async with Connection(user=user) as connection, Connection() as anonymous:
        await connection.subscribe("b")
        await connection.subscribe("a")
        info = await helpers.get_connection(connection.connection_id)
        assert (info.connection_id, info.user_id) == (connection.connection_id, str(user.pk))
        assert (info.role, info.rooms) == ("user", ("b", "a"))
        await connection.ask("unsubscribe", {"room": "b"})
        assert (await helpers.get_connection(connection.connection_id)).rooms == ("a",)
        other = await helpers.get_connection(anonymous.connection_id)
        assert (other.user_id, other.role, other.rooms) == (None, None, ())
        assert await helpers.get_connection("no such connection") is None
        await connection.disconnect()
        assert await helpers.get_connection(connection.connection_id) is None


async def test_connections_of_a_user_are_sorted_oldest_first(helpers, user, editor):
    async with Connection(user=editor), AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Connection(user=user)) for _ in range(4)]
        for given in (user, user.pk, str(user.pk)):
            found = await helpers.get_user_connections(given)
            assert [info.connection_id for info in found] == [one.connection_id for one in opened]
        times = [info.connected_at for info in found]
        assert times == sorted(times)


async def test_user_is_online_while_a_connection_is_open(helpers, user, editor):
    async with Connection(user=editor):
        assert await helpers.is_online(user) is False
        async with Connection(user=user) as first:
            async with Connection(user=user):
                assert await helpers.is_online(user) is True
                await first.disconnect()
            await asend_to_user(user, "hello")
            assert await helpers.is_online(user.pk) is False


async def test_stats_count_connections_users_and_rooms(helpers, user):
    async with Connection(user=user) as one, Connection(user=user) as two, Connection():
        await one.subscribe("a")
        await one.subscribe("b")
        await two.subscribe("b")
        assert await helpers.get_stats() == {
            "totalConnections": 3,
            "authenticatedConnections": 2,
            "totalRooms": 2,
            "roomStats": {"a": 1, "b": 2},
        }
        await one.disconnect()
        assert (await helpers.get_stats())["roomStats"] == {"b": 1}
