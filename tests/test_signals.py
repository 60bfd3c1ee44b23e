"""The signals this app sends."""

import asyncio
import functools

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import asubscribe, aunsubscribe
from pm_realtime.testing import session_cookie
from tests.site.models import Note
from tests.support.helpers import Connection, errors_of, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing")

NAMES = ["connected", "disconnected", "joined", "left", "refused"]


@pytest.fixture
def received(connect_receiver):
    """The name and arguments of each signal sent, in order."""
    received = []

    def receiver(name, sender, signal, **kwargs):
        received.append((name, kwargs))

    for name in NAMES:
        connect_receiver(name, functools.partial(receiver, name))
    return received


def names(received):
    return [name for name, _ in received]


async def test_connected_and_disconnected_carry_connection_user_code_and_seconds(received, user):
    async with Connection(user=user) as connection:
        await eventually(lambda: received)
        common = {"connection_id": connection.connection_id, "user": user}
        assert received == [("connected", common)]
        await connection.disconnect(code=1001)
    name, arguments = received[1]
    seconds = arguments.pop("seconds")
    assert type(seconds) is float
    assert 0 < seconds < 60
    assert (name, arguments) == ("disconnected", {**common, "code": 1001})
    assert len(received) == 2


async def test_anonymous_connection_has_an_anonymous_user(received):
    async with Connection():
        pass
    assert names(received) == ["connected", "disconnected"]
    assert all(arguments["user"].is_anonymous for _, arguments in received)


async def test_disconnected_carries_the_close_code_of_the_server(received, configure):
    configure(RATE_LIMIT="1/m")
    async with Connection() as connection:
        for _ in range(12):
            await connection.command("ping")
        await connection.assert_closed(4003)
        await connection.assert_ended()
    assert received[-1][1]["code"] == 4003
    assert type(received[-1][1]["code"]) is int


async def test_joined_and_left_carry_the_room(received, user):
    async with Connection(user=user) as connection:
        common = {"connection_id": connection.connection_id, "user": user}
        await connection.subscribe("lobby")
        await connection.subscribe("lobby")
        await connection.ask("unsubscribe", {"room": "lobby"})
        await connection.ask("unsubscribe", {"room": "lobby"})
        assert received[1:] == [
            ("joined", {**common, "room": "lobby"}),
            ("left", {**common, "room": "lobby", "reason": None}),
        ]


async def test_joined_and_left_are_sent_for_the_server_too(received, user):
    async with Connection(user=user) as connection:
        common = {"connection_id": connection.connection_id, "user": user}
        await asubscribe(connection.connection_id, "support")
        await connection.assert_push("subscribed")
        await aunsubscribe(connection.connection_id, "support", reason="closed")
        await connection.assert_push("unsubscribed")
        assert received[1:] == [
            ("joined", {**common, "room": "support"}),
            ("left", {**common, "room": "support", "reason": "closed"}),
        ]


async def test_left_is_sent_for_each_room_of_a_closed_connection(received, user):
    async with Connection(user=user) as connection:
        await connection.subscribe("a")
        await connection.subscribe("b")
    common = {"connection_id": connection.connection_id, "user": user}
    left = [arguments for name, arguments in received if name == "left"]
    assert left == [{**common, "room": room, "reason": None} for room in ("a", "b")]
    assert received[-1][0] == "disconnected"


async def test_refused_carries_the_code_and_the_room(received, user):
    async with Connection(user=user) as connection:
        common = {"connection_id": connection.connection_id, "user": user}
        await connection.ask("subscribe", {"room": "support"})
        assert received[1:] == [("refused", {**common, "room": "support", "code": "FORBIDDEN"})]


async def test_refused_is_sent_for_handshakes_too(received, configure, user):
    configure(ALLOW_ANONYMOUS=False, MAX_CONNECTIONS_PER_USER=1, CONNECTION_LIMIT_POLICY="refuse")
    cookie = (b"cookie", await session_cookie(user))
    foreign = (b"origin", b"https://evil.example")
    async with Connection(user=user):
        for headers in ([], [cookie], [cookie, foreign]):
            connection = Connection(headers=headers)
            await connection.connect()
            await connection.assert_ended()
        refused = [arguments for name, arguments in received if name == "refused"]
        assert [arguments["code"] for arguments in refused] == [4501, 4505, 403]
        assert [arguments["room"] for arguments in refused] == [None] * 3
        assert [arguments["user"] == user for arguments in refused] == [False, True, False]
    assert names(received).count("connected") == names(received).count("disconnected") == 1


async def test_sync_receiver_may_use_the_orm(connect_receiver, user):
    def receiver(room, user, **kwargs):
        Note.objects.create(text=f"{user.username} in {room}")

    connect_receiver("joined", receiver)
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        assert await connection.is_alive()
    assert [note.text async for note in Note.objects.all()] == ["the-user in lobby"]


async def test_async_receiver_runs_in_the_loop_and_may_use_the_orm(connect_receiver, user):
    loops = []

    async def receiver(room, **kwargs):
        loops.append(asyncio.get_running_loop())
        await Note.objects.acreate(text=room)

    connect_receiver("joined", receiver)
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        assert await connection.is_alive()
    assert loops == [asyncio.get_running_loop()]
    assert await sync_to_async(Note.objects.count)() == 1


def raises(**kwargs):
    raise RuntimeError("a bug of the site")


async def araises(**kwargs):
    raise RuntimeError("a bug of the site")


@pytest.mark.parametrize("receiver", [raises, araises])
async def test_receiver_that_raises_is_logged_and_has_no_other_effect(
    connect_receiver, received, caplog, user, receiver
):
    for name in NAMES:
        connect_receiver(name, receiver)
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        refusal = await connection.ask("subscribe", {"room": "support"})
        assert refusal["payload"]["code"] == "FORBIDDEN"
        await connection.ask("unsubscribe", {"room": "lobby"})
        assert await connection.is_alive()
    assert names(received) == ["connected", "joined", "refused", "left", "disconnected"]
    assert len(errors_of(caplog)) == 5
    assert all(record.exc_info for record in errors_of(caplog))
