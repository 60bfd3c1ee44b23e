"""Joining and leaving rooms: rights, limits, replies, and the order of messages."""

import asyncio
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from pm_realtime import aget_stats, asend_to_room
from pm_realtime.layer import room_group
from tests.site import rules
from tests.support.helpers import (
    EVENT_TIMEOUT_SECONDS,
    Connection,
    assert_envelope,
    assert_refusal,
    layer_groups,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ANY_ROLE = {"user", "editor", "admin", "master"}

gate = threading.Event()


def waits_in_a_thread(user, room):
    return gate.wait(EVENT_TIMEOUT_SECONDS)


async def waits_in_the_loop(user, room):
    while not gate.is_set():
        await asyncio.sleep(0.005)
    return True


@pytest.fixture
def public(configure):
    """Every room is open to anonymous connections."""
    configure(DEFAULT_ROOM={"public": True, "publish_role": "anonymous"}, RATE_LIMIT=None)


@asynccontextmanager
async def stream_to(room):
    """Push 0, 1, 2, … to ``room`` without a pause."""

    async def push():
        number = 0
        while True:
            await asend_to_room(room, "tick", number)
            number += 1
            await asyncio.sleep(0)

    pushing = asyncio.create_task(push())
    try:
        yield
    finally:
        pushing.cancel()
        await asyncio.wait([pushing])


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("support", {"editor", "admin", "master"}),
        ("admin:notifications", {"admin", "master"}),
        ("system:broadcast", {"master"}),
        ("project:123", ANY_ROLE),
    ],
)
async def test_min_role_decides_about_joining(users, room, allowed):
    async with Connection() as anonymous:
        refusal = await anonymous.ask("subscribe", {"room": room}, id="a")
        assert_refusal(refusal, "AUTH_REQUIRED", id="a", room=room)
    for role, user in users.items():
        async with Connection(user=user) as connection:
            answer = await connection.ask("subscribe", {"room": room}, id="a")
            if role in allowed:
                payload = {"room": room, "success": True}
                assert_envelope(answer, type="subscribed", payload=payload, id="a")
            else:
                assert_refusal(answer, "FORBIDDEN", id="a", room=room)
                message = await connection.ask("message", {"room": room, "content": 1})
                assert message["payload"]["code"] == "NOT_IN_ROOM"


async def test_without_a_default_room_only_listed_rooms_exist(configure, users):
    configure(DEFAULT_ROOM=None)
    async with Connection(user=users["master"]) as connection:
        await connection.subscribe("support")
        refusal = await connection.ask("subscribe", {"room": "project:123"}, id="a")
        assert_refusal(refusal, "FORBIDDEN", id="a", room="project:123")


async def test_options_of_the_default_room_apply(configure, user, editor):
    configure(DEFAULT_ROOM={"min_role": "editor"})
    async with Connection(user=user) as low, Connection(user=editor) as high:
        assert (await low.ask("subscribe", {"room": "x"}))["payload"]["code"] == "FORBIDDEN"
        await high.subscribe("x")


@pytest.mark.parametrize("authorize", ["even_only", "even_only_async"])
async def test_authorize_decides_with_the_captured_values(configure, user, authorize):
    route = {"authorize": f"tests.site.rules.{authorize}"}
    configure(ROOMS={"project:<int:pk>": route, "project:1": {}}, DEFAULT_ROOM=None)
    async with Connection(user=user) as connection:
        await connection.subscribe("project:2")
        refusal = await connection.ask("subscribe", {"room": "project:3"}, id="a")
        assert_refusal(refusal, "FORBIDDEN", id="a", room="project:3")
        await connection.subscribe("project:1")
        for other in ("project:two", "project:-2", "project:2/", "xproject:2"):
            refusal = await connection.ask("subscribe", {"room": other})
            assert refusal["payload"]["code"] == "FORBIDDEN"


