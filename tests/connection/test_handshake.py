"""The handshake: identity, origin, subprotocol, refusals, and the first frame."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.utils import timezone

from pm_realtime import abroadcast, adisconnect_user, aget_stats, asend_to_user
from pm_realtime.backends import get_backend
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.connection.gate import Gate
from pm_realtime.hub import get_hub
from tests.connection.fakes import DETAIL
from tests.support.helpers import (
    EVENT_TIMEOUT_SECONDS,
    NO_CONNECTIONS,
    Connection,
    assert_envelope,
    assert_refusal,
    assert_refused_with,
    cookie_of,
    errors_of,
    eventually,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")


# The handshake


async def test_first_frame_of_a_logged_in_user_is_connected(user):
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
            "idempotencyPeriod": 300_000,
            "cursors": frame["payload"]["cursors"],
        },
    )
    await connection.disconnect()


async def test_anonymous_connection_has_neither_user_nor_role():
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


async def test_connected_names_the_heartbeat_in_ms(configure):
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
async def test_cookie_without_a_session_is_anonymous(transactional_db, cookie):
    async with Connection(headers=[(b"cookie", cookie)]) as connection:
        assert connection.connected["userId"] is None


async def test_expired_session_is_anonymous(user):
    cookie = await cookie_of(user)
    await Session.objects.aupdate(expire_date=timezone.now() - timedelta(seconds=1))
    async with Connection(headers=[cookie]) as connection:
        assert connection.connected["userId"] is None


async def test_inactive_user_is_anonymous(user):
    cookie = await cookie_of(user)
    user.is_active = False
    await user.asave()
    async with Connection(headers=[cookie]) as connection:
        assert connection.connected["userId"] is None


async def test_session_older_than_the_password_is_anonymous(user):
    cookie = await cookie_of(user)
    user.set_password("another")
    await user.asave()
    async with Connection(headers=[cookie]) as connection:
        assert connection.connected["userId"] is None


async def test_anonymous_connection_is_refused_if_not_allowed(configure, user):
    configure(ALLOW_ANONYMOUS=False)
    await assert_refused_with(Connection(), 4501)
    async with Connection(user=user) as connection:
        assert await connection.is_alive()


async def test_page_of_another_site_is_refused_before_accept(user, caplog):
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
async def test_allowed_origins_take_effect(configure, allowed, origin, is_accepted):
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
async def test_offered_subprotocol_is_chosen(offered, chosen):
    connection = Connection(subprotocols=offered)
    assert await connection.connect() == (True, chosen)
    await connection.disconnect()


@pytest.mark.parametrize("resolver", ["broken_resolver", "mistaken_resolver", "missing_resolver"])
async def test_failing_resolver_refuses_with_4013_and_is_logged_once(
    configure, user, caplog, resolver
):
    configure(ROLE_RESOLVER=f"tests.connection.fakes.{resolver}")
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


async def test_client_that_is_gone_before_accept_is_no_error(caplog):
    async def send(event):
        raise OSError("the client is gone")

    events = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}])

    async def receive():
        return next(events)

    await RealtimeConsumer.as_asgi()({"type": "websocket", "headers": []}, receive, send)
    assert errors_of(caplog) == []


@pytest.mark.parametrize("fields", [{"pk": None}, {"id": 5}])
async def test_user_without_a_primary_key_is_refused(caplog, fields):
    communicator = WebsocketCommunicator(RealtimeConsumer.as_asgi(), "/api/ws")
    communicator.scope["user"] = SimpleNamespace(is_authenticated=True, **fields)
    assert await communicator.connect(EVENT_TIMEOUT_SECONDS) == (True, None)
    assert (await communicator.receive_json_from(EVENT_TIMEOUT_SECONDS))["type"] == "error"
    assert await communicator.receive_output(EVENT_TIMEOUT_SECONDS) == {
        "type": "websocket.close",
        "code": 4013,
    }
    await communicator.disconnect()
    (record,) = errors_of(caplog)
    assert "a user with a primary key" in str(record.exc_info[1])


async def test_push_during_the_handshake_comes_after_connected(configure, user):
    configure(BACKEND="tests.connection.fakes.PausingBackend")
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


async def test_user_disconnected_during_the_handshake_does_not_stay(configure, user):
    configure(BACKEND="tests.connection.fakes.PausingBackend")
    connection = Connection(headers=[await cookie_of(user)])
    await connection.connect()
    await get_backend().was_asked.wait()
    await adisconnect_user(user)
    await connection.assert_closed(4503)
    await connection.assert_ended()
    assert await aget_stats() == NO_CONNECTIONS


async def test_user_disconnected_while_the_handshake_waits_at_the_gate_does_not_stay(user, editor):
    consumer = RealtimeConsumer.as_asgi().application

    async def waiting(scope, receive, send):
        await adisconnect_user(user, reason="at the gate")
        await eventually(lambda: get_hub().control.position > before)
        await consumer(scope, receive, send)

    async with Connection(user=editor):
        before = get_hub().control.position
        connection = Connection(headers=[await cookie_of(user)], application=Gate(waiting))
        await connection.connect()
        await connection.assert_closed(4503)
        await connection.assert_ended()


async def test_question_for_the_identity_is_answered_and_not_counted(configure, user):
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


async def test_question_for_the_identity_may_be_refused(configure):
    configure(ALLOW_ANONYMOUS=False)
    asking = Connection()
    asking.scope["query_string"] = b"who="
    await asking.connect()
    await asking.assert_closed(4501)
