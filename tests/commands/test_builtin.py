"""The commands of a client, and everything that can be answered to them."""

import asyncio
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from pm_realtime import aget_stats, asend_to_room
from pm_realtime.layer import room_group
from tests.site import rules
from tests.support.helpers import (
    PATIENCE,
    Connection,
    assert_envelope,
    assert_refusal,
    layer_groups,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")

ANY_ROLE = {"user", "editor", "admin", "master"}

gate = threading.Event()


def waits_in_a_thread(user, room):
    return gate.wait(PATIENCE)


async def waits_in_the_loop(user, room):
    while not gate.is_set():
        await asyncio.sleep(0.005)
    return True


@pytest.fixture
def public(configure):
    """Every room is open to anonymous connections."""
    configure(DEFAULT_ROOM={"public": True}, RATE_LIMIT=None)


@asynccontextmanager
async def stream_to(room):
    """Pushes to ``room`` without a pause: 0, 1, 2, …"""

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


def frame(type='"ping"', timestamp="1", **fields):
    """A frame as text, each field given as it stands in JSON."""
    fields = {"type": type, "timestamp": timestamp, **fields}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items() if text) + "}"


def subscribe_frame(room):
    return frame('"subscribe"', payload=f'{{"room": {room}}}', id='"7"')


# Frames, field by field


async def test_ping_is_answered_pong():
    async with Connection() as connection:
        assert_envelope(await connection.ask("ping", id="a"), type="pong", id="a")
        assert_envelope(await connection.ask_raw('{"type": "ping", "timestamp": 1.5}'), type="pong")


@pytest.mark.parametrize(
    ("command", "reply"), [("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")]
)
async def test_subscribe_and_unsubscribe_name_the_room_and_success(public, command, reply):
    async with Connection() as connection:
        expected = {"type": reply, "payload": {"room": "lobby", "success": True}}
        answer = await connection.ask(command, {"room": "lobby"}, id="a")
        assert_envelope(answer, **expected, id="a")
        nameless = frame(f'"{command}"', payload='{"room": "lobby"}')
        assert_envelope(await connection.ask_raw(nameless), **expected)


async def test_a_message_reaches_every_subscriber_and_the_sender_as_one_envelope(user, editor):
    async with Connection(user=user) as sender, Connection(user=editor) as other:
        await sender.subscribe("lobby")
        await other.subscribe("lobby")
        content = {"text": "é\n🎉", "n": [1, None, 2.5]}
        echo = await sender.ask("message", {"room": "lobby", "content": content}, id="mine")
        assert_envelope(
            echo,
            type="message",
            payload={
                "room": "lobby",
                "content": content,
                "from": {"userId": str(user.pk), "name": "Uma User"},
            },
            id="mine",
            room="lobby",
        )
        assert await other.so_far() == [echo]
        assert await sender.so_far() == []


async def test_a_message_without_an_id_has_none(public):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        nameless = frame('"message"', payload='{"room": "lobby", "content": null}')
        assert_envelope(
            await connection.ask_raw(nameless),
            type="message",
            payload={"room": "lobby", "content": None},
            room="lobby",
        )


async def test_the_sender_without_a_full_name_goes_by_the_user_name(users):
    async with Connection(user=users["admin"]) as connection:
        await connection.subscribe("lobby")
        echo = await connection.ask("message", {"room": "lobby", "content": 1})
        assert echo["payload"]["from"]["name"] == "the-admin"


async def test_an_anonymous_sender_is_not_named(public, user):
    async with Connection() as anonymous, Connection(user=user) as named:
        await anonymous.subscribe("lobby")
        await named.subscribe("lobby")
        echo = await anonymous.ask("message", {"room": "lobby", "content": "hi"})
        assert echo["payload"] == {"room": "lobby", "content": "hi"}
        (received,) = await named.so_far()
        assert received == echo


async def test_who_a_message_is_from_is_not_for_the_client_to_say(public):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        forged = {"room": "lobby", "content": 1, "from": {"userId": "1", "name": "root"}}
        echo = await connection.ask("message", forged)
        assert echo["payload"] == {"room": "lobby", "content": 1}


