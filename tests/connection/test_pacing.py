"""The pace of a connection that catches up: a page when its client has read the last one."""

import asyncio
from types import SimpleNamespace

import pytest

from pm_realtime.connection.batching import make_outbox
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.pacing import is_drained
from pm_realtime.protocol import BATCH_SUBPROTOCOL
from tests.connection.fakes import numbers


class Paced:
    """An outbox over a server that may keep bytes itself."""

    def __init__(self, outbox, unread_seconds=30.0):
        self.outbox = outbox
        self.server = SimpleNamespace(waiting_bytes=0)
        self.unread_seconds = unread_seconds

    def begin(self):
        return asyncio.create_task(is_drained(self.outbox, self.server, self.unread_seconds))


async def ends(waiting):
    return await asyncio.wait_for(waiting, 5)


async def some_turns():
    for _ in range(5):
        await asyncio.sleep(0.002)


async def test_connection_to_which_nothing_waits_is_drained_at_once(outbox):
    paced = Paced(outbox)
    outbox.deliver("a")
    waiting = paced.begin()
    await asyncio.sleep(0)
    assert waiting.done()


async def test_nobody_is_drained_before_the_release(held):
    waiting = Paced(held, unread_seconds=0.001).begin()
    await some_turns()
    assert not waiting.done()
    held.release("connected")
    assert await ends(waiting)


async def test_full_socket_is_drained_once_everything_is_sent(outbox, socket):
    paced = Paced(outbox)
    socket.fill()
    for text in numbers(3):
        outbox.deliver(text)
    waiting = paced.begin()
    await some_turns()
    assert not waiting.done()
    socket.empty()
    assert await ends(waiting)
    assert socket.texts == numbers(3)


async def test_bytes_that_the_server_keeps_are_waited_for(outbox):
    paced = Paced(outbox)
    paced.server.waiting_bytes = 1
    waiting = paced.begin()
    await some_turns()
    assert not waiting.done()
    paced.server.waiting_bytes = 0
    assert await ends(waiting)


async def test_gathered_messages_are_sent_before_the_next_page(socket, configure):
    configure(BATCH_WINDOW=1000)
    outbox = make_outbox(BATCH_SUBPROTOCOL, socket.send, lambda: None)
    outbox.release('"connected"')
    for text in numbers(3):
        outbox.deliver(text)
    assert await ends(Paced(outbox).begin())
    assert socket.texts == ['"connected"', "[0,1,2]"]
    await outbox.drain(1)


@pytest.mark.parametrize("where", ["outbox", "server"])
async def test_client_that_reads_nothing_is_found_in_time(outbox, socket, where):
    paced = Paced(outbox, unread_seconds=0.05)
    if where == "outbox":
        socket.fill()
        outbox.deliver("unread")
    else:
        paced.server.waiting_bytes = 10
    assert not await ends(paced.begin())


async def test_client_that_reads_slowly_is_waited_for(outbox):
    paced = Paced(outbox, unread_seconds=0.25)
    paced.server.waiting_bytes = 20
    waiting = paced.begin()
    while paced.server.waiting_bytes:
        await asyncio.sleep(0.02)
        paced.server.waiting_bytes -= 1
    assert await ends(waiting)


async def test_end_of_the_connection_ends_the_wait(outbox, socket):
    paced = Paced(outbox)
    socket.fill()
    outbox.deliver("unread")
    waiting = paced.begin()
    await some_turns()
    outbox.close(4503)
    assert await ends(waiting)


def test_outbox_names_the_bytes_that_wait(socket, overflow):
    held = Outbox(socket.send, overflow)
    assert (held.is_held, held.waiting_bytes) == (True, 1)
    held.deliver("é")
    assert held.waiting_bytes == 3
