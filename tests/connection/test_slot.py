"""How many connections a user may have, and which of them goes where there are too many."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from pm_realtime import adisconnect_connection, aget_stats, aget_user_connections
from pm_realtime.backends import get_backend
from pm_realtime.backends.base import ConnectionInfo
from tests.support.helpers import (
    Connection,
    assert_refused_with,
    connect_many,
    cookie_of,
    eventually,
)
from tests.support.sessions import Browser

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def test_the_6th_connection_ends_the_oldest(user):
    async with AsyncExitStack() as stack:
        oldest, *others = await connect_many(stack, 5, user)
        newest = await stack.enter_async_context(Connection(user=user))
        await oldest.assert_closed(4502)
        await oldest.assert_ended()
        left = [connection.connection_id for connection in (*others, newest)]
        assert [info.connection_id for info in await aget_user_connections(user)] == left
        assert all([await connection.is_alive() for connection in (*others, newest)])


async def test_the_refuse_policy_keeps_the_old_ones(configure, user):
    configure(CONNECTION_LIMIT_POLICY="refuse")
    async with AsyncExitStack() as stack:
        old = await connect_many(stack, 5, user)
        await assert_refused_with(Connection(headers=[await cookie_of(user)]), 4505)
        assert all([await connection.is_alive() for connection in old])
        await old[0].disconnect()
        assert await (await stack.enter_async_context(Connection(user=user))).is_alive()


async def test_another_limit_takes_effect(configure, user):
    configure(MAX_CONNECTIONS_PER_USER=1)
    async with Connection(user=user) as old, Connection(user=user) as new:
        await old.assert_closed(4502)
        assert await new.is_alive()


async def test_the_limit_counts_each_user_alone_and_anonymous_ones_not_at_all(user, editor):
    async with AsyncExitStack() as stack:
        everyone = await connect_many(stack, 5, user)
        everyone += await connect_many(stack, 5, editor)
        everyone += await connect_many(stack, 12)
        assert all([await connection.is_alive() for connection in everyone])
        stats = await aget_stats()
        assert (stats["totalConnections"], stats["authenticatedConnections"]) == (22, 10)


async def test_of_20_connections_at_once_exactly_5_stay(user):
    cookie = await cookie_of(user)
    everyone = [Connection(headers=[cookie]) for _ in range(20)]
    await asyncio.gather(*(connection.connect() for connection in everyone))
    await eventually(lambda: sum(connection.future.done() for connection in everyone) == 15)
    assert len(await aget_user_connections(user)) == 5
    for connection in everyone:
        if connection.future.done():
            await connection.assert_closed(4502)
        else:
            assert await connection.is_alive()
            await connection.disconnect()


@pytest.mark.parametrize("period", [0, 5])
async def test_who_comes_back_after_a_crash_is_not_refused_for_what_the_crash_left(
    configure, user, period
):
    configure(RESUME_PERIOD=period, MAX_CONNECTIONS_PER_USER=1, CONNECTION_LIMIT_POLICY="refuse")
    left = ConnectionInfo(
        connection_id="left", user_id=str(user.pk), role="user", connected_at=time.time()
    )
    await get_backend().add(left, limit=1, policy="refuse")
    browser = await Browser.of(user)
    refused = Connection(headers=browser.headers)
    await refused.connect()
    await refused.assert_closed(4505)
    again = Connection(headers=browser.headers)
    again.scope["query_string"] = b"resume=left,3"
    async with again:
        assert "resumed" not in again.connected
        assert await again.is_alive()
        assert [each.connection_id for each in await aget_user_connections(user)] == [
            again.connection_id
        ]
    await adisconnect_connection(again.connection_id)
