"""How many handshakes a process takes: from one address, of one user, and at a time."""

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest
from channels.testing import WebsocketCommunicator

from pm_realtime.asgi import Application
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.connection.gate import HANDSHAKES_PER_TURN, Gate, address_of, check_user
from pm_realtime.hub import Hub
from pm_realtime.signals import refused
from tests.connection import fakes
from tests.support.helpers import (
    EVENT_TIMEOUT_SECONDS,
    Connection,
    assert_refused_with,
    eventually,
)

PUBLIC = "8.8.4.4"
HTTP = {"websocket.http.response": {}}


def scope(client=PUBLIC, *forwarded, extensions=None):
    return {
        "type": "websocket",
        "path": "/api/ws",
        "client": client and (client, 50000),
        "headers": [(b"x-forwarded-for", each.encode()) for each in forwarded],
        "subprotocols": [],
        "extensions": extensions,
    }


def knock(client=PUBLIC, *forwarded, extensions=None, application=None):
    """A connection whose handshake has not begun."""
    connection = Connection(application=application)
    connection.scope.update(scope(client, *forwarded, extensions=extensions))
    return connection


async def answer_to(client=PUBLIC, *forwarded, extensions=None):
    """The type of the first event that answers a handshake."""
    connection = knock(client, *forwarded, extensions=extensions)
    await connection.send_input({"type": "websocket.connect"})
    first = await connection.receive_output(EVENT_TIMEOUT_SECONDS)
    await connection.disconnect()
    return first["type"]


# The address that is counted


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("8.8.4.4", "8.8.4.4"),
        ("::ffff:8.8.4.4", "8.8.4.4"),
        ("2606:4700:4700:1:2:3:4:5", "2606:4700:4700:1::/64"),
        ("2606:4700:4700:1::99", "2606:4700:4700:1::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("10.1.2.3", None),
        ("192.168.1.1", None),
        ("100.64.0.1", None),
        ("169.254.1.1", None),
        ("fe80::1%eth0", None),
        ("fd00::1", None),
        ("::ffff:10.0.0.1", None),
        ("", None),
        ("/run/site.sock", None),
        ("testclient", None),
        (None, None),
    ],
)
def test_by_default_a_public_peer_is_counted(client, counted):
    assert address_of(scope(client)) == counted
    assert address_of(scope(client, "1.1.1.1")) == counted


def test_scope_without_a_peer_is_not_limited():
    assert address_of({"headers": []}) is None


def test_without_proxies_every_peer_is_counted_and_no_header(configure):
    configure(PROXIES=0)
    assert address_of(scope("10.1.2.3", "1.1.1.1")) == "10.1.2.3"
    assert address_of(scope("fd00::1")) == "fd00::/64"
    assert address_of(scope(None, "1.1.1.1")) is None


@pytest.mark.parametrize(
    ("proxies", "forwarded", "counted"),
    [
        (1, ["1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9", "1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9,1.1.1.1 "], "1.1.1.1"),
        (2, ["9.9.9.9, 1.1.1.1, 10.0.0.7"], "1.1.1.1"),
        (2, ["9.9.9.9", "1.1.1.1, 10.0.0.7"], "1.1.1.1"),
        (1, ["1.1.1.1:4711"], "1.1.1.1"),
        (1, ["[2606:4700::5]:4711"], "2606:4700::/64"),
        (1, ["2606:4700::5"], "2606:4700::/64"),
        (1, ["10.9.9.9"], "10.9.9.9"),
        (1, ["fe80::1%eth0"], "fe80::/64"),
        (1, ["::ffff:1.1.1.1"], "1.1.1.1"),
        # An entry that is no address counts for the next proxy, in the end for the peer.
        (1, ["unknown"], "10.0.0.1"),
        (1, ["9.9.9.9, unknown"], "10.0.0.1"),
        (1, ["1.1.1.1, "], "10.0.0.1"),
        (1, [""], "10.0.0.1"),
        (1, ["_secret:80"], "10.0.0.1"),
        (1, ["1.1.1.1 1.1.1.1"], "10.0.0.1"),
        (1, ["999.1.1.1"], "10.0.0.1"),
        (1, ["1" * 5000], "10.0.0.1"),
        (1, ["\xff\xfe"], "10.0.0.1"),
        (2, ["9.9.9.9, unknown, 10.0.0.7"], "10.0.0.7"),
        (2, ["9.9.9.9, unknown, "], "10.0.0.1"),
        (3, ["-, unknown, 10.0.0.7"], "10.0.0.7"),
    ],
)
def test_behind_proxies_the_outermost_one_names_the_address(configure, proxies, forwarded, counted):
    configure(PROXIES=proxies)
    assert address_of(scope("10.0.0.1", *forwarded)) == counted