async def test_authorize_gets_user_room_and_captured_values(configure, user):
    configure(ROOMS={"project:<int:pk>": {"authorize": "tests.site.rules.even_only"}})
    rules.calls.clear()
    async with Connection(user=user) as connection:
        await connection.subscribe("project:42")
    assert rules.calls == [(user, "project:42", {"pk": 42})]


async def test_authorize_is_not_called_if_the_role_is_refused(configure, user):
    options = {"authorize": "tests.site.rules.even_only", "min_role": "editor"}
    configure(ROOMS={"project:<int:pk>": options})
    rules.calls.clear()
    async with Connection(user=user) as connection, Connection() as anonymous:
        refusal = await connection.ask("subscribe", {"room": "project:2"})
        assert refusal["payload"]["code"] == "FORBIDDEN"
        refusal = await anonymous.ask("subscribe", {"room": "project:2"})
        assert refusal["payload"]["code"] == "AUTH_REQUIRED"
    assert rules.calls == []


async def test_authorize_that_raises_refuses(configure, user):
    configure(ROOMS={"broken": {"authorize": "tests.site.rules.broken"}})
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "broken"}, id="a")
        assert_refusal(refusal, "INTERNAL_ERROR", id="a", room="broken")
        refusal = await connection.ask("message", {"room": "broken", "content": 1})
        assert refusal["payload"]["code"] == "NOT_IN_ROOM"


@pytest.mark.parametrize("authorize", ["waits_in_a_thread", "waits_in_the_loop"])
async def test_waiting_authorize_does_not_delay_other_connections(
    configure, user, editor, authorize
):
    gate.clear()
    configure(
        ROOMS={"slow": {"authorize": f"tests.rooms.test_membership.{authorize}"}},
        MAX_CONNECTIONS_PER_USER=12,
    )
    async with AsyncExitStack() as stack:
        waiting = {}
        for _ in range(12):
            connection = await stack.enter_async_context(Connection(user=user))
            waiting[connection] = await connection.command("subscribe", {"room": "slow"})
        other = await stack.enter_async_context(Connection(user=editor))
        await other.subscribe("lobby")
        assert await other.is_alive()
        gate.set()
        for connection, id in waiting.items():
            await connection.assert_reply(id, "subscribed")


async def test_public_room_is_open_to_all_and_no_other_room_is(configure, user):
    configure(ROOMS={"lobby": {"public": True}})
    async with Connection() as anonymous, Connection(user=user) as named:
        await anonymous.subscribe("lobby")
        await named.subscribe("lobby")
        refusal = await anonymous.ask("subscribe", {"room": "lobby2"})
        assert refusal["payload"]["code"] == "AUTH_REQUIRED"


async def test_min_role_of_a_public_room_applies_to_users(configure, user):
    configure(ROOMS={"lobby": {"public": True, "min_role": "editor"}})
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "lobby"})
        assert refusal["payload"]["code"] == "FORBIDDEN"


async def test_full_room_refuses_until_a_connection_leaves_or_closes(configure):
    configure(ROOMS={"pair": {"public": True, "max_connections": 2}})
    async with Connection() as first, Connection() as third:
        async with Connection() as second:
            await first.subscribe("pair")
            await second.subscribe("pair")
            await first.subscribe("pair")
            refusal = await third.ask("subscribe", {"room": "pair"}, id="a")
            assert_refusal(refusal, "ROOM_FULL", id="a", room="pair")
            await asend_to_room("pair", "tick")
            assert await third.so_far() == []
            await first.ask("unsubscribe", {"room": "pair"})
            await third.subscribe("pair")
            refusal = await first.ask("subscribe", {"room": "pair"})
            assert refusal["payload"]["code"] == "ROOM_FULL"
        await first.subscribe("pair")
        assert (await aget_stats())["roomStats"] == {"pair": 2}


async def test_joins_at_once_fill_a_room_exactly(configure):
    configure(ROOMS={"few": {"public": True, "max_connections": 3}})
    async with AsyncExitStack() as stack:
        everyone = [await stack.enter_async_context(Connection()) for _ in range(12)]
        answers = await asyncio.gather(*(one.ask("subscribe", {"room": "few"}) for one in everyone))
        assert [answer["type"] for answer in answers].count("subscribed") == 3
        assert (await aget_stats())["roomStats"] == {"few": 3}


