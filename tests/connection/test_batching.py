"""Several messages in one frame: when they gather, in which order they leave, and to whom."""

import asyncio
import gc
import json
import time
import weakref

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime import adisconnect_user, aget_stats, asend_to_room, asend_to_user
from pm_realtime.connection import RealtimeConsumer, batching
from pm_realtime.connection.batching import CHUNK, choose_subprotocol, make_outbox
from pm_realtime.protocol import BATCH_SUBPROTOCOL, SUBPROTOCOL
from pm_realtime.signals import connected, disconnected
from tests.connection.test_consumer import FrozenReader
from tests.connection.test_outbox import Socket
from tests.support.helpers import PATIENCE, Connection, eventually

BOTH = [BATCH_SUBPROTOCOL, SUBPROTOCOL]
#: Of windows that end only where something else ends them.
LONG = {"BATCH_WINDOW": 1000}


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """However busy the machine is, the loop of the test is not."""
    monkeypatch.setattr(batching, "thread_time", lambda: 0.0)


class Reader(Socket):
    """A connection that is open, and the messages that have reached it."""

    def __init__(self):
        super().__init__()
        self.overflows = 0
        self.outbox = make_outbox(BATCH_SUBPROTOCOL, self.send, self._overflow)
        self.outbox.release('"connected"')
        self.frames.clear()

    def _overflow(self):
        self.overflows += 1
        self.outbox.discard()
        self.outbox.close(4002)

    def deliver(self, *numbers):
        for number in numbers:
            self.outbox.deliver(json.dumps(number))

    async def until(self, *texts):
        await eventually(lambda: len(self.texts) >= len(texts))
        assert self.texts == list(texts)

    @property
    def messages(self):
        found = [json.loads(text) for text in self.texts]
        return [each for one in found for each in (one if isinstance(one, list) else [one])]


@pytest.fixture
async def reader():
    """A connection whose window is closed."""
    reader = Reader()
    await a_window_passes()
    return reader


async def a_window_passes():
    """Those windows end that were open before, where nothing has gathered in them."""
    other = Reader()
    other.deliver(1)
    await other.until("1")


# --- when they gather


async def test_a_message_to_an_idle_connection_goes_out_at_once(reader):
    reader.deliver(1)
    assert reader.texts == ["1"]


async def test_what_follows_within_the_window_leaves_in_one_frame(reader):
    reader.deliver(1, 2, 3, 4)
    assert reader.texts == ["1"]
    await reader.until("1", "[2,3,4]")


async def test_what_comes_together_to_an_idle_connection_goes_out_at_once_in_one_frame(reader):
    reader.outbox.deliver_all(("1", "2", "3"))
    assert reader.texts == ["[1,2,3]"]
    reader.outbox.deliver_all(("4", "5"))
    reader.deliver(6)
    assert len(reader.texts) == 1
    await reader.until("[1,2,3]", "[4,5,6]")


async def test_a_single_message_that_has_gathered_is_a_plain_one(reader):
    reader.deliver(1, 2)
    await reader.until("1", "2")


async def test_messages_gather_as_long_as_they_come_that_fast(reader):
    reader.deliver(1, 2, 3)
    await reader.until("1", "[2,3]")
    reader.deliver(4, 5)
    assert len(reader.texts) == 2
    await reader.until("1", "[2,3]", "[4,5]")


async def test_after_a_window_without_a_message_the_next_goes_out_at_once(reader):
    reader.deliver(1)
    await a_window_passes()
    reader.deliver(2)
    assert reader.texts == ["1", "2"]


async def test_a_busy_loop_goes_on_gathering_for_some_windows_without_a_message(
    reader, monkeypatch
):
    monkeypatch.setattr(batching, "thread_time", asyncio.get_running_loop().time)
    reader.deliver(1)
    await a_window_passes()
    reader.deliver(2)
    assert reader.texts == ["1"]
    await reader.until("1", "2")
    for _ in range(batching.PATIENCE + 1):
        await a_window_passes()
    reader.deliver(3)
    assert reader.texts == ["1", "2", "3"]


async def test_what_has_waited_for_a_late_loop_leaves_with_the_rest(reader):
    reader.deliver(1, 2)
    time.sleep(0.03)
    for number in range(3, batching.TURNS):
        reader.deliver(number)
        await asyncio.sleep(0)
    await reader.until("1", json.dumps([*range(2, batching.TURNS)], separators=(",", ":")))


