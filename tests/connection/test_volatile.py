"""Volatile messages to a slow reader: the latest of each sender waits, and only that."""

import asyncio

import pytest

from pm_realtime.connection.batching import BatchOutbox
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.volatile import MAX_UNSENT_BYTES, VolatileMessages
from pm_realtime.hub import Sender
from tests.connection.fakes import Overflow
from tests.support.helpers import eventually


def sender(name, group="g"):
    return Sender(group, name)


class Server:
    """The socket of a server that keeps bytes for its reader."""

    waiting_bytes = 0


@pytest.fixture(params=[Outbox, BatchOutbox])
async def outbox(request, socket):
    outbox = request.param(socket.send, Overflow())
    outbox.release("first")
    outbox.flush()
    socket.frames.clear()
    yield outbox
    socket.empty()
    outbox.close(4503)
    await outbox.drain(1)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def volatile(outbox, server):
    return VolatileMessages(outbox, outbox, server)


@pytest.fixture
def sent(outbox, socket):
    """The texts that the socket has taken, those of one frame together."""

    def sent():
        outbox.flush()
        return ",".join(text.strip("[]") for text in socket.texts).split(",")

    return sent


def put(volatile, *texts, name="ann", group="g"):
    for text in texts:
        volatile.deliver((text,), (sender(name, group),))


async def test_reader_with_room_gets_all_of_them_at_once(volatile, sent, server):
    before = asyncio.all_tasks()
    server.waiting_bytes = MAX_UNSENT_BYTES
    put(volatile, "1", "2", "3")
    assert sent() == ["1", "2", "3"]
    assert asyncio.all_tasks() == before
    assert volatile._timer is None


async def test_latest_of_each_sender_waits_for_a_full_socket(volatile, outbox, socket, sent):
    socket.fill()
    outbox.deliver("ordinary")
    outbox.flush()
    put(volatile, "a1", "a2")
    put(volatile, "b1", name="bob")
    put(volatile, "a3")
    put(volatile, "other", group="h")
    socket.empty()
    await eventually(lambda: "other" in sent())
    assert sent() == ["ordinary", "b1", "a3", "other"]


async def test_latest_waits_while_the_server_keeps_bytes(volatile, server, sent):
    """daphne takes everything at once."""
    server.waiting_bytes = MAX_UNSENT_BYTES + 1
    put(volatile, *map(str, range(1000)))
    await asyncio.sleep(0.02)
    assert sent() == [""]
    server.waiting_bytes = 0
    put(volatile, "latest")  # Not before those that wait.
    assert sent() == [""]
    await eventually(lambda: sent() != [""])
    assert sent() == ["latest"]
    put(volatile, "next")
    assert sent() == ["latest", "next"]


async def test_several_texts_take_each_others_place(volatile, server, sent):
    server.waiting_bytes = MAX_UNSENT_BYTES + 1
    ann, bob = sender("ann"), sender("bob")
    volatile.deliver(("a1", "b1", "a2"), (ann, bob, ann))
    server.waiting_bytes = 0
    await eventually(lambda: sent() != [""])
    assert sent() == ["b1", "a2"]


async def test_nothing_of_a_room_comes_after_it_was_left(volatile, server, sent):
    server.waiting_bytes = MAX_UNSENT_BYTES + 1
    put(volatile, "left")
    put(volatile, "stays", group="h")
    volatile.forget("g")
    server.waiting_bytes = 0
    await eventually(lambda: sent() != [""])
    assert sent() == ["stays"]


async def test_waiting_messages_are_bounded_and_the_earliest_go(volatile, server, sent, configure):
    configure(MAX_QUEUE_BYTES=1000)
    server.waiting_bytes = MAX_UNSENT_BYTES + 1
    for number in range(100):
        put(volatile, str(number) + "x" * 98, name=str(number))
    assert volatile._length <= 1000
    server.waiting_bytes = 0
    await eventually(lambda: sent() != [""])
    assert [text.strip("x") for text in sent()] == [str(number) for number in range(90, 100)]


async def test_nothing_is_sent_and_no_timer_runs_after_the_close(volatile, outbox, server, sent):
    server.waiting_bytes = MAX_UNSENT_BYTES + 1
    put(volatile, "1")
    outbox.close(4503)
    server.waiting_bytes = 0
    await eventually(lambda: volatile._timer is None)
    assert "1" not in sent()
