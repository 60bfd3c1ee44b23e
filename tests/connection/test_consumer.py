"""The life of a connection: handshake, limits, heartbeat, end."""

import asyncio
import re
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.utils import timezone

from pm_realtime import abroadcast, adisconnect_user, aget_stats, asend_to_user
from pm_realtime.auth.database import run_handshake
from pm_realtime.backends import get_backend
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import get_hub
from pm_realtime.layer import room_group, user_group
from tests.support.helpers import (
    NO_CONNECTIONS,
    PATIENCE,
    Connection,
    assert_envelope,
    assert_refusal,
    assert_refused_with,
    cookie_of,
    errors_of,
    eventually,
    layer_groups,
    running_tasks,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")

DETAIL = "secret inside detail"


class PausingBackend(MemoryBackend):
    """Holds up the connects of users until the test lets them go on."""

    def __init__(self):
        super().__init__()
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def add(self, connection, **kwargs):
        if connection.user_id is not None:
            self.was_asked.set()
            await self.may_answer.wait()
        return await super().add(connection, **kwargs)


class LostBackend(MemoryBackend):
    """Lets connect, and is lost after that."""

    async def join(self, *args, **kwargs):
        raise BackendError(DETAIL)


class FrozenReader:
    """The application behind a client that stops reading at the first ``big`` push."""

    def __init__(self):
        self.may_read = asyncio.Event()

    async def __call__(self, scope, receive, send):
        async def send_or_wait(event):
            if '"big"' in event.get("text", ""):
                await self.may_read.wait()
            await send(event)

        await RealtimeConsumer.as_asgi()(scope, receive, send_or_wait)


def broken_resolver(user):
    raise RuntimeError(DETAIL)


def mistaken_resolver(user):
    return "emperor"


# The handshake


async def test_the_first_frame_of_a_logged_in_user_is_connected(user):
    connection = Connection(headers=[await cookie_of(user)])
    assert await connection.connect() == (True, None)
    frame = await connection.receive()
    assert re.fullmatch("[0-9a-f]{32}", frame["payload"]["connectionId"])
    assert_envelope(
        frame,
        type="connected",
        payload={
            "userId": str(user.pk),
            "connectionId": frame["payload"]["connectionId"],
            "role": "user",
            "heartbeatInterval": 30_000,
            "heartbeatTimeout": 10_000,
        },
    )
    await connection.disconnect()


async def test_an_anonymous_connection_has_neither_user_nor_role():
    async with Connection() as connection:
        assert connection.connected["userId"] is None
        assert connection.connected["role"] is None
        assert (await aget_stats())["authenticatedConnections"] == 0
        assert (await aget_stats())["totalConnections"] == 1


async def test_connected_names_the_role(users):
    for role, user in users.items():
        async with Connection(user=user) as connection:
            assert connection.connected["role"] == role


async def test_two_connections_have_different_ids(user):
    async with Connection(user=user) as one, Connection(user=user) as other:
        assert one.connection_id != other.connection_id


async def test_the_heartbeat_is_told_in_ms(configure):
    configure(HEARTBEAT_INTERVAL=1.5, HEARTBEAT_TIMEOUT=0.25)
    async with Connection() as connection:
        assert connection.connected["heartbeatInterval"] == 1500
        assert connection.connected["heartbeatTimeout"] == 250


@pytest.mark.parametrize(("name", "role"), [("writer", "writer"), ("nobody", None)])
async def test_other_roles_and_another_resolver_take_effect(configure, user, name, role):
    configure(ROLES=["reader", "writer"], ROLE_RESOLVER="tests.site.rules.by_name", ROOMS={})
    user.username = name
    await user.asave()
    async with Connection(user=user) as connection:
        assert connection.connected["userId"] == str(user.pk)
        assert connection.connected["role"] == role


@pytest.mark.parametrize(
    "cookie",
    [
        b"",
        b"sessionid=",
        b"sessionid=0123456789abcdef0123456789abcdef",
        b"sessionid=short",
        b"sessionid=" + b"a" * 5000,
        b"sessionid=\xff\xfe' OR 1=1; other=2",
        b"other=0123456789abcdef",
        b";;;=;\x00",
    ],
)
async def test_a_cookie_of_no_session_is_anonymous(transactional_db, cookie):
    async with Connection(headers=[(b"cookie", cookie)]) as connection:
        assert connection.connected["userId"] is None


async def test_an_expired_session_is_anonymous(user):
    cookie = await cookie_of(user)
    await Session.objects.aupdate(expire_date=timezone.now() - timedelta(seconds=1))
    async with Connection(headers=[cookie]) as connection:
        assert connection.connected["userId"] is None


async def test_an_inactive_user_is_anonymous(user):
    cookie = await cookie_of(user)
    user.is_active = False
    await user.asave()
    async with Connection(headers=[cookie]) as connection:
        assert connection.connected["userId"] is None


async def test_a_session_from_before_a_change_of_password_is_anonymous(user):
    cookie = await cookie_of(user)
    user.set_password("another")
    await user.asave()
    async with Connection(headers=[cookie]) as connection:
        assert connection.connected["userId"] is None


async def test_where_anonymous_is_not_allowed_only_users_stay(configure, user):
    configure(ALLOW_ANONYMOUS=False)
    await assert_refused_with(Connection(), 4501)
    async with Connection(user=user) as connection:
        assert await connection.is_alive()


async def test_a_page_of_another_site_is_refused_before_accept(user, caplog):
    foreign = (b"origin", b"https://evil.example")
    connection = Connection(headers=[foreign, (b"host", b"testserver"), await cookie_of(user)])
    accepted, _ = await connection.connect()
    assert not accepted
    await connection.assert_ended()
    assert connection.output_queue.empty()
    assert "https://evil.example" in caplog.text


@pytest.mark.parametrize(
    ("allowed", "origin", "is_accepted"),
    [
        (None, b"http://testserver", True),
        (None, b"null", False),
        (["https://app.example"], b"https://app.example", True),
        (["https://app.example"], b"http://testserver", False),
        (["*"], b"https://evil.example", True),
    ],
)
async def test_allowed_origins_takes_effect(configure, allowed, origin, is_accepted):
    configure(ALLOWED_ORIGINS=allowed)
    connection = Connection(headers=[(b"origin", origin), (b"host", b"testserver")])
    accepted, _ = await connection.connect()
    assert accepted is is_accepted
    await connection.disconnect()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["pm-realtime.v1"], "pm-realtime.v1"),
        (["graphql-ws", "pm-realtime.v1"], "pm-realtime.v1"),
        (["graphql-ws", "pm-realtime.v2"], None),
        (["pm-realtime.v1", "pm-realtime.v1.batch"], "pm-realtime.v1.batch"),
        (["pm-realtime.v1.batch"], "pm-realtime.v1.batch"),
    ],
)
async def test_the_subprotocol_is_chosen_where_it_is_offered(offered, chosen):
    connection = Connection(subprotocols=offered)
    assert await connection.connect() == (True, chosen)
    await connection.disconnect()


