"""The order of frames, the wait for the release, a full socket and the bound of the queue."""

import asyncio

from pm_realtime.connection.outbox import Outbox
from tests.connection.fakes import all_sent, deliver_all, numbers

# --- the straight way


async def test_frame_to_a_free_socket_is_sent_before_deliver_returns(outbox, socket):
    outbox.deliver("hello")
    assert socket.frames == [{"type": "websocket.send", "text": "hello"}]


async def test_frames_to_a_free_socket_need_no_task(outbox, socket):
    before = asyncio.all_tasks()
    deliver_all(outbox, numbers(100))
    outbox.close(4503)
    assert asyncio.all_tasks() == before
    assert socket.texts == numbers(100)


async def test_several_texts_are_sent_in_order(outbox, socket):
    outbox.deliver("a")
    outbox.deliver_all(("b", "c"))
    outbox.deliver("d")
    assert socket.texts == ["a", "b", "c", "d"]


async def test_several_texts_wait_in_turn_and_none_is_sent_after_the_close(outbox, socket):
    socket.fill()
    outbox.deliver("a")
    outbox.deliver_all(("b", "c"))
    socket.empty()
    await all_sent(outbox)
    outbox.deliver_all(("d", "e"))
    assert socket.texts == ["a", "b", "c"]


async def test_several_texts_may_overflow_the_queue(outbox, socket, overflow, configure):
    configure(MAX_QUEUE_BYTES=100)
    socket.fill()
    outbox.deliver("a")
    outbox.deliver_all(("x" * 60, "y" * 60))
    assert overflow.calls == 1


# --- the hold


async def test_nothing_is_sent_before_the_release(held, socket):
    deliver_all(held, ["a", "b"])
    await asyncio.sleep(0)
    assert socket.frames == []


async def test_several_texts_wait_for_the_release_in_order(held, socket):
    held.deliver("a")
    held.deliver_all(("b", "c"))
    assert socket.frames == []
    held.release("first")
    assert socket.texts == ["first", "a", "b", "c"]


async def test_release_sends_its_own_frame_before_those_that_waited(held, socket):
    deliver_all(held, ["a", "b", "c"])
    held.release("first")
    held.deliver("d")
    assert socket.texts == ["first", "a", "b", "c", "d"]


async def test_second_release_does_nothing(outbox, socket):
    outbox.release("again")
    assert socket.frames == []


async def test_release_into_a_full_socket_keeps_the_order(held, socket):
    deliver_all(held, ["a", "b"])
    socket.fill()
    held.release("first")
    held.deliver("c")
    assert socket.frames == []
    socket.empty()
    await all_sent(held)
    assert socket.texts == ["first", "a", "b", "c"]


async def test_close_before_the_release_is_sent_at_once_and_alone(held, socket):
    deliver_all(held, ["a", "b"])
    held.close(4503)
    held.release("first")
    held.deliver("c")
    await all_sent(held)
    assert socket.frames == [{"type": "websocket.close", "code": 4503}]


async def test_frames_before_the_release_are_bounded_too(held, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    deliver_all(held, ["x" * 10, "y"])
    assert overflow.calls == 1
    held.release("first")
    assert socket.texts == ["first", "x" * 10]


# --- a full socket


async def test_deliver_does_not_wait_for_a_full_socket(outbox, socket):
    socket.fill()
    deliver_all(outbox, numbers(10))
    assert socket.frames == []
    socket.empty()
    await all_sent(outbox)
    assert socket.texts == numbers(10)


async def test_order_is_kept_while_the_socket_fills_and_empties(outbox, socket):
    sent = []
    for turn in range(20):
        for change in (socket.fill, socket.empty):
            change()
            for step in range(3):
                sent.append(f"{turn}-{change.__name__}-{step}")
                outbox.deliver(sent[-1])
            for _ in range(turn % 5):
                await asyncio.sleep(0)
    await all_sent(outbox)
    assert socket.texts == sent


async def test_with_an_empty_queue_frames_are_sent_directly_again(outbox, socket):
    socket.fill()
    deliver_all(outbox, ["a", "b"])
    before = asyncio.all_tasks()
    socket.empty()
    (writer,) = before - {asyncio.current_task()}
    await writer
    outbox.deliver("c")
    assert socket.texts == ["a", "b", "c"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_task_writes_all_that_waits(outbox, socket):
    before = asyncio.all_tasks()
    socket.fill()
    deliver_all(outbox, numbers(50))
    assert len(asyncio.all_tasks() - before) == 1
    socket.empty()
    await all_sent(outbox)


async def test_send_that_yields_its_turn_is_resumed(overflow):
    frames = []

    async def send(frame):
        await asyncio.sleep(0)
        frames.append(frame["text"])

    outbox = Outbox(send, overflow)
    outbox.release("first")
    deliver_all(outbox, numbers(5))
    await all_sent(outbox)
    assert frames == ["first", *numbers(5)]


async def test_send_that_waits_in_several_places_is_resumed_in_each(overflow):
    frames, gates = [], [asyncio.Event(), asyncio.Event()]

    async def send(frame):
        for gate in gates:
            await gate.wait()
        frames.append(frame["text"])

    outbox = Outbox(send, overflow)
    outbox.release("first")
    for gate in gates:
        await asyncio.sleep(0)
        assert frames == []
        gate.set()
    await all_sent(outbox)
    assert frames == ["first"]


# --- the bound


async def test_frames_over_the_bound_overflow(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    outbox.deliver("in the socket's hands, so not counted")
    deliver_all(outbox, ["12345", "67890"])
    assert overflow.calls == 0
    outbox.deliver("x")
    assert overflow.calls == 1
    socket.empty()
    await all_sent(outbox)
    assert socket.texts[1:] == ["12345", "67890"]


async def test_bound_counts_bytes(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    deliver_all(outbox, ["a", "€€€"])
    assert overflow.calls == 0
    outbox.deliver("é")
    assert overflow.calls == 1


async def test_sent_frames_do_not_count_for_the_bound(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    deliver_all(outbox, ["a", "12345"])
    socket.empty()
    (writer,) = asyncio.all_tasks() - {asyncio.current_task()}
    await writer
    socket.fill()
    deliver_all(outbox, ["b", "1234567890"])
    assert overflow.calls == 0


async def test_frame_over_the_bound_passes_through_a_free_socket(
    outbox, socket, overflow, settings
):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    outbox.deliver("x" * 1000)
    assert socket.texts == ["x" * 1000]
    assert overflow.calls == 0


async def test_overflow_may_discard_and_close(socket, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}

    def give_up():
        outbox.discard()
        outbox.close(4002)

    outbox = Outbox(socket.send, give_up)
    socket.fill()
    outbox.release("begun")
    deliver_all(outbox, ["1234567890", "too much", "and more"])
    socket.empty()
    await all_sent(outbox)
    assert socket.texts == ["begun"]
    assert socket.frames[-1] == {"type": "websocket.close", "code": 4002}
