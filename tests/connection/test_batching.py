"""Several messages in one frame: when they are gathered, and in which order they leave."""

import asyncio
import gc
import json
import time
import weakref

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from pm_realtime.connection.batching import (
    LATE_TICK_TURNS,
    MAX_EMPTY_WINDOWS,
    MAX_GATHERED_LENGTH,
    WINDOWS_PER_TURN,
    Windows,
    choose_subprotocol,
    make_outbox,
    use_windows,
)
from pm_realtime.protocol import BATCH_SUBPROTOCOL, SUBPROTOCOL
from tests.connection.batching import Reader, a_window_passes
from tests.connection.fakes import Socket
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, eventually

BOTH = [BATCH_SUBPROTOCOL, SUBPROTOCOL]
#: For windows that do not end during a test.
LONG = {"BATCH_WINDOW": 1000}


@pytest.fixture(autouse=True)
async def idle():
    """The loop of a test is idle, however busy the machine is."""
    use_windows(Windows(computing_time=lambda: 0.0))


@pytest.fixture
async def reader():
    """A connection whose window is closed."""
    reader = Reader()
    await a_window_passes()
    return reader


# --- when messages are gathered


async def test_message_to_an_idle_connection_goes_out_at_once(reader):
    reader.deliver(1)
    assert reader.texts == ["1"]


async def test_messages_within_a_window_leave_in_one_frame(reader):
    reader.deliver(1, 2, 3, 4)
    assert reader.texts == ["1"]
    await reader.until("1", "[2,3,4]")


async def test_messages_that_come_together_go_out_at_once_in_one_frame(reader):
    reader.outbox.deliver_all(("1", "2", "3"))
    assert reader.texts == ["[1,2,3]"]
    reader.outbox.deliver_all(("4", "5"))
    reader.deliver(6)
    assert len(reader.texts) == 1
    await reader.until("[1,2,3]", "[4,5,6]")


async def test_single_gathered_message_is_a_plain_one(reader):
    reader.deliver(1, 2)
    await reader.until("1", "2")


async def test_messages_are_gathered_while_each_window_brings_some(reader):
    reader.deliver(1, 2, 3)
    await reader.until("1", "[2,3]")
    reader.deliver(4, 5)
    assert len(reader.texts) == 2
    await reader.until("1", "[2,3]", "[4,5]")


async def test_after_an_empty_window_the_next_message_goes_out_at_once(reader):
    reader.deliver(1)
    await a_window_passes()
    reader.deliver(2)
    assert reader.texts == ["1", "2"]


async def test_busy_loop_opens_more_windows_after_an_empty_one():
    use_windows(Windows(computing_time=asyncio.get_running_loop().time))
    reader = Reader()
    await a_window_passes()
    for _ in range(MAX_EMPTY_WINDOWS + 1):
        await a_window_passes()
    reader.deliver(1)
    await a_window_passes()
    reader.deliver(2)
    assert reader.texts == ["1"]
    await reader.until("1", "2")
    for _ in range(MAX_EMPTY_WINDOWS + 1):
        await a_window_passes()
    reader.deliver(3)
    assert reader.texts == ["1", "2", "3"]


async def test_messages_that_waited_for_a_late_loop_leave_in_the_same_frame(reader):
    reader.deliver(1, 2)
    time.sleep(0.03)
    for number in range(3, LATE_TICK_TURNS):
        reader.deliver(number)
        await asyncio.sleep(0)
    await reader.until("1", json.dumps([*range(2, LATE_TICK_TURNS)], separators=(",", ":")))


async def test_without_a_window_each_message_has_its_own_frame(settings):
    settings.PM_REALTIME = {"BATCH_WINDOW": 0}
    reader = Reader()
    reader.deliver(1, 2, 3)
    assert reader.texts == ["1", "2", "3"]


async def test_batch_window_is_read_live(reader, settings):
    reader.deliver(1, 2, 3)
    settings.PM_REALTIME = {"BATCH_WINDOW": 0}
    await reader.until("1", "[2,3]")
    reader.deliver(4, 5)
    assert reader.texts == ["1", "[2,3]", "4", "5"]
    settings.PM_REALTIME = {"BATCH_WINDOW": 1}
    reader.deliver(6, 7, 8)
    await reader.until("1", "[2,3]", "4", "5", "6", "[7,8]")


