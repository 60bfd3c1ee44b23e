"""Messages in rooms with ``content`` and ``on_message``."""

from decimal import Decimal
from typing import Annotated

import msgspec
import pytest

from pm_realtime import CommandError, adisconnect_user, aget_history, send_to_room
from pm_realtime.backends import MemoryStreams
from pm_realtime.exceptions import BackendError
from tests.site.models import Note
from tests.support.commands import Gate
from tests.support.helpers import Connection, assert_refusal, errors_of, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing", "transactional_db")


class Chat(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1)]
    reply_to: int = 0


#: The arguments of the calls of the functions below, since the running test began.
calls = []
gate = Gate()


def note(request, content, pk):
    calls.append((request, content, pk))


async def note_async(request, content, pk):
    calls.append((request, content, pk))


class Notes:
    async def __call__(self, request, content, pk):
        calls.append((request, content, pk))


notes = Notes()


def save(request, content, pk):
    calls.append(content)
    send_to_room(request.room, "saved", content)
    Note.objects.create(text=content["text"])
    if content["text"] == "no":
        raise CommandError("BAD_WORD", "This word is not allowed.", data={"word": "no"})
    if content["text"] == "bug":
        raise RuntimeError("secret")
    return {**content, "number": len(calls)}


def shout(request, content: Chat, pk):
    return Chat(content.text.upper(), Decimal(5) if content.text == "wrong" else 1)


def wait(request, content, pk):
    gate.wait(content)
    Note.objects.create(text=content)


class LostStreams(MemoryStreams):
    """Takes nothing while it is away."""

    is_away = False

    async def publish(self, message):
        if self.is_away:
            raise BackendError("away")
        return await super().publish(message)


PATH = "tests.commands.test_checked_messages"


@pytest.fixture
def rooms(configure):
    """Set the options of every room: ``rooms(content=…)``, with names in this module."""
    global gate
    gate = Gate()
    calls.clear()

    def rooms(**options):
        paths = ("content", "on_message")
        given = {
            name: f"{PATH}.{value}" if name in paths else value for name, value in options.items()
        }
        room = {"public": True, "publish_role": "anonymous", **given}
        configure(ROOMS={"chat:<int:pk>": room}, RATE_LIMIT=None)

    yield rooms
    gate.open()


async def send(connection, content, id=None, **more):
    return await connection.ask("message", {"room": "chat:7", "content": content, **more}, id=id)


async def contents(connection):
    return [each["payload"]["content"] for each in await connection.so_far()]


# content


async def test_content_is_published_as_its_type_writes_it(rooms):
    rooms(content="Chat")
    async with Connection() as connection, Connection() as other:
        for each in (connection, other):
            await each.subscribe("chat:7")
        echo = await send(connection, {"text": "hi"}, id="a")
        assert echo["payload"] == {"room": "chat:7", "content": {"text": "hi", "replyTo": 0}}
        assert await other.so_far() == [echo]
        history = await aget_history("chat:7")
        assert history.messages[0]["payload"]["content"] == {"text": "hi", "replyTo": 0}


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (None, "content"),
        ([], "content"),
        ({}, "content.text"),
        ({"text": ""}, "content.text"),
        ({"text": "hi", "replyTo": "1"}, "content.replyTo"),
    ],
)
async def test_content_that_does_not_fit_is_refused(rooms, content, path):
    rooms(content="Chat", on_message="note")
    async with Connection() as connection, Connection() as other:
        for each in (connection, other):
            await each.subscribe("chat:7")
        refusal = await send(connection, content, id="a")
        assert_refusal(refusal, "INVALID_PAYLOAD", id="a", room="chat:7", path=path)
        assert await other.so_far() == []
    assert calls == []


async def test_rights_are_refused_before_the_content(rooms):
    rooms(content="Chat", on_message="note", publish_role="server")
    async with Connection() as connection:
        assert_refusal(await send(connection, 1, "a"), "NOT_IN_ROOM", id="a", room="chat:7")
        await connection.subscribe("chat:7")
        assert_refusal(await send(connection, 1, "b"), "FORBIDDEN", id="b", room="chat:7")
    assert calls == []


async def test_type_that_does_not_import_refuses_messages_and_is_logged(rooms, caplog):
    rooms(content="Nothing")
    async with Connection() as connection:
        await connection.subscribe("chat:7")
        assert_refusal(await send(connection, 1, "a"), "INTERNAL_ERROR", id="a", room="chat:7")
    (record,) = errors_of(caplog)
    assert "['content']" in record.getMessage()


# on_message


@pytest.mark.parametrize("name", ["note", "note_async", "notes"])
async def test_function_gets_the_request_the_content_and_the_values_of_the_route(rooms, user, name):
    rooms(content="Chat", on_message=name)
    async with Connection(user=user) as connection:
        await connection.subscribe("chat:7")
        echo = await send(connection, {"text": "hi"}, id="a")
        # It returns None: the content stays as it is.
        assert echo["payload"]["content"] == {"text": "hi", "replyTo": 0}
        ((request, content, pk),) = calls
        assert (content, pk) == (Chat("hi"), 7)
        assert (request.type, request.id, request.room) == ("message", "a", "chat:7")
        assert request.payload == {"room": "chat:7", "content": {"text": "hi"}}
        assert (request.user, request.role, request.is_volatile) == (user, "user", False)
        assert request.connection_id == connection.connection_id


