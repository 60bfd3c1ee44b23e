"""How many connections a user may have, and which of them closes if there are too many."""

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


async def test_6th_connection_replaces_the_oldest(user):
    async with AsyncExitStack() as stack:
        oldest, *others = await connect_many(stack, 5, user)
        newest = await stack.enter_async_context(Connection(user=user))
        await oldest.assert_closed(4502)
        await oldest.assert_ended()
        left = [connection.connection_id for connection in (*others, newest)]
        assert [info.connection_id for info in await aget_user_connections(user)] == left
        assert all([await connection.is_alive() for connection in (*others, newest)])


async def test_refuse_policy_keeps_the_old_connections(configure, user):
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


async def test_limit_counts_each_user_alone_and_no_anonymous_connection(user, editor):
    async with AsyncExitStack() as stack:
        everyone = await connect_many(stack, 5, user)
        everyone += await connect_many(stack, 5, editor)
        everyone += await connect_many(stack, 12)
        assert all([await connection.is_alive() for connection in everyone])
        stats = await aget_stats()
        assert (stats["totalConnections"], stats["authenticatedConnections"]) == (22, 10)


async def test_of_20_connections_at_once_5_stay(user):
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


@pytest.mark.parametrize("period", [0, 60])
async def test_slot_of_a_crashed_process_is_taken_over(configure, user, period):
    configure(RECOVERY_PERIOD=period, MAX_CONNECTIONS_PER_USER=1, CONNECTION_LIMIT_POLICY="refuse")
    left = ConnectionInfo(
        connection_id="left", user_id=str(user.pk), role="user", connected_at=time.time()
    )
    await get_backend().add(left, limit=1, policy="refuse")
    browser = await Browser.of(user)
    refused = Connection(headers=browser.headers)
    await refused.connect()
    await refused.assert_closed(4505)
    again = Connection(headers=browser.headers)
    again.scope["query_string"] = b"resume=left,earlier"
    async with again:
        assert await again.is_alive()
        assert [each.connection_id for each in await aget_user_connections(user)] == [
            again.connection_id
        ]
    await adisconnect_connection(again.connection_id)


async def test_eviction_that_the_layer_does_not_take_is_carried_out_here(configure, user, far):
    configure(MAX_CONNECTIONS_PER_USER=1)
    group_send = far.group_send

    async def send_no_close(group, message):
        if message.get("instruction") == "close":
            raise ConnectionError("the layer is away")
        await group_send(group, message)

    async with Connection(user=user) as old:
        far.group_send = send_no_close
        async with Connection(user=user) as new:
            await old.assert_closed(4502)
            assert await new.is_alive()


async def test_connection_that_another_process_evicted_is_closed(user):
    async with Connection(user=user) as evicted, Connection(user=user) as other:
        for connection_id in ("unknown", evicted.connection_id):
            get_backend().on_evicted(connection_id)
        await evicted.assert_closed(4502)
        assert await other.is_alive()