async def test_without_a_window_each_message_has_its_own_frame(settings):
    settings.PM_REALTIME = {"BATCH_WINDOW": 0}
    reader = Reader()
    reader.deliver(1, 2, 3)
    assert reader.texts == ["1", "2", "3"]


async def test_the_window_is_read_live(reader, settings):
    reader.deliver(1, 2, 3)
    settings.PM_REALTIME = {"BATCH_WINDOW": 0}
    await reader.until("1", "[2,3]")
    reader.deliver(4, 5)
    assert reader.texts == ["1", "[2,3]", "4", "5"]
    settings.PM_REALTIME = {"BATCH_WINDOW": 1}
    reader.deliver(6, 7, 8)
    await reader.until("1", "[2,3]", "4", "5", "6", "[7,8]")


async def test_a_window_that_is_no_number_is_none(settings):
    settings.PM_REALTIME = {"BATCH_WINDOW": "soon"}
    reader = Reader()
    reader.deliver(1, 2)
    assert reader.texts == ["1", "2"]
    assert choose_subprotocol(BOTH) == SUBPROTOCOL


async def test_a_frame_has_a_bound(reader, monkeypatch):
    monkeypatch.setattr(batching, "MAX_LENGTH", 5)
    long = "9" * 20
    reader.deliver(1, 222, 33, 4, int(long), 5)
    assert reader.texts == ["1", "[222,33]", "4", long]
    await reader.until("1", "[222,33]", "4", long, "5")


# --- the hold, and the end


async def test_what_is_held_follows_the_first_frame_in_order():
    socket = Socket()
    outbox = make_outbox(BATCH_SUBPROTOCOL, socket.send, None)
    for text in ("1", "2", "3"):
        outbox.deliver(text)
    assert socket.texts == []
    outbox.release("0")
    outbox.deliver("4")
    assert socket.texts == ["0"]
    await eventually(lambda: socket.texts == ["0", "[1,2,3,4]"])


async def test_a_close_sends_first_what_has_gathered(reader):
    reader.deliver(1, 2, 3)
    reader.outbox.close(4503)
    reader.deliver(4)
    await a_window_passes()
    assert reader.texts == ["1", "[2,3]"]
    assert reader.frames[-1] == {"type": "websocket.close", "code": 4503}


async def test_a_drain_sends_first_what_has_gathered(reader):
    reader.deliver(1, 2, 3)
    await reader.outbox.drain(5)
    assert reader.texts == ["1", "[2,3]"]


async def test_closed_connection_is_not_kept_by_its_window(settings):
    settings.PM_REALTIME = LONG
    reader = Reader()
    reader.deliver(1)
    await reader.outbox.drain(PATIENCE)
    trace = weakref.ref(reader)
    del reader
    gc.collect()
    assert trace() is None


async def test_discard_forgets_what_has_gathered(reader):
    reader.deliver(1, 2, 3)
    reader.outbox.discard()
    reader.deliver(4)
    await reader.until("1", "4")


async def test_after_a_flush_the_window_goes_on(reader):
    reader.deliver(1, 2, 3)
    reader.outbox.flush()
    assert reader.texts == ["1", "[2,3]"]
    reader.deliver(4, 5)
    await reader.until("1", "[2,3]", "[4,5]")


async def test_what_gathers_for_a_socket_that_is_gone_harms_nothing(reader):
    reader.deliver(1, 2)
    reader.error = OSError("gone")
    await a_window_passes()
    reader.deliver(3)
    assert reader.outbox.is_closed
    assert reader.texts == ["1"]


# --- slow readers, and others


async def test_what_has_gathered_counts_for_max_queue_bytes(reader, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 100}
    reader.fill()
    reader.deliver(*range(10))
    await a_window_passes()
    assert not reader.outbox.is_closed
    reader.deliver(*range(100))
    await eventually(lambda: reader.overflows)
    reader.deliver(1)
    reader.empty()
    await reader.outbox.drain(5)
    assert reader.texts == ["0"]
    assert reader.frames[-1] == {"type": "websocket.close", "code": 4002}
    assert reader.overflows == 1