async def test_eleventh_room_is_refused_until_one_is_left(public):
    async with Connection() as connection:
        for number in range(10):
            await connection.subscribe(f"room {number}")
        refusal = await connection.ask("subscribe", {"room": "room 10"}, id="a")
        assert_refusal(refusal, "ROOM_LIMIT", id="a", room="room 10")
        await connection.subscribe("room 3")
        await connection.ask("unsubscribe", {"room": "room 3"})
        await connection.subscribe("room 10")
        assert (await aget_stats())["totalRooms"] == 10


async def test_limit_of_rooms_is_a_setting(public, configure):
    configure(MAX_ROOMS_PER_CONNECTION=1)
    async with Connection() as connection:
        await connection.subscribe("a")
        refusal = await connection.ask("subscribe", {"room": "b"})
        assert refusal["payload"]["code"] == "ROOM_LIMIT"


async def test_subscribing_twice_is_answered_twice_and_counts_once(public):
    async with Connection() as connection:
        first, second = [await connection.subscribe("lobby") for _ in range(2)]
        assert first["payload"] == second["payload"]
        assert_envelope(
            second, type="subscribed", payload={"room": "lobby", "success": True}, id=second["id"]
        )
        assert (await aget_stats())["roomStats"] == {"lobby": 1}
        await asend_to_room("lobby", "tick")
        assert await connection.types_so_far() == ["tick"]
        await connection.ask("unsubscribe", {"room": "lobby"})
        await asend_to_room("lobby", "tick")
        assert await connection.so_far() == []
        assert (await aget_stats())["totalRooms"] == 0
        assert room_group("lobby") not in layer_groups()


async def test_leaving_a_room_never_joined_is_answered_unsubscribed():
    async with Connection() as connection:
        assert_envelope(
            await connection.ask("unsubscribe", {"room": "system:broadcast"}, id="a"),
            type="unsubscribed",
            payload={"room": "system:broadcast", "success": True},
            id="a",
        )


@pytest.mark.parametrize(
    "room",
    [
        "project:123",
        'with spaces and / . * ? {} [] \\ "quotes" <b>',
        " ",
        "é",
        "e\u0301",
        "комната 部屋 غرفة",
        "👩‍👩‍👧‍👦 🎉",
        "x" * 200,
        "🎉" * 200,
        "\u00a0\u2028",
    ],
)
async def test_room_may_have_any_name(public, room):
    async with Connection() as connection, Connection() as other:
        assert (await connection.subscribe(room))["payload"]["room"] == room
        await other.subscribe(room + "2" if len(room) < 200 else room[:-1])
        await asend_to_room(room, "tick")
        echo = await connection.ask("message", {"room": room, "content": 1})
        assert echo["room"] == echo["payload"]["room"] == room
        assert await other.so_far() == []
        assert (await aget_stats())["roomStats"][room] == 1


async def test_subscribed_precedes_the_first_push(public):
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Connection())
        await stack.enter_async_context(stream_to("busy"))
        for _ in range(20):
            connection = await stack.enter_async_context(Connection())
            await connection.command("subscribe", {"room": "busy"})
            frames = [await connection.receive() for _ in range(10)]
            assert [frame["type"] for frame in frames] == ["subscribed"] + ["tick"] * 9
            first = frames[1]["payload"]
            assert [frame["payload"] for frame in frames[1:]] == list(range(first, first + 9))


async def test_no_push_follows_unsubscribed(public):
    async with Connection() as stays, Connection() as leaves, stream_to("busy"):
        await stays.subscribe("busy")
        for _ in range(20):
            await leaves.subscribe("busy")
            await leaves.assert_push("tick")
            await leaves.ask("unsubscribe", {"room": "busy"})
            assert await leaves.so_far() == []
        await stays.assert_push("tick")
