"""Batching on whole connections: the subprotocol, order, and the end."""

import asyncio
import json

from pm_realtime import adisconnect_user, aget_stats, asend_to_room, asend_to_user
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.protocol import BATCH_SUBPROTOCOL, SUBPROTOCOL
from pm_realtime.signals import connected, disconnected
from tests.connection.fakes import FrozenReader
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, eventually

BOTH = [BATCH_SUBPROTOCOL, SUBPROTOCOL]
#: For windows that do not end during a test.
LONG = {"BATCH_WINDOW": 1000}


class Accepting(RealtimeConsumer):
    async def accept(self, subprotocol=None, headers=None):
        await super().accept(headers=[(b"x-site", b"1")])


async def test_overridden_accept_answers_the_offer():
    connection = Connection(application=Accepting.as_asgi(), subprotocols=BOTH)
    assert await connection.connect() == (True, BATCH_SUBPROTOCOL)
    await connection.disconnect()


class Choosing(RealtimeConsumer):
    async def accept(self, subprotocol=None, headers=None):
        await super().accept(SUBPROTOCOL, headers)


async def test_subprotocol_that_a_site_accepts_is_used(configure, user):
    configure(**LONG)
    async with Connection(
        user=user, application=Choosing.as_asgi(), subprotocols=BOTH
    ) as connection:
        for number in range(3):
            await asend_to_user(user, f"push{number}")
        await eventually(lambda: connection.output_queue.qsize() == 3)
        assert [names(frame) for frame in texts(connection)] == ["push0", "push1", "push2"]


class Speaking(RealtimeConsumer):
    async def notify(self, signal, **arguments):
        await super().notify(signal, **arguments)
        if signal is connected:
            for text in ("plain", "[1]", "3"):
                await self.send(text)


async def test_text_of_a_subclass_has_a_frame_of_its_own(configure):
    configure(**LONG)
    connection = Connection(application=Speaking.as_asgi(), subprotocols=BOTH)
    await connection.connect()
    await connection.receive()
    await eventually(lambda: connection.output_queue.qsize() == 3)
    assert [event["text"] for event in connection.unread()] == ["plain", "[1]", "3"]
    await connection.disconnect()


def texts(connection):
    """The frames that have come and were not read."""
    return [json.loads(event["text"]) for event in connection.unread()]


def names(frame):
    return [each["type"] for each in frame] if isinstance(frame, list) else frame["type"]


async def test_messages_of_all_groups_and_replies_keep_their_order(configure, editor):
    configure(**LONG)
    async with (
        Connection(user=editor, subprotocols=BOTH) as together,
        Connection(user=editor, subprotocols=[SUBPROTOCOL]) as alone,
    ):
        for connection in (together, alone):
            await connection.subscribe("support")
        for number in range(3):
            await asend_to_user(editor, f"user{number}")
            await asend_to_room("support", f"room{number}")
        expected = ["user0", "room0", "user1", "room1", "user2", "room2"]
        await eventually(lambda: alone.output_queue.qsize() >= 6)
        assert [names(frame) for frame in texts(alone)] == expected
        assert texts(together) == []
        await together.command("ping")
        await eventually(together.output_queue.qsize)
        assert [names(frame) for frame in texts(together)] == [[*expected, "pong"]]


async def test_reply_never_waits(configure):
    configure(**LONG)
    async with Connection(subprotocols=BOTH) as connection:
        for number in range(3):
            await connection.command("ping", id=str(number))
        await eventually(lambda: connection.output_queue.qsize() == 3)
        assert [frame["id"] for frame in texts(connection)] == ["0", "1", "2"]


async def test_gathered_messages_come_before_the_close(configure, user):
    configure(**LONG)
    async with Connection(user=user, subprotocols=BOTH) as connection:
        for number in range(3):
            await asend_to_user(user, f"push{number}")
        await adisconnect_user(user)
        assert [(await connection.receive())["type"] for _ in range(3)] == [
            "push0",
            "push1",
            "push2",
        ]
        await connection.assert_closed(4503)


async def test_client_that_does_not_read_is_closed_at_max_queue_bytes(configure, user):
    configure(MAX_QUEUE_BYTES=2000)
    app = FrozenReader()
    async with (
        Connection(user=user, application=app, subprotocols=BOTH) as frozen,
        Connection(user=user) as quick,
    ):
        async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
            while (await aget_stats())["totalConnections"] > 1:
                await asend_to_user(user, "big", "x" * 600)
                assert await quick.types_so_far() == ["big"]
        app.may_read.set()
        await frozen.assert_closed(4002)
        await frozen.assert_ended()


async def test_overflow_at_a_close_is_reported_as_too_slow(configure, user):
    configure(MAX_QUEUE_BYTES=2000, **LONG)
    app, codes = FrozenReader(), []
    async with Connection(user=user, application=app, subprotocols=BOTH) as frozen:

        def note(code, **arguments):
            codes.append(code)

        disconnected.connect(note)
        await asend_to_user(user, "first")
        await asend_to_user(user, "big", "x" * 70_000)
        await asend_to_user(user, "more", "x" * 3000)
        await adisconnect_user(user)
        await eventually(lambda: codes)
        app.may_read.set()
        await frozen.assert_closed(4002)
        await frozen.assert_ended()
    assert codes == [4002]
