"""Commands of one connection: in order for each room, side by side, and after its end."""

import asyncio
import time

import pytest

from pm_realtime import aget_stats, command, signals
from pm_realtime.connection.lanes import MAX_UNFINISHED_COMMANDS
from pm_realtime.connection.sockets import Socket
from pm_realtime.hub import get_hub
from tests.connection.draining import RESTARTING, terminate
from tests.site.models import Note
from tests.support.commands import Gate, in_room
from tests.support.helpers import NO_CONNECTIONS, Connection, eventually

pytestmark = pytest.mark.usefixtures("leaves_nothing", "no_commands", "transactional_db")


def waits(user, room):
    waits.gate.wait(room)
    return True


@pytest.fixture
def public(configure):
    """Every room is open to anonymous connections."""
    configure(DEFAULT_ROOM={"public": True, "publish_role": "anonymous"}, RATE_LIMIT=None)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def slow(gate, public):
    """Commands that wait at the gate: ``slow`` for a room, ``own`` for the user."""

    @command("slow", room="<path:name>", public=True)
    def slow(request, name: str, payload):
        gate.wait(payload)
        Note.objects.create(text=payload)

    @command("own", public=True)
    def own(request, payload):
        gate.wait(payload)

    @command("quick", room="<path:name>", public=True)
    async def quick(request, name: str):
        pass


async def saved():
    return [note.text async for note in Note.objects.order_by("pk")]


async def send_message(connection, room, content, id="message"):
    return await connection.command("message", {"room": room, "content": content}, id=id)


async def test_commands_for_one_room_are_carried_out_in_their_order(slow, gate):
    async with Connection() as connection:
        await connection.command("subscribe", {"room": "a"}, id="1")
        await connection.send_frame(in_room("slow", "a", "x", "2"))
        await send_message(connection, "a", "y", "3")
        await connection.send_frame(in_room("quick", "a", id="4"))
        await connection.command("unsubscribe", {"room": "a"}, id="5")
        await connection.send_frame(in_room("quick", "a", id="6"))
        await connection.assert_reply("1", "subscribed")
        await eventually(lambda: gate.came == ["x"])
        assert await connection.so_far() == []
        gate.open()
        answers = [await connection.receive() for _ in range(5)]
        assert [(each["id"], each["type"]) for each in answers] == [
            ("2", "result"),
            ("3", "message"),
            ("4", "result"),
            ("5", "unsubscribed"),
            ("6", "error"),
        ]


async def test_slow_command_holds_up_no_other_room_and_no_command_about_the_user(slow, gate):
    async with Connection() as connection:
        for room in "ab":
            await connection.subscribe(room)
        await connection.send_frame(in_room("slow", "a", "x", "slow"))
        for id in "123":
            await connection.command("own", id, id=id)
        await eventually(lambda: sorted(gate.came) == ["1", "2", "3", "x"])
        assert await connection.is_alive()
        await connection.send_frame(in_room("quick", "b", id="quick"))
        await connection.assert_reply("quick", "result")
        await send_message(connection, "b", 1, "message")
        await connection.assert_reply("message", "message")
        await connection.subscribe("c")


async def test_with_too_many_unfinished_commands_no_more_frames_are_read(slow, gate):
    async with Connection() as connection:
        await connection.subscribe("a")
        for number in range(MAX_UNFINISHED_COMMANDS):
            await connection.send_frame(in_room("slow", "a", str(number)))
        assert await connection.is_alive()
        await connection.send_frame(in_room("slow", "a", "more"))
        await connection.command("ping", id="ping")
        await connection.assert_nothing()
        gate.open()
        await connection.assert_reply("ping", "pong")


async def test_slow_rules_of_many_rooms_hold_up_no_ping(public, configure, gate):
    configure(DEFAULT_ROOM={"public": True, "authorize": f"{__name__}.waits"})
    waits.gate = gate
    async with Connection() as connection:
        began_at = time.monotonic()
        for number in range(30):
            await connection.command("subscribe", {"room": str(number)})
        assert await connection.is_alive()
        # 30 rules that are waited for one after another would take 1.5 s.
        assert time.monotonic() - began_at < 1
        gate.open()


async def test_commands_for_many_rooms_are_bounded_too(public, configure):
    configure(MAX_ROOMS_PER_CONNECTION=200)
    may_end = asyncio.Event()

    @command("wait", room="<path:name>", public=True)
    async def wait(request, name: str):
        await may_end.wait()

    async with Connection() as connection:
        rooms = [str(number) for number in range(MAX_UNFINISHED_COMMANDS + 1)]
        for room in rooms:
            await connection.subscribe(room)
        for room in rooms:
            await connection.send_frame(in_room("wait", room))
        await connection.command("ping", id="ping")
        await connection.assert_nothing()
        may_end.set()
        await connection.assert_reply("ping", "pong")


# The end of the connection