async def test_window_that_is_no_number_is_none(settings):
    settings.PM_REALTIME = {"BATCH_WINDOW": "soon"}
    reader = Reader()
    reader.deliver(1, 2)
    assert reader.texts == ["1", "2"]
    assert choose_subprotocol(BOTH) == SUBPROTOCOL


async def test_length_of_a_frame_is_bounded(reader):
    most, some = '"' + "x" * (MAX_GATHERED_LENGTH * 3 // 5) + '"', '"' + "y" * 2000 + '"'
    long = '"' + "z" * (MAX_GATHERED_LENGTH * 4) + '"'
    for text in ("1", most, some, most, long, "5"):
        reader.outbox.deliver(text)
    assert reader.texts == ["1", f"[{most},{some}]", most, long]
    await reader.until("1", f"[{most},{some}]", most, long, "5")


# --- the start and the end


async def test_waiting_messages_follow_the_first_frame_in_order():
    socket = Socket()
    outbox = make_outbox(BATCH_SUBPROTOCOL, socket.send, None)
    for text in ("1", "2", "3"):
        outbox.deliver(text)
    assert socket.texts == []
    outbox.release("0")
    outbox.deliver("4")
    assert socket.texts == ["0"]
    await eventually(lambda: socket.texts == ["0", "[1,2,3,4]"])


async def test_close_follows_the_gathered_messages(reader):
    reader.deliver(1, 2, 3)
    reader.outbox.close(4503)
    reader.deliver(4)
    await a_window_passes()
    assert reader.texts == ["1", "[2,3]"]
    assert reader.frames[-1] == {"type": "websocket.close", "code": 4503}


async def test_drain_sends_the_gathered_messages(reader):
    reader.deliver(1, 2, 3)
    await reader.outbox.drain(5)
    assert reader.texts == ["1", "[2,3]"]


async def test_closed_connection_is_not_kept_by_its_window(settings):
    settings.PM_REALTIME = LONG
    reader = Reader()
    reader.deliver(1)
    await reader.outbox.drain(EVENT_TIMEOUT_SECONDS)
    trace = weakref.ref(reader)
    del reader
    gc.collect()
    assert trace() is None


async def test_discard_drops_the_gathered_messages(reader):
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


async def test_messages_gathered_for_a_lost_socket_do_no_harm(reader):
    reader.deliver(1, 2)
    reader.error = OSError("gone")
    await a_window_passes()
    reader.deliver(3)
    assert reader.outbox.is_closed
    assert reader.texts == ["1"]


# --- slow readers and others


async def test_gathered_messages_count_for_max_queue_bytes(reader, settings):
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


async def test_slow_reader_holds_up_no_other(reader):
    others = [Reader() for _ in range(3)]
    reader.fill()
    for each in (others[0], reader, *others[1:]):
        each.deliver(1, 2)
    for other in others:
        await other.until("[1,2]")
    reader.empty()
    await reader.until("1", "2")


async def test_error_with_one_connection_holds_up_no_other(settings, caplog):
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


async def test_many_connections_leave_turns_to_other_tasks():
    readers = [Reader() for _ in range(3 * WINDOWS_PER_TURN)]
    for each in readers:
        each.deliver(1, 2)
    seen = set()
    while 3 * WINDOWS_PER_TURN not in seen:
        await asyncio.sleep(0)
        seen.add(sum(bool(each.frames) for each in readers))
    assert seen == {0, WINDOWS_PER_TURN, 2 * WINDOWS_PER_TURN, 3 * WINDOWS_PER_TURN}


STEPS = st.lists(
    st.one_of(st.integers(0, 10**6), st.sampled_from(["turn", "window", "flush", "fill", "empty"])),
    max_size=60,
)


@given(STEPS, st.sampled_from([0, 1, 10]), st.booleans())
def test_all_messages_arrive_once_and_in_order(steps, milliseconds, is_closed):
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
def test_subprotocol_for_an_offer(settings, offered, milliseconds, chosen):
    settings.PM_REALTIME = {"BATCH_WINDOW": milliseconds}
    assert choose_subprotocol(offered) == chosen