async def test_a_slow_reader_holds_up_nobody(reader):
    others = [Reader() for _ in range(3)]
    reader.fill()
    for each in (others[0], reader, *others[1:]):
        each.deliver(1, 2)
    for other in others:
        await other.until("[1,2]")
    reader.empty()
    await reader.until("1", "2")


async def test_an_error_with_one_connection_holds_up_no_other(settings, caplog):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}

    def fail():
        raise RuntimeError("a mistake")

    broken, other = Socket(), Reader()
    outbox = make_outbox(BATCH_SUBPROTOCOL, broken.send, fail)
    outbox.release("0")
    broken.fill()
    outbox.deliver("1" * 5)
    await a_window_passes()
    outbox.deliver("1" * 20)
    other.deliver(1, 2)
    await other.until("1", "2")
    assert [record.message for record in caplog.records] == [
        "Messages could not be delivered to a connection."
    ]
    broken.empty()


async def test_after_an_error_its_connection_goes_on(settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}

    def fail():
        raise RuntimeError("a mistake")

    socket = Socket()
    outbox = make_outbox(BATCH_SUBPROTOCOL, socket.send, fail)
    outbox.release("0")
    socket.fill()
    outbox.deliver("1" * 5)
    await a_window_passes()
    outbox.deliver("1" * 20)
    await a_window_passes()
    socket.empty()
    outbox.deliver("2")
    await eventually(lambda: "2" in socket.texts)


async def test_many_connections_leave_others_their_turn():
    readers = [Reader() for _ in range(3 * CHUNK)]
    for each in readers:
        each.deliver(1, 2)
    seen = set()
    while 3 * CHUNK not in seen:
        await asyncio.sleep(0)
        seen.add(sum(bool(each.frames) for each in readers))
    assert seen == {0, CHUNK, 2 * CHUNK, 3 * CHUNK}


STEPS = st.lists(
    st.one_of(st.integers(0, 10**6), st.sampled_from(["turn", "window", "flush", "fill", "empty"])),
    max_size=60,
)


@given(STEPS, st.sampled_from([0, 1, 10]), st.booleans())
def test_whatever_happens_all_arrives_once_and_in_order(steps, milliseconds, is_closed):
    async def run():
        reader = Reader()
        for step in steps:
            if isinstance(step, int):
                reader.deliver(step)
            elif step == "turn":
                await asyncio.sleep(0)
            elif step == "window":
                await asyncio.sleep(milliseconds / 1000)
            else:
                {
                    "flush": reader.outbox.flush,
                    "fill": reader.fill,
                    "empty": reader.empty,
                }[step]()
        reader.empty()
        if is_closed:
            reader.outbox.close(4503)
        await reader.outbox.drain(5)
        return reader.messages

    with override_settings(PM_REALTIME={"BATCH_WINDOW": milliseconds}):
        assert asyncio.run(run()) == [step for step in steps if isinstance(step, int)]


# --- connections


@pytest.mark.parametrize(
    ("offered", "milliseconds", "chosen"),
    [
        (BOTH, 10, BATCH_SUBPROTOCOL),
        (BOTH, 0, SUBPROTOCOL),
        ([BATCH_SUBPROTOCOL], 0, BATCH_SUBPROTOCOL),
        ([SUBPROTOCOL], 10, SUBPROTOCOL),
        ([], 10, None),
        (["other"], 10, None),
    ],
)
def test_what_answers_an_offer(settings, offered, milliseconds, chosen):
    settings.PM_REALTIME = {"BATCH_WINDOW": milliseconds}
    assert choose_subprotocol(offered) == chosen


class Accepting(RealtimeConsumer):
    async def accept(self, subprotocol=None, headers=None):
        await super().accept(headers=[(b"x-site", b"1")])


async def test_a_site_that_accepts_by_itself_answers_the_offer_all_the_same():
    connection = Connection(application=Accepting.as_asgi(), subprotocols=BOTH)
    assert await connection.connect() == (True, BATCH_SUBPROTOCOL)
    await connection.disconnect()


class Choosing(RealtimeConsumer):
    async def accept(self, subprotocol=None, headers=None):
        await super().accept(SUBPROTOCOL, headers)


