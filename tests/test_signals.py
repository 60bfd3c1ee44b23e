"""The signals this app sends."""

import asyncio
import functools

import pytest
from asgiref.sync import sync_to_async

from pm_realtime import asubscribe, aunsubscribe, signals
from pm_realtime.testing import session_cookie
from tests.site.models import Note
from tests.support.helpers import Connection, errors_of, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing")

NAMES = ["connected", "disconnected", "joined", "left", "refused"]


@pytest.fixture
def connect_receiver():
    """Connect a receiver to a signal, by its name, for this test."""
    connected = []

    def connect(name, receiver):
        getattr(signals, name).connect(receiver, weak=False)
        connected.append((name, receiver))

    yield connect
    for name, receiver in connected:
        getattr(signals, name).disconnect(receiver)


@pytest.fixture
def heard(connect_receiver):
    """What was sent: the name of each signal with its arguments, in order."""
    heard = []

    def receiver(name, sender, signal, **kwargs):
        heard.append((name, kwargs))

    for name in NAMES:
        connect_receiver(name, functools.partial(receiver, name))
    return heard


def names(heard):
    return [name for name, _ in heard]


async def test_connected_and_disconnected_carry_connection_user_code_and_seconds(heard, user):
    async with Connection(user=user) as connection:
        await eventually(lambda: heard)
        who = {"connection_id": connection.connection_id, "user": user}
        assert heard == [("connected", who)]
        await connection.disconnect(code=1001)
    name, arguments = heard[1]
    seconds = arguments.pop("seconds")
    assert type(seconds) is float
    assert 0 < seconds < 60
    assert (name, arguments) == ("disconnected", {**who, "code": 1001})
    assert len(heard) == 2


async def test_an_anonymous_connection_has_an_anonymous_user(heard):
    async with Connection():
        pass
    assert names(heard) == ["connected", "disconnected"]
    assert all(arguments["user"].is_anonymous for _, arguments in heard)


async def test_disconnected_carries_the_code_of_the_server(heard, configure):
    configure(RATE_LIMIT="1/m")
    async with Connection() as connection:
        for _ in range(12):
            await connection.command("ping")
        await connection.assert_closed(4003)
        await connection.assert_ended()
    assert heard[-1][1]["code"] == 4003
    assert type(heard[-1][1]["code"]) is int


async def test_joined_and_left_carry_the_room(heard, user):
    async with Connection(user=user) as connection:
        who = {"connection_id": connection.connection_id, "user": user}
        await connection.subscribe("lobby")
        await connection.subscribe("lobby")
        await connection.ask("unsubscribe", {"room": "lobby"})
        await connection.ask("unsubscribe", {"room": "lobby"})
        assert heard[1:] == [
            ("joined", {**who, "room": "lobby"}),
            ("left", {**who, "room": "lobby", "reason": None}),
        ]


async def test_joined_and_left_tell_of_the_server_too(heard, user):
    async with Connection(user=user) as connection:
        who = {"connection_id": connection.connection_id, "user": user}
        await asubscribe(connection.connection_id, "support")
        await connection.assert_push("subscribed")
        await aunsubscribe(connection.connection_id, "support", reason="closed")
        await connection.assert_push("unsubscribed")
        assert heard[1:] == [
            ("joined", {**who, "room": "support"}),
            ("left", {**who, "room": "support", "reason": "closed"}),
        ]


async def test_who_goes_away_leaves_each_room(heard, user):
    async with Connection(user=user) as connection:
        await connection.subscribe("a")
        await connection.subscribe("b")
    who = {"connection_id": connection.connection_id, "user": user}
    left = [arguments for name, arguments in heard if name == "left"]
    assert left == [{**who, "room": room, "reason": None} for room in ("a", "b")]
    assert heard[-1][0] == "disconnected"


async def test_refused_carries_the_code_and_the_room(heard, user):
    async with Connection(user=user) as connection:
        who = {"connection_id": connection.connection_id, "user": user}
        await connection.ask("subscribe", {"room": "support"})
        assert heard[1:] == [("refused", {**who, "room": "support", "code": "FORBIDDEN"})]


async def test_refused_tells_of_handshakes_too(heard, configure, user):
    configure(ALLOW_ANONYMOUS=False, MAX_CONNECTIONS_PER_USER=1, CONNECTION_LIMIT_POLICY="refuse")
    cookie = (b"cookie", await session_cookie(user))
    foreign = (b"origin", b"https://evil.example")
    async with Connection(user=user):
        for headers in ([], [cookie], [cookie, foreign]):
            connection = Connection(headers=headers)
            await connection.connect()
            await connection.assert_ended()
        refused = [arguments for name, arguments in heard if name == "refused"]
        assert [arguments["code"] for arguments in refused] == [4501, 4505, 403]
        assert [arguments["room"] for arguments in refused] == [None] * 3
        assert [arguments["user"] == user for arguments in refused] == [False, True, False]
    assert names(heard).count("connected") == names(heard).count("disconnected") == 1


async def test_a_sync_receiver_may_use_the_orm(connect_receiver, user):
    def receiver(room, user, **kwargs):
        Note.objects.create(text=f"{user.username} in {room}")

    connect_receiver("joined", receiver)
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        assert await connection.is_alive()
    assert [note.text async for note in Note.objects.all()] == ["the-user in lobby"]


async def test_an_async_receiver_runs_in_the_loop_and_may_use_the_orm(connect_receiver, user):
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
async def test_a_receiver_that_raises_is_logged_and_harms_nothing(
    connect_receiver, heard, caplog, user, receiver
):
    for name in NAMES:
        connect_receiver(name, receiver)
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        refusal = await connection.ask("subscribe", {"room": "support"})
        assert refusal["payload"]["code"] == "FORBIDDEN"
        await connection.ask("unsubscribe", {"room": "lobby"})
        assert await connection.is_alive()
    assert names(heard) == ["connected", "joined", "refused", "left", "disconnected"]
    assert len(errors_of(caplog)) == 5
    assert all(record.exc_info for record in errors_of(caplog))