@pytest.mark.parametrize("client", [None, "", "unix:"])
def test_client_without_any_readable_address_is_counted(configure, client):
    configure(PROXIES=1)
    assert address_of(scope(client, "unknown")) == address_of(scope(client, "-")) is not None
    assert address_of(scope(client, "1.1.1.1")) == "1.1.1.1"


async def test_rate_holds_for_clients_whose_address_cannot_be_read(configure):
    configure(CONNECT_RATE_PER_ADDRESS="2/m", PROXIES=1)
    answers = [await answer_to("10.0.0.1", f"unknown{number}") for number in range(4)]
    assert answers == ["websocket.accept"] * 2 + ["websocket.close"] * 2
    assert await answer_to("10.0.0.1", "1.1.1.1") == "websocket.accept"


@pytest.mark.parametrize(("client", "counted"), [("8.8.4.4", "8.8.4.4"), ("10.0.0.1", None)])
@pytest.mark.parametrize("forwarded", [[], ["1.1.1.1"]])
def test_handshake_past_a_proxy_is_counted_by_its_peer(configure, client, counted, forwarded):
    configure(PROXIES=2)
    assert address_of(scope(client, *forwarded)) == counted


# The rate of an address


async def test_address_over_its_rate_is_refused_before_accept(configure, caplog):
    configure(CONNECT_RATE_PER_ADDRESS="3/m")
    answers = [await answer_to() for _ in range(5)]
    assert answers == ["websocket.accept"] * 3 + ["websocket.close"] * 2
    assert await answer_to("8.8.8.8") == "websocket.accept"
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.name == "pm_realtime.connection"
    assert "429" in record.message
    assert PUBLIC in record.message


async def test_server_with_the_extension_answers_429_with_retry_after(configure):
    configure(CONNECT_RATE_PER_ADDRESS="1/m")
    await answer_to()
    connection = knock(extensions=HTTP)
    await connection.send_input({"type": "websocket.connect"})
    start = await connection.receive_output()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert dict(start["headers"])[b"retry-after"] == b"60"
    body = await connection.receive_output()
    assert body == {"type": "websocket.http.response.body", "body": b""}
    for _ in range(2):  # As uvicorn sends it.
        await connection.send_input({"type": "websocket.disconnect", "code": 1006})
    await connection.assert_ended()


async def test_refusal_of_a_client_that_has_gone_is_no_error(configure, caplog):
    configure(CONNECT_RATE_PER_ADDRESS="1/m")
    await answer_to()

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        raise OSError("gone")

    await RealtimeConsumer.as_asgi()(scope(extensions=HTTP), receive, send)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_refused_address_causes_no_query_and_no_signal(configure):
    """Without a database fixture, pytest-django fails the test at its first query."""
    configure(CONNECT_RATE_PER_ADDRESS="1/m")
    await answer_to()
    received = []
    refused.connect(lambda **kwargs: received.append(kwargs), weak=False, dispatch_uid="test")
    try:
        connection = knock()
        connection.scope["headers"] = [(b"cookie", b"sessionid=0123456789abcdef0123456789abcdef")]
        assert (await connection.connect())[0] is False
    finally:
        refused.disconnect(dispatch_uid="test")
    assert received == []


@pytest.mark.parametrize("rate", [None, "1/m"])
async def test_without_a_rate_or_a_public_address_nothing_is_limited(configure, rate):
    configure(CONNECT_RATE_PER_ADDRESS=rate)
    client = PUBLIC if rate is None else "127.0.0.1"
    assert [await answer_to(client) for _ in range(3)] == ["websocket.accept"] * 3


async def test_ipv6_network_is_counted_as_one_address(configure):
    configure(CONNECT_RATE_PER_ADDRESS="2/m")
    answers = [await answer_to(f"2606:4700::{n}") for n in range(3)]
    assert answers == ["websocket.accept"] * 2 + ["websocket.close"]
    assert await answer_to("2606:4700:0:1::") == "websocket.accept"