async def test_what_a_site_agrees_on_by_itself_holds(configure, user):
    configure(**LONG)
    async with Connection(
        user=user, application=Choosing.as_asgi(), subprotocols=BOTH
    ) as connection:
        for number in range(3):
            await asend_to_user(user, f"push{number}")
        await eventually(lambda: connection.output_queue.qsize() == 3)
        assert [names(frame) for frame in texts(connection)] == ["push0", "push1", "push2"]


class Speaking(RealtimeConsumer):
    async def notify(self, signal, **arguments):
        await super().notify(signal, **arguments)
        if signal is connected:
            for text in ("plain", "[1]", "3"):
                await self.send(text)


async def test_a_text_of_a_subclass_has_a_frame_of_its_own(configure):
    configure(**LONG)
    connection = Connection(application=Speaking.as_asgi(), subprotocols=BOTH)
    await connection.connect()
    await connection.receive()
    await eventually(lambda: connection.output_queue.qsize() == 3)
    assert [event["text"] for event in connection.unread()] == ["plain", "[1]", "3"]
    await connection.disconnect()


def texts(connection):
    """What has come and nobody has read, frame by frame."""
    return [json.loads(event["text"]) for event in connection.unread()]


def names(frame):
    return [each["type"] for each in frame] if isinstance(frame, list) else frame["type"]


async def test_messages_of_all_groups_and_answers_keep_their_order(configure, editor):
    configure(**LONG)
    async with (
        Connection(user=editor, subprotocols=BOTH) as together,
        Connection(user=editor, subprotocols=[SUBPROTOCOL]) as alone,
    ):
        for connection in (together, alone):
            await connection.subscribe("support")
        for number in range(3):
            await asend_to_user(editor, f"user{number}")
            await asend_to_room("support", f"room{number}")
        expected = ["user0", "room0", "user1", "room1", "user2", "room2"]
        await eventually(lambda: alone.output_queue.qsize() >= 6)
        assert [names(frame) for frame in texts(alone)] == expected
        assert texts(together) == []
        await together.command("ping")
        await eventually(together.output_queue.qsize)
        assert [names(frame) for frame in texts(together)] == [[*expected, "pong"]]


async def test_an_answer_never_waits(configure):
    configure(**LONG)
    async with Connection(subprotocols=BOTH) as connection:
        for number in range(3):
            await connection.command("ping", id=str(number))
        await eventually(lambda: connection.output_queue.qsize() == 3)
        assert [frame["id"] for frame in texts(connection)] == ["0", "1", "2"]


async def test_what_has_gathered_comes_before_the_close(configure, user):
    configure(**LONG)
    async with Connection(user=user, subprotocols=BOTH) as connection:
        for number in range(3):
            await asend_to_user(user, f"push{number}")
        await adisconnect_user(user)
        assert [(await connection.receive())["type"] for _ in range(3)] == [
            "push0",
            "push1",
            "push2",
        ]
        await connection.assert_closed(4503)


async def test_a_client_that_does_not_read_is_closed_at_max_queue_bytes(configure, user):
    configure(MAX_QUEUE_BYTES=2000)
    app = FrozenReader()
    async with (
        Connection(user=user, application=app, subprotocols=BOTH) as frozen,
        Connection(user=user) as quick,
    ):
        async with asyncio.timeout(PATIENCE):
            while (await aget_stats())["totalConnections"] > 1:
                await asend_to_user(user, "big", "x" * 600)
                assert await quick.types_so_far() == ["big"]
        app.may_read.set()
        await frozen.assert_closed(4002)
        await frozen.assert_ended()


async def test_what_overflows_at_a_close_is_told_as_too_slow(configure, user):
    configure(MAX_QUEUE_BYTES=2000, **LONG)
    app, codes = FrozenReader(), []
    async with Connection(user=user, application=app, subprotocols=BOTH) as frozen:

        def note(code, **arguments):
            codes.append(code)

        disconnected.connect(note)
        await asend_to_user(user, "first")
        await asend_to_user(user, "big", "x" * 70_000)
        await asend_to_user(user, "more", "x" * 3000)
        await adisconnect_user(user)
        await eventually(lambda: codes)
        app.may_read.set()
        await frozen.assert_closed(4002)
        await frozen.assert_ended()
    assert codes == [4002]
