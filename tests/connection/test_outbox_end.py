"""The close, the drain and the loss of a socket."""

import asyncio

import pytest

from pm_realtime.connection.outbox import Outbox
from tests.connection.fakes import all_sent, deliver_all, numbers

CLOSE = {"type": "websocket.close", "code": 4503}


# --- the close


async def test_close_is_sent_at_once_if_nothing_waits(outbox, socket):
    outbox.close(4503)
    assert outbox.is_closed
    assert socket.frames == [CLOSE]


async def test_close_is_sent_after_the_frames_that_wait(outbox, socket):
    socket.fill()
    deliver_all(outbox, ["a", "b"])
    outbox.close(4503)
    socket.empty()
    await all_sent(outbox)
    assert socket.texts == ["a", "b"]
    assert socket.frames[-1] == CLOSE


async def test_nothing_is_sent_after_the_close(outbox, socket):
    outbox.close(4503)
    outbox.deliver("late")
    outbox.close(4001)
    await all_sent(outbox)
    assert socket.frames == [CLOSE]


async def test_close_fits_into_a_full_queue(outbox, socket, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 1}
    socket.fill()
    deliver_all(outbox, ["a", "b"])
    outbox.close(4503)
    socket.empty()
    await all_sent(outbox)
    assert socket.frames[-1] == CLOSE


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        ("bye", "bye"),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("é" * 100, "é" * 61),
        ("€" * 100, "€" * 41),
        ("😀" * 100, "😀" * 30),
        ("x" + "😀" * 100, "x" + "😀" * 30),
        ("xxx" + "😀" * 100, "xxx" + "😀" * 30),
    ],
)
async def test_reason_is_cut_at_123_bytes_between_characters(outbox, socket, reason, written):
    outbox.close(4503, reason)
    assert socket.frames == [{**CLOSE, "reason": written}]
    assert len(written.encode()) <= 123


async def test_empty_reason_is_left_out(outbox, socket):
    outbox.close(4503, "")
    assert "reason" not in socket.frames[0]


# --- discarding and draining


async def test_discard_drops_the_frames_that_wait(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    deliver_all(outbox, ["begun", "1234567890"])
    outbox.discard()
    outbox.deliver("0987654321")
    assert overflow.calls == 0
    socket.empty()
    await all_sent(outbox)
    assert socket.texts == ["begun", "0987654321"]


async def test_discard_before_the_release_drops_the_frames_that_wait(held, socket):
    held.deliver("a")
    held.discard()
    held.release("first")
    assert socket.texts == ["first"]


async def test_drain_waits_until_all_is_sent(outbox, socket):
    socket.fill()
    deliver_all(outbox, numbers(5))
    asyncio.get_running_loop().call_later(0.01, socket.empty)
    await outbox.drain(10)
    assert socket.texts == numbers(5)


async def test_drain_waits_for_its_seconds_and_drops_the_rest(outbox, socket):
    socket.fill()
    deliver_all(outbox, numbers(5))
    async with asyncio.timeout(5):
        await outbox.drain(0.01)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    socket.empty()
    outbox.deliver("late")
    await asyncio.sleep(0)
    assert socket.frames == []


async def test_drain_of_an_empty_queue_returns_at_once_and_closes(outbox, socket):
    await outbox.drain(10)
    outbox.deliver("late")
    assert outbox.is_closed
    assert socket.frames == []


# --- a socket that is gone


async def test_send_that_raises_ends_the_outbox_quietly(outbox, socket):
    socket.error = OSError("gone")
    deliver_all(outbox, ["a", "b"])
    assert outbox.is_closed
    socket.error = None
    outbox.deliver("c")
    outbox.close(4503)
    assert socket.frames == []


async def test_send_that_raises_after_waiting_drops_the_rest(outbox, socket):
    socket.fill()
    deliver_all(outbox, ["a", "b", "c"])
    socket.error = OSError("gone")
    socket.empty()
    await all_sent(outbox)
    assert outbox.is_closed
    assert socket.frames == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_later_send_that_raises_ends_the_outbox(overflow):
    frames, gate = [], asyncio.Event()

    async def send(frame):
        await gate.wait()
        if frame["text"] == "bad":
            raise OSError("gone")
        frames.append(frame["text"])

    outbox = Outbox(send, overflow)
    outbox.release("first")
    deliver_all(outbox, ["bad", "never"])
    gate.set()
    await all_sent(outbox)
    assert frames == ["first"]
    assert outbox.is_closed


async def test_release_into_a_lost_socket_sends_nothing_more(held, socket):
    deliver_all(held, ["a", "b"])
    socket.error = OSError("gone")
    held.release("first")
    assert held.is_closed
    assert socket.frames == []