async def test_thousand_refusals_are_one_log_line(configure, caplog):
    configure(CONNECT_RATE_PER_ADDRESS="1/m")
    for _ in range(1000):
        await answer_to()
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1


# The rate of a user


async def test_user_over_the_rate_is_asked_to_come_again(configure, user, editor):
    configure(CONNECT_RATE_PER_USER="2/m")
    for _ in range(2):
        async with Connection(user=user) as connection:
            assert await connection.is_alive()
    headers = connection.scope["headers"]
    late = Connection(headers=headers)
    assert (await late.connect())[0]
    await late.assert_closed(4013)
    await late.assert_ended()
    async with Connection(user=editor) as other, Connection() as anonymous:
        assert await other.is_alive()
        assert await anonymous.is_alive()
    configure(CONNECT_RATE_PER_USER=None)
    async with Connection(user=user) as connection:
        assert await connection.is_alive()


# Handshakes at a time


async def test_handshakes_leave_turns_to_other_tasks():
    begun, turns = [], []

    async def application(scope, receive, send):
        begun.append(len(turns))

    gate = Gate(application)
    entering = [asyncio.create_task(gate(scope(), None, None)) for _ in range(100)]
    while len(begun) < 100:
        await asyncio.sleep(0)
        turns.append(None)
    await asyncio.wait(entering)
    assert len(set(begun)) == 100 / HANDSHAKES_PER_TURN


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        (HTTP, ["websocket.http.response.start", "websocket.http.response.body"]),
        (None, ["websocket.accept", "websocket.close"]),
    ],
)
async def test_handshake_over_the_limit_is_refused_at_once(caplog, extensions, expected):
    served = []

    async def application(scope, receive, send):
        served.append(scope)

    gate = Gate(application, max_handshakes=5)
    entering = [asyncio.create_task(gate(scope(), None, None)) for _ in range(5)]
    await asyncio.sleep(0)
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        sent.append(event)

    await gate(scope(extensions=extensions), receive, send)
    assert [each["type"] for each in sent] == expected
    assert sent[0].get("status", 503) == 503
    assert sent[-1].get("code", 4013) == 4013
    await asyncio.wait(entering)
    assert len(served) == 5
    assert "503" in caplog.text