@pytest.mark.parametrize("resolver", ["broken_resolver", "mistaken_resolver", "missing_resolver"])
async def test_a_resolver_that_fails_refuses_with_4013_and_is_logged_once(
    configure, user, caplog, resolver
):
    configure(ROLE_RESOLVER=f"tests.connection.test_consumer.{resolver}")
    for _ in range(3):
        connection = Connection(headers=[await cookie_of(user)])
        assert (await connection.connect())[0]
        refusal = await connection.receive()
        assert_refusal(refusal, "INTERNAL_ERROR", id=None)
        assert DETAIL not in str(refusal)
        assert await connection.receive_output() == {"type": "websocket.close", "code": 4013}
        await connection.assert_ended()
    (record,) = errors_of(caplog)
    assert record.name == "pm_realtime.auth"
    assert record.exc_info
    assert await aget_stats() == NO_CONNECTIONS


async def test_a_client_that_is_gone_before_accept_is_no_error(caplog):
    async def send(event):
        raise OSError("the client is gone")

    events = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}])

    async def receive():
        return next(events)

    await RealtimeConsumer.as_asgi()({"type": "websocket", "headers": []}, receive, send)
    assert errors_of(caplog) == []


async def test_what_is_pushed_during_the_handshake_comes_after_connected(configure, user):
    configure(BACKEND="tests.connection.test_consumer.PausingBackend")
    connection = Connection(headers=[await cookie_of(user)])
    await connection.connect()
    await get_backend().was_asked.wait()
    async with Connection() as other:
        await asend_to_user(user, "early", 1)
        await abroadcast("early", 2)
        assert await other.so_far() == []
    assert connection.output_queue.empty()
    get_backend().may_answer.set()
    frames = [await connection.receive() for _ in range(3)]
    assert [frame["type"] for frame in frames] == ["connected", "early", "early"]
    assert [frame["payload"] for frame in frames[1:]] == [1, 2]
    await connection.disconnect()


