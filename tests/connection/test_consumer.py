"""An open connection: its frames, its heartbeat, and errors inside."""

import asyncio
import time

import pytest

from pm_realtime import aget_stats, asend_to_user
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.layer import user_group
from tests.connection.fakes import DETAIL, FrozenReader, gate
from tests.support.helpers import (
    Connection,
    assert_refusal,
    errors_of,
    eventually,
    layer_groups,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")


# Invalid frames


def padded_ping(size, filler="x"):
    frame = '{"type": "ping", "timestamp": 1, "id": "big", "padding": "%s"}'
    missing = size - len(frame % "")
    return frame % (filler * (missing // len(filler.encode())))


async def test_message_may_have_65536_bytes():
    async with Connection() as connection:
        assert (await connection.ask_raw(padded_ping(65536)))["type"] == "pong"
        refusal = await connection.ask_raw(padded_ping(65537))
        assert_refusal(refusal, "MESSAGE_TOO_LARGE", id=None)
        assert await connection.is_alive()


async def test_size_is_counted_in_bytes(configure):
    configure(MAX_MESSAGE_BYTES=200)
    frame = padded_ping(260, "é")
    assert len(frame) < 200 < len(frame.encode())
    async with Connection() as connection:
        assert_refusal(await connection.ask_raw(frame), "MESSAGE_TOO_LARGE", id=None)
        assert (await connection.ask_raw(padded_ping(200, "é")))["type"] == "pong"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "INVALID_MESSAGE"),
        (b'{"type": "ping", "timestamp": 1}', "INVALID_MESSAGE"),
        (b"\x00\xff", "INVALID_MESSAGE"),
        (b"x" * 65537, "MESSAGE_TOO_LARGE"),
        ("", "PARSE_ERROR"),
        (" ", "PARSE_ERROR"),
    ],
)
async def test_binary_and_empty_frames_are_refused_and_the_connection_goes_on(frame, code):
    async with Connection() as connection:
        assert_refusal(await connection.ask_raw(frame), code, id=None)
        assert await connection.is_alive()


# The heartbeat


@pytest.fixture
def quick_heartbeat(configure):
    configure(
        HEARTBEAT_INTERVAL=0.15,
        HEARTBEAT_TIMEOUT=0.1,
        RATE_LIMIT=None,
        DEFAULT_ROOM={"public": True, "publish_role": "anonymous"},
    )


async def test_silent_client_that_has_pinged_is_closed(
    quick_heartbeat,
):
    async with Connection() as never_pings, Connection() as pinged:
        assert (await never_pings.ask("subscribe", {"room": "a"}))["type"] == "subscribed"
        begun = time.monotonic()
        assert await pinged.is_alive()
        await pinged.assert_closed(4001)
        assert time.monotonic() - begun >= 0.25
        await pinged.assert_ended()
        assert await never_pings.is_alive()


async def test_any_frame_keeps_a_connection_alive(quick_heartbeat):
    async with Connection() as talks, Connection() as silent:
        assert await talks.is_alive()
        assert await silent.is_alive()
        while not silent.future.done():
            assert (await talks.ask_raw("no JSON"))["type"] == "error"
            await asyncio.sleep(0.01)
        await silent.assert_closed(4001)
        assert await talks.is_alive()


async def test_slow_command_is_no_silence(quick_heartbeat, configure, user):
    configure(ROOMS={"slow": {"authorize": "tests.connection.fakes.waits_for_gate"}})
    gate.clear()
    async with Connection(user=user) as waits, Connection() as silent:
        assert await waits.is_alive()
        id = await waits.command("subscribe", {"room": "slow"})
        assert await silent.is_alive()
        await silent.assert_closed(4001)
        gate.set()
        await waits.assert_reply(id, "subscribed")


# Other settings


async def test_client_that_does_not_read_is_closed_at_max_queue_bytes(configure, user):
    configure(MAX_QUEUE_BYTES=2300)
    app = FrozenReader()
    async with Connection(user=user, application=app) as frozen, Connection(user=user) as quick:
        for _ in range(4):
            await asend_to_user(user, "big", "x" * 600)
        assert await quick.types_so_far() == ["big"] * 4
        assert (await aget_stats())["totalConnections"] == 2
        await asend_to_user(user, "big", "x" * 600)
        assert await quick.types_so_far() == ["big"]
        app.may_read.set()
        await frozen.assert_closed(4002)
        await frozen.assert_ended()
        assert await quick.is_alive()


async def test_another_channel_layer_takes_effect(settings, configure, user):
    memory = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1000}}
    settings.CHANNEL_LAYERS = {"default": memory, "realtime": memory}
    configure(CHANNEL_LAYER="realtime")
    async with Connection(user=user) as connection:
        assert user_group(str(user.pk)) in layer_groups()
        await asend_to_user(user, "hello")
        assert await connection.types_so_far() == ["hello"]
        configure(CHANNEL_LAYER="default")
        assert layer_groups() == {}


# Errors inside


async def test_lost_backend_is_an_internal_error(configure, user, caplog):
    configure(BACKEND="tests.connection.fakes.LostBackend")
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "broken"}, id="7")
        assert_refusal(refusal, "INTERNAL_ERROR", id="7")
        assert DETAIL not in str(refusal)
        (record,) = errors_of(caplog)
        assert record.exc_info
        assert await connection.is_alive()
        assert (await aget_stats())["totalRooms"] == 0


async def test_flood_of_frames_leaves_turns_to_other_tasks(configure):
    configure(RATE_LIMIT=None)
    turns = 0
    ping = {"type": "websocket.receive", "text": '{"type":"ping","timestamp":1}'}
    events = iter(
        [
            {"type": "websocket.connect"},
            *[ping] * 100,
            {"type": "websocket.disconnect", "code": 1000},
        ]
    )

    async def receive():
        return next(events)

    async def send(frame):
        pass

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    await RealtimeConsumer.as_asgi()({"type": "websocket", "headers": []}, receive, send)
    other.cancel()
    assert turns > 100


class Transport:
    """The transport of a server that shows it."""

    is_reading = True
    is_aborted = False

    def get_extra_info(self, name):
        return None

    def pause_reading(self):
        self.is_reading = False

    def abort(self):
        self.is_aborted = True


class ShowingServer:
    """A server whose ``send`` leads to its transport."""

    def __init__(self):
        self.transport = Transport()

    async def __call__(self, scope, receive, send):
        self._send = send
        await RealtimeConsumer.as_asgi()(scope, receive, self.send)

    async def send(self, event):
        await self._send(event)


async def test_connection_that_breaks_the_rate_is_aborted(configure):
    configure(RATE_LIMIT="3/m")
    abuser, honest = ShowingServer(), ShowingServer()
    async with (
        Connection(application=abuser) as connection,
        Connection(application=honest) as other,
    ):
        for _ in range(3):
            await connection.is_alive()
        for _ in range(11):
            await connection.command("ping")
        await connection.assert_closed(4003)
        assert not abuser.transport.is_reading
        await eventually(lambda: abuser.transport.is_aborted)
        assert await other.is_alive()
    assert honest.transport.is_reading


async def test_overridden_deliver_gets_each_text_of_a_burst(user):
    class Discreet(RealtimeConsumer):
        def deliver(self, text):
            return super().deliver(text.replace("secret", "…"))

    connection = Connection(user=user)
    connection.application = Discreet.as_asgi()
    async with connection:
        for _ in range(3):
            await asend_to_user(user, "news", "secret")
        found = await connection.so_far()
        assert [each["payload"] for each in found] == ["…"] * 3
