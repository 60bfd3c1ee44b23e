"""A connection's way out: order, the hold, a full socket, the bound and the close."""

import asyncio

import pytest

from pm_realtime.connection.outbox import Outbox

CLOSE = {"type": "websocket.close", "code": 4503}


class Socket:
    """An ASGI ``send`` that takes frames at once, blocks while ``is_full``, or fails."""

    def __init__(self):
        self.frames = []
        self.error = None
        self._free = asyncio.Event()
        self._free.set()

    async def send(self, frame):
        if self.error:
            raise self.error
        await self._wait()
        if self.error:
            raise self.error
        self.frames.append(frame)

    async def _wait(self):
        if not self._free.is_set():
            await self._free.wait()

    def fill(self):
        """The client reads no more: sends wait."""
        self._free.clear()

    def empty(self):
        """The client reads again."""
        self._free.set()

    @property
    def texts(self):
        return [frame["text"] for frame in self.frames if "text" in frame]


class Overflow:
    """Counts how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1


@pytest.fixture
async def socket():
    return Socket()


@pytest.fixture
def overflow():
    return Overflow()


@pytest.fixture
def held(socket, overflow):
    return Outbox(socket.send, overflow)


@pytest.fixture
async def outbox(held, socket):
    """An outbox whose first frame is out."""
    held.release("first")
    assert socket.texts == ["first"]
    socket.frames.clear()
    return held


async def settle(outbox):
    """Let all go out that can."""
    await outbox.drain(5)


def deliver_all(outbox, texts):
    for text in texts:
        outbox.deliver(text)


def numbers(count):
    return [str(number) for number in range(count)]


# --- the straight way


async def test_while_the_socket_is_free_a_frame_is_out_before_deliver_returns(outbox, socket):
    outbox.deliver("hello")
    assert socket.frames == [{"type": "websocket.send", "text": "hello"}]


async def test_while_the_socket_is_free_no_task_is_made(outbox, socket):
    before = asyncio.all_tasks()
    deliver_all(outbox, numbers(100))
    outbox.close(4503)
    assert asyncio.all_tasks() == before
    assert socket.texts == numbers(100)


async def test_several_texts_go_out_in_their_order(outbox, socket):
    outbox.deliver("a")
    outbox.deliver_all(("b", "c"))
    outbox.deliver("d")
    assert socket.texts == ["a", "b", "c", "d"]


async def test_several_texts_wait_in_their_turn_and_none_leaves_after_the_close(outbox, socket):
    socket.fill()
    outbox.deliver("a")
    outbox.deliver_all(("b", "c"))
    socket.empty()
    await settle(outbox)
    outbox.deliver_all(("d", "e"))
    assert socket.texts == ["a", "b", "c"]


async def test_of_several_texts_those_that_are_too_much_for_the_queue_overflow_it(
    outbox, socket, overflow, configure
):
    configure(MAX_QUEUE_BYTES=100)
    socket.fill()
    outbox.deliver("a")
    outbox.deliver_all(("x" * 60, "y" * 60))
    assert overflow.calls == 1


# --- the hold


async def test_nothing_goes_out_before_the_release(held, socket):
    deliver_all(held, ["a", "b"])
    await asyncio.sleep(0)
    assert socket.frames == []


async def test_several_texts_are_held_in_their_order(held, socket):
    held.deliver("a")
    held.deliver_all(("b", "c"))
    assert socket.frames == []
    held.release("first")
    assert socket.texts == ["first", "a", "b", "c"]


async def test_the_release_sends_its_own_frame_first_then_what_was_held_in_order(held, socket):
    deliver_all(held, ["a", "b", "c"])
    held.release("first")
    held.deliver("d")
    assert socket.texts == ["first", "a", "b", "c", "d"]


async def test_a_second_release_does_nothing(outbox, socket):
    outbox.release("again")
    assert socket.frames == []


async def test_a_release_into_a_full_socket_keeps_the_order(held, socket):
    deliver_all(held, ["a", "b"])
    socket.fill()
    held.release("first")
    held.deliver("c")
    assert socket.frames == []
    socket.empty()
    await settle(held)
    assert socket.texts == ["first", "a", "b", "c"]


async def test_a_close_during_the_hold_goes_out_at_once_and_alone(held, socket):
    deliver_all(held, ["a", "b"])
    held.close(4503)
    held.release("first")
    held.deliver("c")
    await settle(held)
    assert socket.frames == [CLOSE]


async def test_what_is_held_is_bounded_too(held, socket, overflow, settings):
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
    await settle(outbox)
    assert socket.texts == numbers(10)


async def test_order_holds_when_the_socket_fills_and_empties_again_and_again(outbox, socket):
    sent = []
    for turn in range(20):
        for change in (socket.fill, socket.empty):
            change()
            for step in range(3):
                sent.append(f"{turn}-{change.__name__}-{step}")
                outbox.deliver(sent[-1])
            for _ in range(turn % 5):
                await asyncio.sleep(0)
    await settle(outbox)
    assert socket.texts == sent


async def test_once_the_queue_is_empty_frames_go_straight_out_again(outbox, socket):
    socket.fill()
    deliver_all(outbox, ["a", "b"])
    before = asyncio.all_tasks()
    socket.empty()
    (writer,) = before - {asyncio.current_task()}
    await writer
    outbox.deliver("c")
    assert socket.texts == ["a", "b", "c"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_task_writes_however_much_waits(outbox, socket):
    before = asyncio.all_tasks()
    socket.fill()
    deliver_all(outbox, numbers(50))
    assert len(asyncio.all_tasks() - before) == 1
    socket.empty()
    await settle(outbox)


async def test_a_send_that_only_yields_its_turn_is_resumed(overflow):
    frames = []

    async def send(frame):
        await asyncio.sleep(0)
        frames.append(frame["text"])

    outbox = Outbox(send, overflow)
    outbox.release("first")
    deliver_all(outbox, numbers(5))
    await settle(outbox)
    assert frames == ["first", *numbers(5)]


async def test_a_send_that_waits_in_several_places_is_resumed_in_each(overflow):
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
    await settle(outbox)
    assert frames == ["first"]


# --- the bound


async def test_up_to_the_bound_frames_wait_and_over_it_overflow_is_told(
    outbox, socket, overflow, settings
):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    outbox.deliver("in the socket's hands, so not counted")
    deliver_all(outbox, ["12345", "67890"])
    assert overflow.calls == 0
    outbox.deliver("x")
    assert overflow.calls == 1
    socket.empty()
    await settle(outbox)
    assert socket.texts[1:] == ["12345", "67890"]


async def test_the_bound_counts_bytes_and_not_characters(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    deliver_all(outbox, ["a", "€€€"])
    assert overflow.calls == 0
    outbox.deliver("é")
    assert overflow.calls == 1


async def test_what_has_gone_out_counts_no_more(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    deliver_all(outbox, ["a", "12345"])
    socket.empty()
    (writer,) = asyncio.all_tasks() - {asyncio.current_task()}
    await writer
    socket.fill()
    deliver_all(outbox, ["b", "1234567890"])
    assert overflow.calls == 0


async def test_a_frame_larger_than_the_bound_passes_through_a_free_socket(
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
    await settle(outbox)
    assert socket.texts == ["begun"]
    assert socket.frames[-1] == {"type": "websocket.close", "code": 4002}


# --- the close


async def test_a_close_goes_out_at_once_where_nothing_waits(outbox, socket):
    outbox.close(4503)
    assert outbox.is_closed
    assert socket.frames == [CLOSE]


async def test_a_close_goes_out_after_all_that_waits(outbox, socket):
    socket.fill()
    deliver_all(outbox, ["a", "b"])
    outbox.close(4503)
    socket.empty()
    await settle(outbox)
    assert socket.texts == ["a", "b"]
    assert socket.frames[-1] == CLOSE


async def test_nothing_goes_out_after_the_close(outbox, socket):
    outbox.close(4503)
    outbox.deliver("late")
    outbox.close(4001)
    await settle(outbox)
    assert socket.frames == [CLOSE]


async def test_a_close_fits_where_the_queue_is_full(outbox, socket, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 1}
    socket.fill()
    deliver_all(outbox, ["a", "b"])
    outbox.close(4503)
    socket.empty()
    await settle(outbox)
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
async def test_a_reason_is_cut_at_123_bytes_between_characters(outbox, socket, reason, written):
    outbox.close(4503, reason)
    assert socket.frames == [{**CLOSE, "reason": written}]
    assert len(written.encode()) <= 123


async def test_an_empty_reason_is_left_out(outbox, socket):
    outbox.close(4503, "")
    assert "reason" not in socket.frames[0]


# --- discarding and draining


async def test_discard_forgets_what_waits_and_frees_its_place(outbox, socket, overflow, settings):
    settings.PM_REALTIME = {"MAX_QUEUE_BYTES": 10}
    socket.fill()
    deliver_all(outbox, ["begun", "1234567890"])
    outbox.discard()
    outbox.deliver("0987654321")
    assert overflow.calls == 0
    socket.empty()
    await settle(outbox)
    assert socket.texts == ["begun", "0987654321"]


async def test_discard_during_the_hold_forgets_what_is_held(held, socket):
    held.deliver("a")
    held.discard()
    held.release("first")
    assert socket.texts == ["first"]


async def test_drain_waits_until_all_is_out(outbox, socket):
    socket.fill()
    deliver_all(outbox, numbers(5))
    asyncio.get_running_loop().call_later(0.01, socket.empty)
    await outbox.drain(10)
    assert socket.texts == numbers(5)


async def test_drain_waits_no_longer_than_it_is_told_and_drops_the_rest(outbox, socket):
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


async def test_drain_with_nothing_waiting_returns_at_once_and_closes(outbox, socket):
    await outbox.drain(10)
    outbox.deliver("late")
    assert outbox.is_closed
    assert socket.frames == []


# --- a socket that is gone


async def test_a_send_that_raises_ends_the_outbox_quietly(outbox, socket):
    socket.error = OSError("gone")
    deliver_all(outbox, ["a", "b"])
    assert outbox.is_closed
    socket.error = None
    outbox.deliver("c")
    outbox.close(4503)
    assert socket.frames == []


async def test_a_send_that_raises_after_waiting_drops_what_waits(outbox, socket):
    socket.fill()
    deliver_all(outbox, ["a", "b", "c"])
    socket.error = OSError("gone")
    socket.empty()
    await settle(outbox)
    assert outbox.is_closed
    assert socket.frames == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_later_send_that_raises_keeps_what_went_out_before(overflow):
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
    await settle(outbox)
    assert frames == ["first"]
    assert outbox.is_closed


async def test_a_release_into_a_socket_that_is_gone_sends_nothing_more(held, socket):
    deliver_all(held, ["a", "b"])
    socket.error = OSError("gone")
    held.release("first")
    assert held.is_closed
    assert socket.frames == []
