"""The built-in commands and their replies."""

import pytest

from pm_realtime import asend_to_room, asubscribe
from tests.support.helpers import Connection, assert_envelope, assert_refusal

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def public(configure):
    """Every room is open to anonymous connections."""
    configure(DEFAULT_ROOM={"public": True, "publish_role": "anonymous"}, RATE_LIMIT=None)


async def test_ping_is_answered_pong():
    async with Connection() as connection:
        assert_envelope(await connection.ask("ping", id="a"), type="pong", id="a")
        assert_envelope(await connection.ask_raw('{"type": "ping", "timestamp": 1.5}'), type="pong")


@pytest.mark.parametrize(
    ("command", "reply"), [("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")]
)
async def test_reply_names_the_room_and_success(public, command, reply):
    async with Connection() as connection:
        expected = {"type": reply, "payload": {"room": "lobby", "success": True}}
        answer = await connection.ask(command, {"room": "lobby"}, id="a")
        assert_envelope(answer, **expected, id="a")
        nameless = f'{{"type": "{command}", "timestamp": 1, "payload": {{"room": "lobby"}}}}'
        assert_envelope(await connection.ask_raw(nameless), **expected)


async def test_message_reaches_all_subscribers_and_its_sender_as_one_envelope(user, editor):
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


async def test_message_without_an_id_has_none(public):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        nameless = (
            '{"type": "message", "timestamp": 1, "payload": {"room": "lobby", "content": null}}'
        )
        assert_envelope(
            await connection.ask_raw(nameless),
            type="message",
            payload={"room": "lobby", "content": None},
            room="lobby",
        )


async def test_sender_without_a_full_name_has_the_user_name(users):
    async with Connection(user=users["admin"]) as connection:
        await connection.subscribe("lobby")
        echo = await connection.ask("message", {"room": "lobby", "content": 1})
        assert echo["payload"]["from"]["name"] == "the-admin"


async def test_full_name_that_takes_a_query_is_read_once_at_the_handshake(monkeypatch, user):
    def get_full_name(self):
        return f"one of {type(self).objects.count()}"

    monkeypatch.setattr(type(user), "get_full_name", get_full_name)
    async with Connection(user=user) as connection:
        await connection.subscribe("a")
        sent = await connection.ask("message", {"room": "a", "content": "hi"})
        assert sent["payload"]["from"] == {"userId": str(user.pk), "name": "one of 1"}


async def test_anonymous_sender_is_not_named(public, user):
    async with Connection() as anonymous, Connection(user=user) as named:
        await anonymous.subscribe("lobby")
        await named.subscribe("lobby")
        echo = await anonymous.ask("message", {"room": "lobby", "content": "hi"})
        assert echo["payload"] == {"room": "lobby", "content": "hi"}
        (received,) = await named.so_far()
        assert received == echo


async def test_client_cannot_set_from(public):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        forged = {"room": "lobby", "content": 1, "from": {"userId": "1", "name": "root"}}
        echo = await connection.ask("message", forged)
        assert echo["payload"] == {"room": "lobby", "content": 1}


async def test_message_without_content_is_refused_naming_the_room(public):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        refusal = await connection.ask("message", {"room": "lobby"}, id="a")
        assert_refusal(refusal, "INVALID_PAYLOAD", id="a", room="lobby")


async def test_message_to_a_room_not_joined_is_refused(user, editor):
    async with Connection(user=user) as outside, Connection(user=editor) as inside:
        await inside.subscribe("support")
        for room in ("support", "lobby"):
            refusal = await outside.ask("message", {"room": room, "content": 1}, id="a")
            assert_refusal(refusal, "NOT_IN_ROOM", id="a", room=room)
        assert await inside.so_far() == []


@pytest.mark.parametrize(
    ("publish_role", "allowed"),
    [
        (None, {"user", "editor", "admin", "master"}),
        ("anonymous", {None, "user", "editor", "admin", "master"}),
        ("editor", {"editor", "admin", "master"}),
        ("server", set()),
    ],
)
async def test_publish_role_decides_about_sending(configure, users, publish_role, allowed):
    configure(ROOMS={"news": {"public": True, "publish_role": publish_role}})
    async with Connection() as subscriber:
        await subscriber.subscribe("news")
        for role, user in {None: None, **users}.items():
            async with Connection(user=user) as connection:
                await connection.subscribe("news")
                answer = await connection.ask("message", {"room": "news", "content": role}, id="a")
                received = await subscriber.so_far()
                if role in allowed:
                    assert received == [answer]
                    assert answer["payload"]["content"] == role
                else:
                    needs_login = role is None and publish_role != "server"
                    code = "AUTH_REQUIRED" if needs_login else "FORBIDDEN"
                    assert_refusal(answer, code, id="a", room="news")
                    assert received == []
        await asend_to_room("news", "bulletin")
        assert await subscriber.types_so_far() == ["bulletin"]


@pytest.mark.parametrize(
    "rooms",
    [
        {"DEFAULT_ROOM": {"public": True}},
        {"ROOMS": {"lobby": {"public": True}}},
        {"ROOMS": {"<path:any>": {"public": True, "publish_role": None}}},
    ],
)
async def test_anonymous_connection_reads_a_public_room_and_does_not_write(configure, rooms):
    configure(**rooms)
    async with Connection() as connection:
        await connection.subscribe("lobby")
        refusal = await connection.ask("message", {"room": "lobby", "content": 1}, id="a")
        assert_refusal(refusal, "AUTH_REQUIRED", id="a", room="lobby")
        await asend_to_room("lobby", "news")
        assert await connection.types_so_far() == ["news"]


@pytest.mark.parametrize("default", [None, {}])
async def test_anonymous_connection_does_not_write_where_server_code_put_it(configure, default):
    configure(DEFAULT_ROOM=default)
    async with Connection() as connection:
        await asubscribe(connection.connection_id, "lobby")
        await connection.assert_push("subscribed")
        refusal = await connection.ask("message", {"room": "lobby", "content": 1}, id="a")
        assert_refusal(refusal, "AUTH_REQUIRED", id="a", room="lobby")