async def test_unknown_fields_are_ignored(public):
    async with Connection() as connection:
        payload = '{"room": "lobby", "x": 1}'
        more = {"id": '""', "room": '"other"', "offset": "7", "extra": "[{}]"}
        assert_envelope(
            await connection.ask_raw(frame('"subscribe"', payload=payload, **more)),
            type="subscribed",
            payload={"room": "lobby", "success": True},
            id="",
        )


# Errors


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("{", "PARSE_ERROR", None),
        ("ping", "PARSE_ERROR", None),
        ("{'type': 'ping', 'timestamp': 1}", "PARSE_ERROR", None),
        ('{"type": "ping", "timestamp": 1,}', "PARSE_ERROR", None),
        ('{"type": "ping", "timestamp": NaN}', "PARSE_ERROR", None),
        (frame() + frame(), "PARSE_ERROR", None),
        ("\ufeff" + frame(), "PARSE_ERROR", None),
        ("null", "INVALID_MESSAGE", None),
        ("[]", "INVALID_MESSAGE", None),
        ("{}", "INVALID_MESSAGE", None),
        ('"ping"', "INVALID_MESSAGE", None),
        ("1", "INVALID_MESSAGE", None),
        (frame(type=None, id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(type="1", id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(type="null"), "INVALID_MESSAGE", None),
        (frame(timestamp=None, id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(timestamp='"1"', id='"7"'), "INVALID_MESSAGE", "7"),
        (frame(timestamp="true"), "INVALID_MESSAGE", None),
        (frame(timestamp="1e999"), "INVALID_MESSAGE", None),
        (frame(id="7"), "INVALID_MESSAGE", None),
        (frame(payload="[" * 200 + "]" * 200), "INVALID_MESSAGE", None),
        (frame(payload='"\\ud800"'), "INVALID_MESSAGE", None),
        (frame('"no such command"', id='"7"'), "UNKNOWN_TYPE", "7"),
        (frame('""', id='"7"'), "UNKNOWN_TYPE", "7"),
        (frame('"pong"'), "UNKNOWN_TYPE", None),
        (frame('"connected"'), "UNKNOWN_TYPE", None),
        (frame('"broadcast"', payload='{"room": "lobby"}'), "UNKNOWN_TYPE", None),
        (frame('"subscribe"', id='"7"'), "INVALID_PAYLOAD", "7"),
        (frame('"subscribe"', payload="[]"), "INVALID_PAYLOAD", None),
        (frame('"subscribe"', payload='"lobby"'), "INVALID_PAYLOAD", None),
        (frame('"subscribe"', payload="{}"), "INVALID_PAYLOAD", None),
        (frame('"subscribe"', room='"lobby"'), "INVALID_PAYLOAD", None),
        (frame('"unsubscribe"', payload="{}"), "INVALID_PAYLOAD", None),
        (frame('"message"', payload='{"content": 1}'), "INVALID_PAYLOAD", None),
        (subscribe_frame("1"), "INVALID_ROOM", "7"),
        (subscribe_frame("null"), "INVALID_ROOM", "7"),
        (subscribe_frame("[]"), "INVALID_ROOM", "7"),
        (subscribe_frame('""'), "INVALID_ROOM", "7"),
        (subscribe_frame('"%s"' % ("é" * 201)), "INVALID_ROOM", "7"),
        (subscribe_frame('"a\\u0000b"'), "INVALID_ROOM", "7"),
        (subscribe_frame('"a\\nb"'), "INVALID_ROOM", "7"),
        (subscribe_frame('"\\u009f"'), "INVALID_ROOM", "7"),
        (frame('"unsubscribe"', payload='{"room": ""}'), "INVALID_ROOM", None),
        (frame('"message"', payload='{"room": "", "content": 1}'), "INVALID_ROOM", None),
    ],
)
async def test_a_frame_that_is_no_command_is_refused_and_the_connection_goes_on(text, code, id):
    async with Connection() as connection:
        assert_refusal(await connection.ask_raw(text), code, id=id)
        assert await connection.is_alive()


async def test_a_message_without_content_is_refused_naming_the_room(public):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        refusal = await connection.ask("message", {"room": "lobby"}, id="a")
        assert_refusal(refusal, "INVALID_PAYLOAD", id="a", room="lobby")


async def test_a_message_to_a_room_not_subscribed_is_refused(user, editor):
    async with Connection(user=user) as outside, Connection(user=editor) as inside:
        await inside.subscribe("support")
        for room in ("support", "lobby"):
            refusal = await outside.ask("message", {"room": room, "content": 1}, id="a")
            assert_refusal(refusal, "NOT_IN_ROOM", id="a", room=room)
        assert await inside.so_far() == []


# Who may join what


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("support", {"editor", "admin", "master"}),
        ("admin:notifications", {"admin", "master"}),
        ("system:broadcast", {"master"}),
        ("project:123", ANY_ROLE),
    ],
)
async def test_each_role_may_join_as_the_room_says(users, room, allowed):
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


