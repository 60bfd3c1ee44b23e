"""The commands of one connection: their rate, and floods of malformed frames."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from pm_realtime import aget_stats, asend_to_room
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.connection.timings import ConnectionTimings
from tests.support.helpers import Clock, Connection, assert_refusal, connect_many

pytestmark = pytest.mark.usefixtures("leaves_nothing")


# The rate


def application(**timings):
    """The application of a consumer with other ``timings``."""

    class Consumer(RealtimeConsumer):
        pass

    Consumer.connection_timings = ConnectionTimings(**timings)
    return Consumer.as_asgi()


async def test_61st_message_within_a_minute_is_refused():
    async with Connection() as connection, Connection() as other:
        assert all([await connection.is_alive() for _ in range(60)])
        refusal = await connection.ask("ping", id="the 61st")
        retry_after = refusal["payload"]["retryAfter"]
        assert type(retry_after) is int
        assert 0 < retry_after <= 60_000
        assert_refusal(refusal, "RATE_LIMITED", id="the 61st", retryAfter=retry_after)
        assert await other.is_alive()


async def test_the_window_slides():
    clock = Clock()
    async with Connection(application=application(clock=clock.monotonic)) as connection:

        async def answers(count):
            return {(await connection.ask("ping"))["type"] for _ in range(count)}

        assert await answers(30) == {"pong"}
        clock.now += 30
        assert await answers(30) == {"pong"}
        clock.now += 29.5
        refusal = await connection.ask("ping")
        assert refusal["payload"]["retryAfter"] == 500
        clock.now += 0.5
        assert await answers(30) == {"pong"}
        refusal = await connection.ask("ping")
        assert refusal["payload"]["retryAfter"] == 30_000


async def test_after_retry_after_a_message_is_accepted(configure):
    configure(RATE_LIMIT="3/s")
    async with Connection() as connection:
        assert all([await connection.is_alive() for _ in range(3)])
        refusal = await connection.ask("ping")
        assert 0 < refusal["payload"]["retryAfter"] <= 1000
        await asyncio.sleep(refusal["payload"]["retryAfter"] / 1000)
        assert await connection.is_alive()


async def test_every_command_counts_and_a_refused_one_does_nothing(configure):
    configure(RATE_LIMIT="3/m", DEFAULT_ROOM={"public": True, "publish_role": "anonymous"})
    async with Connection() as connection:
        await connection.subscribe("a")
        await connection.ask("message", {"room": "a", "content": 1})
        await connection.ask("ping")
        for type in ("subscribe", "unsubscribe", "message", "ping"):
            refusal = await connection.ask(type, {"room": "a", "content": 2})
            assert refusal["payload"]["code"] == "RATE_LIMITED"
        assert await connection.so_far() == []
        assert (await aget_stats())["roomStats"] == {"a": 1}


async def test_pushes_do_not_count(configure):
    configure(RATE_LIMIT="2/m", DEFAULT_ROOM={"public": True, "publish_role": "anonymous"})
    async with Connection() as connection:
        await connection.subscribe("a")
        for number in range(20):
            await asend_to_room("a", "tick", number)
        assert await connection.types_so_far() == ["tick"] * 20
        assert await connection.is_alive()


async def test_without_a_rate_there_is_no_limit(configure):
    configure(RATE_LIMIT=None)
    async with Connection() as connection:
        assert all([await connection.is_alive() for _ in range(300)])


@pytest.mark.parametrize(("rate", "accepted", "refused"), [("3/m", 3, 10), ("60/m", 60, 60)])
async def test_rate_broken_again_and_again_closes(configure, rate, accepted, refused):
    configure(RATE_LIMIT=rate)
    async with Connection() as connection:
        assert all([await connection.is_alive() for _ in range(accepted)])
        for _ in range(refused):
            assert (await connection.ask("ping"))["payload"]["code"] == "RATE_LIMITED"
        await connection.command("ping")
        await connection.assert_closed(4003)
        await connection.assert_ended()


# Malformed frames


async def test_malformed_frames_neither_count_nor_close(configure):
    configure(RATE_LIMIT="3/m", DEFAULT_ROOM={"public": True, "publish_role": "anonymous"})
    async with Connection() as connection:
        for payload in ("no object", {}, {"room": 5}, {"room": ""}, None) * 20:
            refusal = await connection.ask("subscribe", payload)
            assert refusal["payload"]["code"] in ("INVALID_PAYLOAD", "INVALID_ROOM")
            refusal = await connection.ask("no such command", payload)
            assert refusal["payload"]["code"] == "UNKNOWN_TYPE"
        assert all([await connection.is_alive() for _ in range(3)])
        assert not await connection.is_alive()


async def test_flood_of_malformed_frames_closes(configure):
    configure(RATE_LIMIT="3/m")
    async with Connection(application=application(max_malformed_frames=50)) as connection:
        for _ in range(50):
            assert (await connection.ask_raw("{"))["payload"]["code"] == "PARSE_ERROR"
        assert await connection.is_alive()
        await connection.send_frame("{")
        await connection.assert_closed(4003)


async def test_floods_of_many_connections_share_one_limit(configure):
    configure(RATE_LIMIT="3/m")
    impatient = application(max_malformed_frames=300)
    async with AsyncExitStack() as stack:
        *abusers, honest = await connect_many(stack, 11, application=impatient)
        for abuser in abusers:
            for _ in range(200):
                await abuser.send_frame("{")
        for abuser in abusers[:5]:
            await abuser.assert_closed(4003)
        assert await honest.is_alive()