async def test_message_is_changed_and_published_after_the_commit(rooms, user, editor):
    rooms(on_message="save")
    async with Connection(user=user) as connection, Connection(user=editor) as other:
        for each in (connection, other):
            await each.subscribe("chat:7")
        echo = await send(connection, {"text": "hi"}, id="a")
        assert echo["type"] == "message"
        assert echo["payload"]["content"] == {"text": "hi", "number": 1}
        assert echo["payload"]["from"]["name"] == "Uma User"
        assert [each["type"] for each in await other.so_far()] == ["saved", "message"]
        assert await Note.objects.acount() == 1


async def test_message_that_is_refused_or_fails_is_rolled_back_and_reaches_nobody(rooms, caplog):
    rooms(on_message="save")
    async with Connection() as connection:
        await connection.subscribe("chat:7")
        refusal = await send(connection, {"text": "no"}, id="a")
        assert_refusal(refusal, "BAD_WORD", id="a", data={"word": "no"})
        refusal = await send(connection, {"text": "bug"}, id="b")
        assert_refusal(refusal, "INTERNAL_ERROR", id="b", room="chat:7")
        assert await connection.so_far() == []
        assert await Note.objects.acount() == 0
    (record,) = errors_of(caplog)
    assert f"{PATH}.save" in record.getMessage()


async def test_content_that_the_function_returns_has_to_be_of_the_type(rooms, caplog):
    rooms(content="Chat", on_message="shout")
    async with Connection() as connection:
        await connection.subscribe("chat:7")
        echo = await send(connection, {"text": "hi"})
        assert echo["payload"]["content"] == {"text": "HI", "replyTo": 1}
        refusal = await send(connection, {"text": "wrong"}, id="b")
        assert_refusal(refusal, "INTERNAL_ERROR", id="b", room="chat:7")
    assert len(errors_of(caplog)) == 1


async def test_message_that_comes_again_is_saved_and_published_once(rooms):
    rooms(on_message="save")
    async with Connection() as connection:
        await connection.subscribe("chat:7")
        assert (await send(connection, {"text": "hi"}, id="a"))["type"] == "message"
        again = await send(connection, {"text": "hi"}, id="a")
        assert (again["type"], again["payload"]) == ("ack", {"duplicate": True})
        assert await connection.so_far() == []
        assert await Note.objects.acount() == 1
        other = await send(connection, {"text": "ho"}, id="a")
        assert other["payload"]["content"]["text"] == "ho"


async def test_message_that_was_saved_but_not_published_is_published_when_it_comes_again(
    rooms, own_streams
):
    rooms(on_message="save")
    streams = LostStreams()
    own_streams(streams)
    async with Connection() as connection:
        await connection.subscribe("chat:7")
        streams.is_away = True
        refusal = await send(connection, {"text": "hi"}, id="a")
        assert_refusal(refusal, "INTERNAL_ERROR", id="a", room="chat:7")
        streams.is_away = False
        echo = await send(connection, {"text": "hi"}, id="a")
        assert echo["payload"]["content"] == {"text": "hi", "number": 1}
        assert await Note.objects.acount() == 1


async def test_function_that_waits_holds_up_no_ping_and_no_other_room(rooms):
    rooms(on_message="wait")
    async with Connection() as connection:
        for room in ("chat:7", "chat:8"):
            await connection.subscribe(room)
        await connection.command("message", {"room": "chat:7", "content": "x"}, id="a")
        await eventually(lambda: gate.came == ["x"])
        assert await connection.is_alive()
        await connection.command("message", {"room": "chat:8", "content": "y"})
        await eventually(lambda: gate.came == ["x", "y"])
        gate.open()
        await connection.assert_reply("a", "message")


async def test_saved_message_is_published_after_the_end_of_the_connection(rooms, user):
    rooms(on_message="wait")
    async with Connection() as other:
        await other.subscribe("chat:7")
        async with Connection(user=user) as connection:
            await connection.subscribe("chat:7")
            await connection.command("message", {"room": "chat:7", "content": "x"}, id="a")
            await eventually(lambda: gate.came == ["x"])
            # The server closes, and does not wait for the function.
            await adisconnect_user(user)
            await connection.assert_closed(4503)
            await connection.assert_ended()
        gate.open()
        assert (await other.assert_push("message"))["payload"]["content"] == "x"


# volatile


async def test_volatile_message_is_checked_too(rooms):
    rooms(content="Chat", on_message="note")
    async with Connection() as connection, Connection() as other:
        for each in (connection, other):
            await each.subscribe("chat:7")
        content = {"room": "chat:7", "content": {"text": "hi"}, "volatile": True}
        await connection.command("message", content)
        received = await other.assert_push("message")
        assert received["payload"] == {
            "room": "chat:7",
            "content": {"text": "hi", "replyTo": 0},
            "volatile": True,
        }
        assert [request.is_volatile for request, *_ in calls] == [True]
        await connection.command("message", {**content, "content": 5})
        refusal = await connection.receive()
        code, room, path = "INVALID_PAYLOAD", "chat:7", "content"
        assert_refusal(refusal, code, id=None, room=room, path=path)
