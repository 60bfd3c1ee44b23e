"""Many come, go and come back at once: few messages, or none, and right pictures."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from pm_realtime.backends import get_presence_store
from tests.support.helpers import Connection

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ROOM = "r"
COUNT = 60
#: After a change, all messages about it have been sent by then.
QUIET_SECONDS = 0.6


@pytest.fixture(autouse=True)
def options(configure):
    presence = {"per": "connection", "grace": 30, "max": 50}
    rooms = {
        ROOM: {"presence": {**presence, "max": 1000}, "public": True},
        "crowd": {"presence": presence, "public": True},
    }
    configure(ROOMS=rooms, RATE_LIMIT=None)


async def join(connection, room=ROOM):
    return (await connection.ask("subscribe", {"room": room}))["payload"]["presence"]


def messages(connection):
    """The messages about members that ``connection`` got without asking."""
    found = [each for each in connection.received if each["type"] == "presence"]
    return [each for each in found if "prev" in each["payload"]]


async def connect(stack, count):
    return await asyncio.gather(*(stack.enter_async_context(Connection()) for _ in range(count)))


async def test_all_who_come_back_are_silence(users):
    """All at once, and one of them again and again."""
    async with AsyncExitStack() as stack:
        everyone = await connect(stack, COUNT)
        watching = await stack.enter_async_context(Connection(user=users["user"]))
        own_keys = [joined["me"] for joined in await asyncio.gather(*map(join, everyone))]
        await join(watching)
        await watching.assert_presence(ROOM, total=COUNT + 1)
        await asyncio.sleep(QUIET_SECONDS)
        await watching.so_far()
        before = len(messages(watching))
        await asyncio.gather(*(each.drop() for each in everyone))
        again = [await stack.enter_async_context(each.recover()) for each in everyone]
        for _ in range(5):
            await again[0].drop()
            again[0] = await stack.enter_async_context(again[0].recover())
        assert (await get_presence_store().read(ROOM, None, 1000)).total == COUNT + 1
        await asyncio.sleep(QUIET_SECONDS)
        await watching.so_far()
        assert len(messages(watching)) == before
        seen = [each.presence(ROOM) for each in again]
        assert {each.total for each in seen} == {COUNT + 1}
        assert [each.me["key"] for each in seen] == own_keys


@pytest.mark.parametrize("room", [ROOM, "crowd"])
async def test_many_who_come_are_few_messages_to_each(room):
    async with AsyncExitStack() as stack:
        everyone = await connect(stack, COUNT)
        await asyncio.gather(*(join(each, room) for each in everyone))
        for each in everyone:
            await each.assert_presence(room, total=COUNT)
            assert len(messages(each)) <= 3
            seen = each.presence(room).members
            assert (None if seen is None else len(seen)) == (COUNT if room == ROOM else None)