async def test_running_command_ends_after_its_connection_and_what_waits_is_dropped(slow, gate):
    ended = []

    def note(code, **arguments):
        ended.append(code)

    signals.disconnected.connect(note)
    try:
        async with Connection() as connection:
            await connection.subscribe("a")
            await connection.send_frame(in_room("slow", "a", "x", "1"))
            await connection.send_frame(in_room("slow", "a", "y", "2"))
            await eventually(lambda: gate.came == ["x"])
            await connection.drop()
            # Nobody still counts the connection, although its command runs.
            assert ended == [1006]
            assert await aget_stats() == NO_CONNECTIONS
        assert await saved() == []
        gate.open()
        while await saved() != ["x"]:
            await asyncio.sleep(0.01)
    finally:
        signals.disconnected.disconnect(note)
    assert gate.came == ["x"]


async def test_connection_ends_with_its_socket_although_too_many_commands_wait(slow, gate):
    """The event of its end is behind a frame that is not read yet."""
    ended = []

    def note(code, **arguments):
        ended.append(code)

    signals.disconnected.connect(note)
    try:
        async with Connection() as connection:
            await connection.subscribe("a")
            (member,) = get_hub().registry
            for number in range(MAX_UNFINISHED_COMMANDS + 2):
                await connection.send_frame(in_room("slow", "a", str(number)))
            await eventually(lambda: member._inbox.lanes.is_full)
            assert ended == []
            member._guard.socket = ClosedSocket()
            await eventually(lambda: ended == [1006])
            assert await aget_stats() == NO_CONNECTIONS
            gate.open()
            await eventually(lambda: not member._inbox.lanes)
    finally:
        signals.disconnected.disconnect(note)
    assert gate.came == ["0"]


class ClosedSocket(Socket):
    is_closing = True


async def test_message_behind_a_command_is_carried_out_after_the_end(slow, gate):
    async with Connection() as other:
        await other.subscribe("a")
        async with Connection() as connection:
            await connection.subscribe("a")
            await connection.send_frame(in_room("slow", "a", "x"))
            await send_message(connection, "a", "y")
            await connection.send_frame(in_room("slow", "a", "z"))
            await eventually(lambda: gate.came == ["x"])
            dropping = asyncio.create_task(connection.drop())
            assert await other.so_far() == []
            gate.open()
            await other.assert_push("message")
            await dropping
        assert await saved() == ["x"]


async def test_commands_that_were_lost_with_their_connection_come_again_in_order(slow, gate):
    async with Connection() as connection:
        await connection.subscribe("a")
        for id in "123":
            await connection.send_frame(in_room("slow", "a", id, f"{id:0>32}"))
        await eventually(lambda: gate.came == ["1"])
        await connection.drop()
        async with connection.recover() as again:
            for id in "123":
                await again.send_frame(in_room("slow", "a", id, f"{id:0>32}"))
            gate.open()
            answers = [await again.receive() for _ in range(3)]
            assert [each["id"][-1] for each in answers] == ["1", "2", "3"]
    assert await saved() == gate.came == ["1", "2", "3"]


async def test_message_behind_a_command_that_waits_for_its_first_call_is_carried_out(slow, gate):
    id = "0" * 32
    async with Connection() as first, Connection() as other:
        for each in (first, other):
            await each.subscribe("a")
        await first.send_frame(in_room("slow", "a", "x", id))
        await eventually(lambda: gate.came == ["x"])
        async with Connection() as connection:
            await connection.subscribe("a")
            await connection.send_frame(in_room("slow", "a", "x", id))
            await send_message(connection, "a", "y")
            assert await connection.is_alive()
            await connection.drop()
        # It has not waited for the end of the first one.
        assert (await other.assert_push("message"))["payload"]["content"] == "y"
        assert gate.came == ["x"]
        gate.open()
        await first.assert_reply(id, "result")


# The end of the process


async def test_process_that_stops_answers_the_commands_that_run_and_begins_no_others(
    server, slow, gate
):
    async with Connection() as connection:
        await connection.subscribe("a")
        await connection.send_frame(in_room("slow", "a", "x", "1"))
        await connection.send_frame(in_room("slow", "a", "y", "2"))
        await eventually(lambda: gate.came == ["x"])
        terminate()
        await asyncio.sleep(0.15)
        await connection.command("own", "z", id="3")
        await connection.assert_nothing()
        gate.open()
        assert (await connection.receive())["id"] == "1"
        await connection.assert_closed(RESTARTING)
        await server.until_stopped()
    assert await saved() == gate.came == ["x"]


async def test_process_that_stops_waits_for_commands_of_connections_that_have_ended(
    server, slow, gate
):
    async with Connection() as connection:
        await connection.subscribe("a")
        await connection.send_frame(in_room("slow", "a", "x", "1"))
        await eventually(lambda: gate.came == ["x"])
        await connection.drop()
    async with Connection() as other:
        terminate()
        await other.assert_closed(RESTARTING)
        assert server.stopped == []
        gate.open()
        await server.until_stopped()
    assert await saved() == ["x"]


async def test_command_that_takes_longer_than_the_shutdown_is_not_waited_for(
    server, slow, gate, configure
):
    configure(SHUTDOWN_PERIOD=0.2)
    async with Connection() as connection:
        await connection.subscribe("a")
        await connection.send_frame(in_room("slow", "a", "x", "1"))
        await eventually(lambda: gate.came == ["x"])
        terminate()
        await connection.assert_closed(RESTARTING)
        await server.until_stopped()
        gate.open()
