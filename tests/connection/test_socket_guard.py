"""The limits of one socket, with a server whose protocol a test makes."""

from queue import Queue
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from pm_realtime.connection.frames import limit_messages, refuse_compression, watch_frames
from pm_realtime.connection.socket_guard import STALL_SECONDS, SocketGuard
from pm_realtime.connection.sockets import Socket
from pm_realtime.connection.timings import ConnectionTimings
from tests.support.helpers import eventually

PING, TEXT, CONTINUATION = 9, 1, 0


class FakeSocket(Socket):
    """It remembers what is asked of it."""

    def __init__(self, protocol=None):
        self.protocol = protocol
        self.waiting_bytes = 0
        self.is_closing = False
        self.aborts = []

    def abort(self):
        self.aborts.append(0)

    def abort_after(self, seconds):
        self.aborts.append(seconds)


class Parser:
    """The part of websockets' sans-I/O connection that is used: each byte is a frame."""

    FRAMES = {
        b"p": (PING, True, b""),
        b"t": (TEXT, True, b"{}"),
        b"c": (CONTINUATION, False, b""),
        b"C": (CONTINUATION, False, b"x" * 128),
    }

    def __init__(self):
        self.events = []
        self.max_message_size = 2**24
        self.extensions = ["deflate"]

    def receive_data(self, data):
        for byte in data:
            opcode, fin, payload = self.FRAMES[bytes([byte])]
            self.events.append(SimpleNamespace(opcode=opcode, fin=fin, data=payload))

    def events_received(self):
        events, self.events = self.events, []
        return events


class Protocol:
    def __init__(self):
        self.conn = Parser()
        self.response = SimpleNamespace(headers={"Sec-WebSocket-Extensions": "deflate"})

    def receive(self, data):
        """The number of events of ``data``."""
        self.conn.receive_data(data)
        return len(self.conn.events_received())


class Guarded:
    def __init__(self):
        self.protocol, self.floods = Protocol(), 0
        self.socket = FakeSocket(self.protocol)
        self.guard = SocketGuard(self.socket, ConnectionTimings(linger_seconds=5), self.flood)
        self.guard.begin()

    def flood(self):
        self.floods += 1


@pytest.fixture
async def guarded():
    return Guarded()


async def test_two_hundred_control_frames_pass_in_a_window(guarded):
    assert guarded.protocol.receive(b"pc" * 100) == 200
    assert guarded.floods == 0
    guarded.protocol.receive(b"p")
    assert guarded.floods == 1


async def test_messages_and_large_fragments_do_not_count(guarded):
    for _ in range(20):
        assert guarded.protocol.receive(b"Ct" * 500) == 1000
    assert guarded.floods == 0


async def test_little_of_a_flood_is_parsed(guarded):
    assert guarded.protocol.receive(b"p" * 8192) <= 1024
    assert guarded.protocol.receive(b"p" * 8192) == 0
    assert guarded.floods == 1


async def test_all_frames_count_once_the_end_has_begun(guarded):
    guarded.guard.begin_end()
    guarded.protocol.receive(b"t" * 200)
    assert guarded.socket.aborts == []
    guarded.protocol.receive(b"t")
    assert guarded.socket.aborts == [0]
    assert guarded.floods == 0


async def test_socket_is_dropped_some_time_after_the_end_once(guarded):
    guarded.guard.end()
    guarded.guard.end()
    guarded.guard.check()
    assert guarded.socket.aborts == [5]


async def test_socket_that_the_server_closes_without_a_word_is_dropped(guarded):
    guarded.guard.check()
    assert guarded.socket.aborts == []
    guarded.socket.is_closing = True
    guarded.guard.check()
    assert guarded.socket.aborts == [5]


async def test_client_that_reads_nothing_of_too_much_is_stuck(guarded, configure):
    configure(MAX_QUEUE_BYTES=1_000_000)
    guarded.socket.waiting_bytes = 1_000_000
    assert not guarded.guard.is_stuck()
    for waiting in (3_000_000, 2_900_000, 2_800_000):
        guarded.socket.waiting_bytes = waiting
        assert not guarded.guard.is_stuck()
    guarded.guard._moved_at -= STALL_SECONDS
    assert guarded.guard.is_stuck()
    guarded.socket.waiting_bytes = 2_700_000
    assert not guarded.guard.is_stuck()
    guarded.socket.waiting_bytes = 0
    guarded.guard._moved_at -= STALL_SECONDS
    assert not guarded.guard.is_stuck()


async def test_limits_are_set_on_the_connection(guarded, configure):
    assert guarded.protocol.conn.max_message_size == 131072
    assert guarded.protocol.conn.extensions == []
    assert guarded.protocol.response.headers == {}
    configure(MAX_MESSAGE_BYTES=2**30, COMPRESSION=True)
    other = Guarded()
    assert other.protocol.conn.max_message_size == 2**24
    assert other.protocol.conn.extensions == ["deflate"]


async def test_other_servers_are_left_alone():
    for protocol in (None, object(), SimpleNamespace(conn=object())):
        watch_frames(protocol, lambda frames, uncounted: True)
        limit_messages(protocol, 1)
        refuse_compression(protocol)


class Autobahn:
    """The part of daphne's protocol that is used: each frame is a message for the application."""

    STATE_CLOSED = state = 0

    def __init__(self):
        self.state = 1
        self.application_queue = Queue()
        self.transport = Mock()
        self.current_frame = SimpleNamespace(opcode=TEXT, fin=True, length=2)

    def onFrameEnd(self):
        self.application_queue.put("{}")

    def calls(self):
        return [name for name, *_ in self.transport.method_calls]


async def test_daphne_waits_for_an_application_that_has_not_taken_its_messages():
    protocol, notes = Autobahn(), []
    watch_frames(protocol, lambda *counts: notes.append(counts) or False)
    for _ in range(500):
        protocol.onFrameEnd()
    assert protocol.calls() == ["pauseProducing"]
    assert set(notes) == {(1, False)}
    while not protocol.application_queue.empty():
        protocol.application_queue.get()
    await eventually(lambda: protocol.calls() == ["pauseProducing", "resumeProducing"])
    for _ in range(500):
        protocol.onFrameEnd()
    assert protocol.calls().count("pauseProducing") == 2