async def test_a_user_disconnected_during_the_handshake_does_not_stay(configure, user):
    configure(BACKEND="tests.connection.test_consumer.PausingBackend")
    connection = Connection(headers=[await cookie_of(user)])
    await connection.connect()
    await get_backend().was_asked.wait()
    await adisconnect_user(user)
    await connection.assert_closed(4503)
    await connection.assert_ended()
    assert await aget_stats() == NO_CONNECTIONS


async def test_handshake_rechecks_after_missed_control_message(configure, user, caplog):
    configure(SESSION_RECHECK_INTERVAL=600)

    class Missing(RealtimeConsumer):
        async def accept(self, *args, **kwargs):
            await Session.objects.all().adelete()
            await get_hub().channel.resubscribe()
            await super().accept(*args, **kwargs)

    connection = Connection(headers=[await cookie_of(user)], application=Missing.as_asgi())
    await connection.connect()
    await connection.assert_closed(4501)
    assert errors_of(caplog) == []


# The session and the database


async def sessions():
    return [row async for row in Session.objects.order_by("pk").values()]


@pytest.mark.parametrize(
    ("changed", "is_known"),
    [
        ({}, True),
        ({"SESSION_SAVE_EVERY_REQUEST": True}, True),
        ({"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["only for tests"]}, True),
        ({"SECRET_KEY": "new"}, False),
    ],
)
async def test_a_connect_leaves_the_session_as_it_is(settings, user, changed, is_known):
    cookie = await cookie_of(user)
    before = await sessions()
    for name, value in changed.items():
        setattr(settings, name, value)
    async with Connection(headers=[cookie]) as connection:
        assert (connection.connected["userId"] == str(user.pk)) is is_known
    assert await sessions() == before
    assert len(before) == 1


@pytest.fixture
def hops(monkeypatch):
    """A list of the calls to ``run_handshake``."""
    hops = []

    async def counted(*args):
        hops.append(args)
        return await run_handshake(*args)

    monkeypatch.setattr("pm_realtime.auth.authentication.run_handshake", counted)
    return hops


@pytest.mark.parametrize(
    "case",
    [
        ("editor", ["django_session", "site_user", "auth_group"]),
        ("master", ["django_session", "site_user"]),
    ],
)
async def test_a_connect_asks_the_database_in_one_hop_once_for_each_table(
    settings, caplog, hops, users, case
):
    role, tables = case
    cookie = await cookie_of(users[role])
    settings.DEBUG = True
    with caplog.at_level("DEBUG", "django.db.backends"):
        async with Connection(headers=[cookie]):
            pass
    queries = [r for r in caplog.records if r.name == "django.db.backends"]
    assert [re.search(r'FROM "(\w+)"', r.sql)[1] for r in queries] == tables
    assert len({record.thread for record in queries}) == 1
    assert queries[0].thread != threading.get_ident()
    assert len(hops) == 1


async def test_an_anonymous_connect_needs_no_database():
    # pytest-django fails the test at the first query without a database fixture.
    async with Connection() as connection:
        assert await connection.is_alive()


# Frames that are none


def padded_ping(size, filler="x"):
    frame = '{"type": "ping", "timestamp": 1, "id": "big", "padding": "%s"}'
    missing = size - len(frame % "")
    return frame % (filler * (missing // len(filler.encode())))


async def test_a_message_may_have_65536_bytes_and_no_more():
    async with Connection() as connection:
        assert (await connection.ask_raw(padded_ping(65536)))["type"] == "pong"
        refusal = await connection.ask_raw(padded_ping(65537))
        assert_refusal(refusal, "MESSAGE_TOO_LARGE", id=None)
        assert await connection.is_alive()


async def test_bytes_are_counted_not_characters(configure):
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
        DEFAULT_ROOM={"public": True},
    )


async def test_who_has_pinged_and_falls_silent_is_closed_and_who_never_pings_is_not(
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


async def test_any_frame_keeps_alive(quick_heartbeat):
    async with Connection() as talks, Connection() as silent:
        assert await talks.is_alive()
        assert await silent.is_alive()
        while not silent.future.done():
            assert (await talks.ask_raw("no JSON"))["type"] == "error"
            await asyncio.sleep(0.01)
        await silent.assert_closed(4001)
        assert await talks.is_alive()


gate = threading.Event()


def waits_at_the_gate(user, room):
    return gate.wait(PATIENCE)


async def test_a_command_that_takes_long_is_no_silence(quick_heartbeat, configure, user):
    configure(ROOMS={"slow": {"authorize": "tests.connection.test_consumer.waits_at_the_gate"}})
    gate.clear()
    async with Connection(user=user) as waits, Connection() as silent:
        assert await waits.is_alive()
        id = await waits.command("subscribe", {"room": "slow"})
        assert await silent.is_alive()
        await silent.assert_closed(4001)
        gate.set()
        await waits.assert_reply(id, "subscribed")


# Other settings


async def test_a_client_that_does_not_read_is_closed_at_max_queue_bytes(configure, user):
    configure(MAX_QUEUE_BYTES=2000)
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


# What goes wrong inside


async def test_a_lost_backend_is_an_internal_error(configure, user, caplog):
    configure(BACKEND="tests.connection.test_consumer.LostBackend")
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "broken"}, id="7")
        assert_refusal(refusal, "INTERNAL_ERROR", id="7")
        assert DETAIL not in str(refusal)
        (record,) = errors_of(caplog)
        assert record.exc_info
        assert await connection.is_alive()
        assert (await aget_stats())["totalRooms"] == 0


# The end


async def test_a_disconnect_leaves_nothing(user):
    tasks = running_tasks()
    async with Connection(user=user) as connection:
        await connection.subscribe("a")
        await connection.subscribe("b")
        assert {room_group("a"), room_group("b"), user_group(str(user.pk))} < set(layer_groups())
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
    assert layer_groups() == {}
    await eventually(lambda: running_tasks() == tasks)


async def cancel_in_handshake(configure, user):
    configure(BACKEND="tests.connection.test_consumer.PausingBackend")
    connection = Connection(headers=[await cookie_of(user)])
    await connection.connect()
    await get_backend().was_asked.wait()
    return connection


async def cancel_while_idle(configure, user):
    connection = await Connection(user=user).__aenter__()
    await connection.subscribe("a")
    return connection


async def cancel_in_command(configure, user):
    configure(ROOMS={"slow": {"authorize": "tests.connection.test_consumer.waits_at_the_gate"}})
    gate.clear()
    connection = await Connection(user=user).__aenter__()
    await connection.command("subscribe", {"room": "slow"})
    await eventually(connection.input_queue.empty)
    return connection


@pytest.mark.parametrize("prepare", [cancel_in_handshake, cancel_while_idle, cancel_in_command])
async def test_a_shutdown_of_the_server_closes_with_4012_cleans_up_and_goes_on(
    configure, user, prepare
):
    connection = await prepare(configure, user)
    connection.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.future
    assert connection.future.cancelled()
    last = connection.unread()[-1]
    assert (last["type"], last["code"]) == ("websocket.close", 4012)
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0
    gate.set()


async def test_a_second_cancellation_does_not_cut_the_cleaning_short(user):
    connection = await cancel_while_idle(None, user)
    connection.future.cancel()
    await asyncio.sleep(0)
    connection.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.future
    assert await aget_stats() == NO_CONNECTIONS


async def test_a_shutdown_does_not_wait_for_a_client_that_does_not_read(user):
    connection = await Connection(user=user, application=FrozenReader()).__aenter__()
    await asend_to_user(user, "big")
    await adisconnect_user(user)
    await eventually(lambda: not layer_groups())
    connection.future.cancel()
    await asyncio.wait([connection.future], timeout=PATIENCE)
    assert connection.future.done()
    assert await aget_stats() == NO_CONNECTIONS


async def test_a_server_that_fails_leaves_nothing(configure):
    configure(BACKEND="tests.connection.test_consumer.PausingBackend")
    frames = asyncio.Queue()
    fails = asyncio.Event()
    events = [{"type": "websocket.connect"}]

    async def receive():
        if events:
            return events.pop()
        await fails.wait()
        raise RuntimeError("the server is broken")

    scope = {"type": "websocket", "headers": []}
    serving = asyncio.create_task(RealtimeConsumer.as_asgi()(scope, receive, frames.put))
    await eventually(lambda: frames.qsize() == 2)
    fails.set()
    with pytest.raises(RuntimeError, match="the server is broken"):
        await serving
    assert await aget_stats() == NO_CONNECTIONS
    assert len(get_hub()) == 0


async def test_a_flood_of_frames_leaves_turns_to_others(configure):
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


async def test_who_breaks_the_rate_is_cut_off_after_the_close_frame(configure, monkeypatch):
    configure(RATE_LIMIT="3/m")
    cut = []
    monkeypatch.setattr("pm_realtime.connection.inbox.abort", cut.append)
    async with Connection() as connection, Connection() as other:
        for _ in range(3):
            await connection.is_alive()
        for _ in range(11):
            await connection.command("ping")
        await connection.assert_closed(4003)
        assert len(cut) == 1
        assert await other.is_alive()
    assert len(cut) == 1


async def test_a_user_without_a_primary_key_is_not_let_in(caplog):
    communicator = WebsocketCommunicator(RealtimeConsumer.as_asgi(), "/api/ws")
    communicator.scope["user"] = SimpleNamespace(is_authenticated=True, pk=None)
    assert await communicator.connect(PATIENCE) == (True, None)
    assert (await communicator.receive_json_from(PATIENCE))["type"] == "error"
    assert await communicator.receive_output(PATIENCE) == {"type": "websocket.close", "code": 4013}
    await communicator.disconnect()
    (record,) = errors_of(caplog)
    assert "a user with a primary key" in str(record.exc_info[1])


async def test_what_a_site_does_with_each_text_it_does_with_those_that_come_together(user):
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


async def test_who_only_asks_who_it_is_is_told_and_not_counted(configure, user):
    configure(MAX_CONNECTIONS_PER_USER=1)
    async with Connection(user=user) as first:
        asking = Connection(user=user)
        asking.scope["query_string"] = b"who=&resume="
        async with asking:
            assert asking.connected["userId"] == str(user.pk)
            await asking.assert_closed(1000)
            await asking.assert_ended()
        assert await first.is_alive()
        assert (await aget_stats())["totalConnections"] == 1


async def test_who_only_asks_and_may_not_connect_is_told_so(configure):
    configure(ALLOW_ANONYMOUS=False)
    asking = Connection()
    asking.scope["query_string"] = b"who="
    await asking.connect()
    await asking.assert_closed(4501)
