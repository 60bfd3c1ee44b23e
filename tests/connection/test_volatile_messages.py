"""Volatile messages and the rates of rooms, through the wire."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from pm_realtime import aget_history, command
from pm_realtime.backends import get_streams
from pm_realtime.connection.lanes import MAX_UNFINISHED_COMMANDS
from tests.connection.fakes import application
from tests.support.commands import in_room as in_room_frame
from tests.support.helpers import Clock, Connection, assert_envelope, assert_refusal

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture(autouse=True)
def rooms(configure):
    configure(
        RATE_LIMIT="10/m",
        ROOMS={
            "board:<int:pk>": {"public": True, "publish_role": "anonymous", "rate": "30/s"},
            "chat:<int:pk>": {"public": True, "publish_role": "anonymous"},
            "news": {"public": True, "publish_role": "server", "rate": "30/s"},
        },
    )


@asynccontextmanager
async def in_room(room, *users, **options):
    """Connections of ``users`` in ``room``."""
    async with Connection(user=users[0], **options) as connection:
        await connection.subscribe(room)
        if len(users) == 1:
            yield [connection]
        else:
            async with in_room(room, *users[1:], **options) as others:
                yield [connection, *others]


async def send(connection, room, content, **more):
    envelope = {"type": "message", "timestamp": 0}
    payload = {"room": room, "content": content, "volatile": True}
    await connection.send_frame(json.dumps({**envelope, "payload": payload, **more}))


async def test_volatile_message_reaches_the_others_and_has_no_answer(user, editor):
    async with in_room("board:1", user, editor, None) as (sender, *others):
        await send(sender, "board:1", {"x": 1}, id="ignored")
        for other in others:
            envelope = await other.receive()
            assert_envelope(
                envelope,
                type="message",
                room="board:1",
                payload={
                    "room": "board:1",
                    "content": {"x": 1},
                    "volatile": True,
                    "from": {"userId": str(user.pk), "name": envelope["payload"]["from"]["name"]},
                },
            )
            assert "id" not in envelope
            assert "cursor" not in envelope
        assert await sender.so_far() == []


async def test_volatile_message_of_a_visitor_says_nothing_of_its_sender():
    async with in_room("board:1", None, None) as (sender, other):
        await send(sender, "board:1", 1)
        assert (await other.receive())["payload"] == {
            "room": "board:1",
            "content": 1,
            "volatile": True,
        }


async def test_volatile_message_is_neither_kept_nor_replayed(user):
    async with in_room("board:1", user, user) as (sender, other):
        await send(sender, "board:1", "volatile")
        await other.receive()
        assert (await aget_history("board:1")).messages == []
    assert get_streams().keeps_messages


async def test_volatile_false_is_an_ordinary_message(user):
    async with in_room("board:1", user) as (connection,):
        payload = {"room": "board:1", "content": 1, "volatile": False}
        envelope = await connection.ask("message", payload, id="1")
        assert envelope["type"] == "message"
        assert "volatile" not in envelope["payload"]
        assert "cursor" in envelope


@pytest.mark.parametrize("value", [None, 1, 0, "true", "", [], {}])
async def test_volatile_that_is_no_bool_is_refused(user, value):
    async with in_room("board:1", user) as (connection,):
        payload = {"room": "board:1", "content": 1, "volatile": value}
        refusal = await connection.ask("message", payload, id="1")
        assert_refusal(refusal, "INVALID_PAYLOAD", id="1", room="board:1", path="volatile")


@pytest.mark.parametrize(
    ("room", "code"), [("board:2", "NOT_IN_ROOM"), ("news", "FORBIDDEN"), ("", "INVALID_ROOM")]
)
async def test_refusal_of_a_volatile_message_names_the_room(user, room, code):
    async with in_room("news", user) as (connection,):
        await send(connection, room, 1)
        refusal = await connection.receive()
        named = {"room": room} if room else {}
        assert_refusal(refusal, code, id=None, **named)


async def test_one_message_a_frame_time_of_a_cursor_is_no_flood(user, editor):
    """Twenty a second for a minute, under a limit of ten a minute for everything else."""
    clock = Clock()
    options = {"application": application(clock=clock.monotonic)}
    async with in_room("board:1", user, editor, **options) as (sender, other):
        for number in range(1200):
            clock.now += 0.05
            await send(sender, "board:1", number)
            assert (await other.receive())["payload"]["content"] == number
        assert await sender.so_far() == []


async def test_rate_of_a_room_is_that_of_all_connections_of_a_sender(user, editor):
    clock = Clock()
    options = {"application": application(clock=clock.monotonic)}
    async with in_room("board:1", user, user, editor, **options) as (first, second, other):
        for number in range(30):
            await send((first, second)[number % 2], "board:1", number)
        await send(second, "board:1", 30)
        while (refusal := await second.receive())["type"] != "error":
            pass
        assert_refusal(refusal, "RATE_LIMITED", id=None, room="board:1", retryAfter=1000)
        await send(other, "board:1", "another sender")
        while (await first.receive())["payload"]["content"] != "another sender":
            pass
        await first.subscribe("board:2")
        await second.subscribe("board:2")
        await send(first, "board:2", "another room")
        while (await second.receive())["room"] != "board:2":
            pass


async def test_messages_far_over_the_rate_of_a_room_end_the_connection(user):
    options = {"application": application(clock=Clock().monotonic)}
    async with in_room("board:1", user, **options) as (connection,):
        for number in range(30 + 5 * 30 + 1):
            await send(connection, "board:1", number)
        await connection.assert_closed(4003)


async def test_cursor_that_a_break_of_the_network_held_up_is_no_flood(user, editor):
    """Twenty a second: six seconds of it come at once, and then it goes on."""
    clock = Clock()
    options = {"application": application(clock=clock.monotonic)}
    async with in_room("board:1", user, editor, **options) as (sender, other):
        for second, count in enumerate((6 * 20, 20, 20)):
            for number in range(count):
                await send(sender, "board:1", [second, number])
            assert await sender.is_alive()
            clock.now += 1
        while (await other.receive())["payload"]["content"] != [2, 19]:
            pass


async def test_messages_to_a_room_without_a_rate_count_against_the_limit(user):
    async with in_room("chat:1", user) as (connection,):
        for number in range(9):
            await send(connection, "chat:1", number)
        assert await connection.so_far() == []
        await send(connection, "chat:1", 9)
        refusal = await connection.receive()
        retry_after = refusal["payload"]["retryAfter"]
        named = {"room": "chat:1", "retryAfter": retry_after}
        assert_refusal(refusal, "RATE_LIMITED", id=None, **named)


async def test_room_that_was_not_joined_has_no_rate_of_its_own(user):
    async with Connection(user=user) as connection:
        codes = []
        for number in range(15):
            await send(connection, f"board:{number}", 1)
            codes.append((await connection.receive())["payload"]["code"])
        assert codes == ["NOT_IN_ROOM"] * 10 + ["RATE_LIMITED"] * 5


async def wait_for_event(user, room, pk):
    """A rule of rooms that answers once the test has set the event of this loop."""
    await asyncio.get_running_loop().event.wait()
    return True


@pytest.fixture
async def event():
    loop = asyncio.get_running_loop()
    loop.event = asyncio.Event()
    yield loop.event
    del loop.event


async def test_messages_while_a_room_is_joined_count_against_its_rate(user, event, configure):
    """A page that comes back sends its cursor on, although the rule of the room is slow."""
    path = f"{__name__}.wait_for_event"
    configure(RATE_LIMIT="10/m", ROOMS={"board:<int:pk>": {"authorize": path, "rate": "200/s"}})
    async with Connection(user=user) as connection:
        await connection.command("subscribe", {"room": "board:1"}, id="join")
        for number in range(MAX_UNFINISHED_COMMANDS + 20):
            await send(connection, "board:1", number)
        assert await connection.is_alive()
        event.set()
        await connection.assert_reply("join", "subscribed")
        assert await connection.so_far() == []


@pytest.mark.usefixtures("no_commands")
@pytest.mark.parametrize("is_checked", [False, True])
async def test_cursor_does_not_wait_for_a_slow_command_in_its_room(
    user, editor, event, configure, is_checked
):
    """Nor do so many of its positions wait that no more frames are read."""
    options = {"on_message": f"{__name__}.keep"} if is_checked else {}
    configure(ROOMS={"board:<int:pk>": {"rate": "200/s", **options}})

    @command("board.save", room="board:<int:pk>")
    async def save(request, pk: int):
        await event.wait()

    async with in_room("board:1", user, editor) as (sender, other):
        await sender.send_frame(in_room_frame("board.save", "board:1", id="save"))
        for number in range(MAX_UNFINISHED_COMMANDS + 20):
            await send(sender, "board:1", number)
        while (await other.receive())["payload"]["content"] != number:
            pass
        assert await sender.is_alive()
        event.set()
        await sender.assert_reply("save", "result")


async def keep(request, content, pk):
    return content
