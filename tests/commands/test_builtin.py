"""The built-in commands and their replies."""

import asyncio

import pytest

from pm_realtime import asend_to_room, asubscribe
from tests.support.helpers import Connection, assert_envelope, assert_refusal
from tests.support.recovery import returning
from tests.support.streams import UnansweredStreams

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


# A message that is sent again


async def say(connection, content="hi", *, id="1", room="lobby"):
    """The answer to a message: itself, an ``ack`` or an ``error``."""
    return await connection.ask("message", {"room": room, "content": content}, id=id)


async def test_repeated_message_is_answered_ack_and_published_once(user, editor):
    async with Connection(user=user) as sender, Connection(user=editor) as other:
        for connection in (sender, other):
            await connection.subscribe("lobby")
        first = await say(sender)
        assert first["type"] == "message"
        assert_envelope(await say(sender), type="ack", payload={"duplicate": True}, id="1")
        assert await other.so_far() == [first]
        assert await sender.so_far() == []


async def test_message_is_repeated_over_another_connection(user):
    for type in ("message", "ack"):
        async with Connection(user=user) as connection:
            await connection.subscribe("lobby")
            assert (await say(connection))["type"] == type


async def test_visitors_with_equal_ids_do_not_lose_their_messages(public):
    """Their clients may all number their messages from 1."""
    async with Connection() as one, Connection() as other:
        for connection in (one, other):
            await connection.subscribe("lobby")
        first = await say(one)
        assert await other.so_far() == [first]
        second = await say(other)
        assert await one.so_far() == [second] != [first]
        assert [(await say(each))["type"] for each in (one, other)] == ["ack", "ack"]


@pytest.mark.parametrize(
    "id", ["1", "0b8ec9ff-2f70-4f0a-a571-bd1a3c2c8e6d", "0B8EC9FF2F704F0AA571BD1A3C2C8E6D"]
)
async def test_visitor_who_comes_back_is_known_again(public, id):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        assert (await say(connection, id=id))["type"] == "message"
    for _ in range(10):
        async with connection.recover() as connection:
            assert (await say(connection, id=id))["type"] == "ack"
            new = await say(connection, id=connection.connection_id)
            assert new["type"] == "message"


async def test_visitor_who_was_a_user_before_is_known_again(public, user):
    async with Connection(user=user) as connection:
        async with connection.recover(user=None) as visitor:
            await visitor.subscribe("lobby")
            assert (await say(visitor))["type"] == "message"
        async with visitor.recover() as visitor:
            assert (await say(visitor))["type"] == "ack"


async def test_unique_id_of_a_visitor_needs_no_former_connection(public):
    for type in ("message", "ack"):
        async with Connection() as connection:
            await connection.subscribe("lobby")
            assert (await say(connection, id="0b8ec9ff2f704f0aa571bd1a3c2c8e6d"))["type"] == type


async def test_visitor_is_the_client_of_the_last_connection_that_it_names(public):
    async with Connection() as first:
        await first.subscribe("lobby")
        assert (await say(first))["type"] == "message"
        for resume, type in (
            ([first.connection_id], "ack"),
            (["newer", "-", first.connection_id], "ack"),
            ([first.connection_id, "other"], "message"),
            ([], "message"),
        ):
            async with returning(resume=resume, user="") as connection:
                await connection.subscribe("lobby")
                assert (await say(connection))["type"] == type


async def test_visitor_after_a_logout_is_a_new_client(public, user):
    async with Connection() as connection:
        await connection.subscribe("lobby")
        assert (await say(connection))["type"] == "message"
    async with returning(resume=[connection.connection_id], user=user.pk) as connection:
        await connection.subscribe("lobby")
        assert (await say(connection))["type"] == "message"


async def test_different_messages_under_one_id_are_all_published(user, editor):
    """A client may number its messages from 1 in every tab."""
    contents = [1, 1.5, "1", None, [1], {"a": 1}, {"a": "1"}, 2**70, "é", True]
    async with Connection(user=user) as one, Connection(user=editor) as other:
        for connection in (one, other):
            await connection.subscribe("lobby")
            await connection.subscribe("hall")
        for sender in (one, other):
            for room in ("lobby", "hall"):
                for content in contents:
                    answer = await say(sender, content, room=room)
                    assert (answer["type"], answer["payload"]["content"]) == ("message", content)


@pytest.mark.parametrize("id", ["", '"id": "", '])
async def test_message_without_an_id_is_always_published(public, id):
    payload = '{"room": "lobby", "content": 1}'
    frame = f'{{"type": "message", {id}"timestamp": 1, "payload": {payload}}}'
    async with Connection() as connection:
        await connection.subscribe("lobby")
        assert [(await connection.ask_raw(frame))["type"] for _ in range(2)] == ["message"] * 2


async def test_room_without_history_remembers_messages_too(configure, user):
    configure(ROOMS={"live": {"history": 0}})
    async with Connection(user=user) as connection:
        await connection.subscribe("live")
        answers = [await say(connection, room="live") for _ in range(2)]
        assert [answer["type"] for answer in answers] == ["message", "ack"]


async def test_message_is_remembered_for_the_idempotency_period(configure, user):
    configure(IDEMPOTENCY_PERIOD=0.001)
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        await say(connection)
        await asyncio.sleep(0.01)
        assert (await say(connection))["type"] == "message"


async def test_refused_message_is_not_remembered(configure, user):
    configure(ROOMS={"news": {"publish_role": "editor"}})
    async with Connection(user=user) as connection:
        assert_refusal(await say(connection, room="news"), "NOT_IN_ROOM", id="1", room="news")
        await connection.subscribe("news")
        assert_refusal(await say(connection, room="news"), "FORBIDDEN", id="1", room="news")
        configure(ROOMS={"news": {}})
        assert (await say(connection, room="news"))["type"] == "message"
        configure(ROOMS={"news": {"publish_role": "editor"}})
        assert_refusal(await say(connection, room="news"), "FORBIDDEN", id="1", room="news")


async def test_repeated_message_counts_against_the_rate(configure, user):
    configure(RATE_LIMIT="4/m")
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        answers = [await say(connection) for _ in range(4)]
        assert [each["type"] for each in answers] == ["message", "ack", "ack", "error"]
        assert answers[3]["payload"]["code"] == "RATE_LIMITED"


async def test_message_that_was_taken_without_an_answer_is_acked_when_repeated(user, own_streams):
    own_streams(UnansweredStreams())
    async with Connection(user=user) as connection:
        await connection.subscribe("lobby")
        await connection.command("message", {"room": "lobby", "content": 1}, id="1")
        first = [await connection.receive() for _ in range(2)]
        assert {each["type"] for each in first} == {"message", "error"}
        assert (await say(connection, 1))["type"] == "ack"
        assert await connection.so_far() == []