async def test_without_a_default_room_only_the_listed_ones_exist(configure, users):
    configure(DEFAULT_ROOM=None)
    async with Connection(user=users["master"]) as connection:
        await connection.subscribe("support")
        refusal = await connection.ask("subscribe", {"room": "project:123"}, id="a")
        assert_refusal(refusal, "FORBIDDEN", id="a", room="project:123")


async def test_the_default_room_may_have_options(configure, user, editor):
    configure(DEFAULT_ROOM={"min_role": "editor"})
    async with Connection(user=user) as low, Connection(user=editor) as high:
        assert (await low.ask("subscribe", {"room": "x"}))["payload"]["code"] == "FORBIDDEN"
        await high.subscribe("x")


@pytest.mark.parametrize("authorize", ["even_only", "even_only_async"])
async def test_authorize_decides_with_what_the_route_captured(configure, user, authorize):
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


async def test_authorize_gets_user_room_and_captures(configure, user):
    configure(ROOMS={"project:<int:pk>": {"authorize": "tests.site.rules.even_only"}})
    rules.calls.clear()
    async with Connection(user=user) as connection:
        await connection.subscribe("project:42")
    assert rules.calls == [(user, "project:42", {"pk": 42})]


async def test_authorize_is_not_asked_where_the_role_says_no(configure, user):
    options = {"authorize": "tests.site.rules.even_only", "min_role": "editor"}
    configure(ROOMS={"project:<int:pk>": options})
    rules.calls.clear()
    async with Connection(user=user) as connection, Connection() as anonymous:
        refusal = await connection.ask("subscribe", {"room": "project:2"})
        assert refusal["payload"]["code"] == "FORBIDDEN"
        refusal = await anonymous.ask("subscribe", {"room": "project:2"})
        assert refusal["payload"]["code"] == "AUTH_REQUIRED"
    assert rules.calls == []


async def test_authorize_that_raises_lets_nobody_in(configure, user):
    configure(ROOMS={"broken": {"authorize": "tests.site.rules.broken"}})
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "broken"}, id="a")
        assert_refusal(refusal, "INTERNAL_ERROR", id="a", room="broken")
        refusal = await connection.ask("message", {"room": "broken", "content": 1})
        assert refusal["payload"]["code"] == "NOT_IN_ROOM"