async def test_cancelled_handshake_is_counted_no_more():
    gate = gate_of_two()
    entering = [asyncio.create_task(gate(scope(), None, None)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in entering:
        task.cancel()
    await asyncio.wait(entering)
    async with Connection(application=gate) as connection:
        assert await connection.is_alive()


async def test_open_connections_are_no_handshakes():
    gate = gate_of_two()
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(Connection(application=gate))


@pytest.mark.parametrize("query", [b"", b"who="])
async def test_refused_handshakes_are_counted_no_more(configure, query):
    configure(ALLOW_ANONYMOUS=False)
    gate = gate_of_two()
    for _ in range(5):
        refused = Connection(application=gate)
        refused.scope["query_string"] = query
        await refused.connect()
        await refused.assert_closed(4501)


def gate_of_two():
    return Gate(RealtimeConsumer.as_asgi().application, max_handshakes=2)


async def test_stuck_database_bounds_handshakes_and_holds_up_no_command(configure, user):
    application = RealtimeConsumer.as_asgi().application
    two, three = Gate(application, max_handshakes=2), Gate(application, max_handshakes=3)
    async with Connection(user=user) as connection:
        cookies = connection.scope["headers"]
        configure(ROLE_RESOLVER="tests.connection.fakes.waiting_resolver")
        fakes.gate.clear()
        entering = [Connection(headers=cookies, application=three) for _ in range(2)]
        for each in entering:
            await each.send_input({"type": "websocket.connect"})
        await eventually(lambda: not entering[-1].input_queue.qsize())
        late = Connection(headers=cookies, application=two)
        assert (await late.connect())[0]
        await late.assert_closed(4013)
        assert await connection.is_alive()
        async with Connection(application=three) as anonymous:
            assert await anonymous.is_alive()
        fakes.gate.set()
        for each in entering:
            await each.receive_output()
            assert (await each.receive())["type"] == "connected"
            await each.disconnect()
        async with Connection(application=two) as anonymous:
            assert await anonymous.is_alive()


# Anonymous connections


async def test_anonymous_connection_over_the_limit_is_asked_to_come_again(configure, user):
    configure(MAX_ANONYMOUS_CONNECTIONS=2)
    async with Connection() as one, Connection():
        late = Connection()
        assert (await late.connect())[0]
        await late.assert_closed(4013)
        await late.assert_ended()
        async with Connection(user=user) as connection:
            assert await connection.is_alive()
        assert await one.is_alive()
    async with Connection() as again:
        assert await again.is_alive()


async def test_one_address_fills_a_quarter_of_the_anonymous_connections(configure, caplog, user):
    configure(MAX_ANONYMOUS_CONNECTIONS=8)
    async with AsyncExitStack() as stack:
        first, _ = [await stack.enter_async_context(knock()) for _ in range(2)]
        for _ in range(2):
            await assert_refused_with(knock(), 4013)
        for address in ("8.8.8.8", "9.9.9.9", None):
            await stack.enter_async_context(knock(address))
        await stack.enter_async_context(knock("8.8.8.8"))
        logged_in = knock()
        logged_in.user = user
        await stack.enter_async_context(logged_in)
        await first.disconnect()
        await first.assert_ended()
        await stack.enter_async_context(knock())
        await assert_refused_with(knock(), 4013)
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert PUBLIC in record.message


async def test_slot_is_free_again_although_the_groups_could_not_be_left(configure, monkeypatch):
    configure(MAX_ANONYMOUS_CONNECTIONS=1)
    remove = Hub.remove

    async def fail(*args, **kwargs):
        await remove(*args, **kwargs)
        raise RuntimeError

    monkeypatch.setattr(Hub, "remove", fail)
    for _ in range(2):
        async with knock() as connection:
            assert await connection.is_alive()


async def test_one_anonymous_connection_of_an_address_fits_any_limit(configure):
    configure(MAX_ANONYMOUS_CONNECTIONS=1)
    async with knock() as connection:
        assert await connection.is_alive()
    async with knock() as connection:
        assert await connection.is_alive()


async def test_without_a_limit_anonymous_connections_are_not_counted(configure):
    configure(MAX_ANONYMOUS_CONNECTIONS=None)
    async with knock(), knock() as connection:
        assert await connection.is_alive()


# The application around the gate


async def test_gate_stands_before_a_consumer_however_it_is_mounted(configure):
    configure(CONNECT_RATE_PER_ADDRESS="1/m")
    assert RealtimeConsumer.as_asgi().consumer_class is RealtimeConsumer
    mounted = Application(None, RealtimeConsumer.as_asgi())
    answers = []
    for _ in range(2):
        communicator = WebsocketCommunicator(mounted, "/api/ws")
        communicator.scope["client"] = (PUBLIC, 1)
        answers.append((await communicator.connect(EVENT_TIMEOUT_SECONDS))[0])
        await communicator.disconnect()
    assert answers == [True, False]


async def test_other_paths_pass_the_gate_and_are_logged_once(configure, caplog):
    configure(CONNECT_RATE_PER_ADDRESS="3/m")
    mounted, answers = Application(None, RealtimeConsumer.as_asgi()), []
    for number in range(5):
        communicator = WebsocketCommunicator(mounted, f"/other/{number}")
        communicator.scope.update(client=(PUBLIC, 1), extensions=HTTP)
        await communicator.send_input({"type": "websocket.connect"})
        answers.append((await communicator.receive_output(EVENT_TIMEOUT_SECONDS))["type"])
        communicator.stop()
    assert answers == ["websocket.close"] * 3 + ["websocket.http.response.start"] * 2
    first, limited = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert "/other/0" in first
    assert "429" in limited


def test_users_are_counted_by_their_primary_key(configure):
    configure(CONNECT_RATE_PER_USER="1/m")
    check_user(None)
    check_user(None)
    check_user(1)
    with pytest.raises(Exception, match="4013"):
        check_user("1")


class ConnectingInATask(RealtimeConsumer):
    async def connect(self):
        await asyncio.create_task(super().connect())


class ServingInATask(RealtimeConsumer):
    async def __call__(self, scope, receive, send):
        await asyncio.create_task(super().__call__(scope, receive, send))


@pytest.mark.parametrize("consumer", [ConnectingInATask, ServingInATask])
async def test_handshake_in_a_task_of_the_site_is_counted_no_more_once_it_is_open(consumer):
    gate = Gate(consumer.as_asgi().application, max_handshakes=2)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            connection = await stack.enter_async_context(Connection(application=gate))
            assert await connection.is_alive()