@pytest.mark.parametrize("authorize", ["waits_in_a_thread", "waits_in_the_loop"])
async def test_others_are_served_while_the_authorize_of_some_waits(
    configure, user, editor, authorize
):
    gate.clear()
    configure(
        ROOMS={"slow": {"authorize": f"tests.commands.test_builtin.{authorize}"}},
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


# Who may speak where


@pytest.mark.parametrize(
    ("publish_role", "allowed"),
    [(None, {None} | ANY_ROLE), ("editor", {"editor", "admin", "master"}), ("server", set())],
)
async def test_each_role_may_speak_as_the_room_says(configure, users, publish_role, allowed):
    configure(ROOMS={"news": {"public": True, "publish_role": publish_role}})
    async with Connection() as listener:
        await listener.subscribe("news")
        for role, user in {None: None, **users}.items():
            async with Connection(user=user) as connection:
                await connection.subscribe("news")
                answer = await connection.ask("message", {"room": "news", "content": role}, id="a")
                heard = await listener.so_far()
                if role in allowed:
                    assert heard == [answer]
                    assert answer["payload"]["content"] == role
                else:
                    needs_login = role is None and publish_role != "server"
                    code = "AUTH_REQUIRED" if needs_login else "FORBIDDEN"
                    assert_refusal(answer, code, id="a", room="news")
                    assert heard == []
        await asend_to_room("news", "bulletin")
        assert await listener.types_so_far() == ["bulletin"]


async def test_a_public_room_is_open_to_everyone_and_others_are_not(configure, user):
    configure(ROOMS={"lobby": {"public": True}})
    async with Connection() as anonymous, Connection(user=user) as named:
        await anonymous.subscribe("lobby")
        await named.subscribe("lobby")
        refusal = await anonymous.ask("subscribe", {"room": "lobby2"})
        assert refusal["payload"]["code"] == "AUTH_REQUIRED"


async def test_min_role_of_a_public_room_holds_for_users(configure, user):
    configure(ROOMS={"lobby": {"public": True, "min_role": "editor"}})
    async with Connection(user=user) as connection:
        refusal = await connection.ask("subscribe", {"room": "lobby"})
        assert refusal["payload"]["code"] == "FORBIDDEN"


# Limits


async def test_a_full_room_refuses_the_third_and_a_seat_is_freed_by_leaving_or_going(configure):
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


async def test_of_many_joins_at_once_exactly_as_many_as_fit_succeed(configure):
    configure(ROOMS={"few": {"public": True, "max_connections": 3}})
    async with AsyncExitStack() as stack:
        everyone = [await stack.enter_async_context(Connection()) for _ in range(12)]
        answers = await asyncio.gather(*(one.ask("subscribe", {"room": "few"}) for one in everyone))
        assert [answer["type"] for answer in answers].count("subscribed") == 3
        assert (await aget_stats())["roomStats"] == {"few": 3}


async def test_the_11th_room_is_refused_until_one_is_left(public):
    async with Connection() as connection:
        for number in range(10):
            await connection.subscribe(f"room {number}")
        refusal = await connection.ask("subscribe", {"room": "room 10"}, id="a")
        assert_refusal(refusal, "ROOM_LIMIT", id="a", room="room 10")
        await connection.subscribe("room 3")
        await connection.ask("unsubscribe", {"room": "room 3"})
        await connection.subscribe("room 10")
        assert (await aget_stats())["totalRooms"] == 10


async def test_another_limit_of_rooms_takes_effect(public, configure):
    configure(MAX_ROOMS_PER_CONNECTION=1)
    async with Connection() as connection:
        await connection.subscribe("a")
        refusal = await connection.ask("subscribe", {"room": "b"})
        assert refusal["payload"]["code"] == "ROOM_LIMIT"


# Joining and leaving


async def test_subscribing_twice_is_answered_twice_and_counts_once(public):
    async with Connection() as connection:
        first, second = [await connection.subscribe("lobby") for _ in range(2)]
        assert first["payload"] == second["payload"] == {"room": "lobby", "success": True}
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
async def test_a_room_may_be_called_anything(public, room):
    async with Connection() as connection, Connection() as other:
        assert (await connection.subscribe(room))["payload"]["room"] == room
        await other.subscribe(room + "2" if len(room) < 200 else room[:-1])
        await asend_to_room(room, "tick")
        echo = await connection.ask("message", {"room": room, "content": 1})
        assert echo["room"] == echo["payload"]["room"] == room
        assert await other.so_far() == []
        assert (await aget_stats())["roomStats"][room] == 1


async def test_subscribed_precedes_the_first_of_a_stream_of_pushes(public):
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


async def test_after_unsubscribed_nothing_of_the_room_arrives(public):
    async with Connection() as stays, Connection() as leaves, stream_to("busy"):
        await stays.subscribe("busy")
        for _ in range(20):
            await leaves.subscribe("busy")
            await leaves.assert_push("tick")
            await leaves.ask("unsubscribe", {"room": "busy"})
            assert await leaves.so_far() == []
        await stays.assert_push("tick")


async def test_a_name_that_takes_a_query_is_asked_for_once_at_the_handshake(monkeypatch, user):
    def get_full_name(self):
        return f"one of {type(self).objects.count()}"

    monkeypatch.setattr(type(user), "get_full_name", get_full_name)
    async with Connection(user=user) as connection:
        await connection.subscribe("a")
        sent = await connection.ask("message", {"room": "a", "content": "hi"})
        assert sent["payload"]["from"] == {"userId": str(user.pk), "name": "one of 1"}
