"""The socket behind an ASGI ``send``: a small read buffer, and the abort."""

import asyncio
import errno
import socket
from functools import partial, wraps
from types import SimpleNamespace

import pytest

from pm_realtime.connection.sockets import RECEIVE_BUFFER_BYTES, Socket, find_socket
from tests.support.helpers import eventually


class Server(asyncio.Protocol):
    """The parts of an ASGI server's protocol that are used."""

    def __init__(self):
        self.received = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received.append(len(data))

    def connection_lost(self, error):
        self.ended.set_result(error)

    async def send(self, event):
        pass

    async def receive(self):
        pass


@pytest.fixture
async def pair():
    """A server's protocol, and the streams of its client."""
    made = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: made.append(Server()) or made[-1], "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    while not made:
        await asyncio.sleep(0)
    yield made[0], reader, writer
    writer.close()
    server.close()


@pytest.mark.slow
async def test_little_is_read_at_a_time(pair):
    server, _, writer = pair
    find_socket(server.send).limit_read_buffer()
    assert server.transport.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF
    ) in (RECEIVE_BUFFER_BYTES, 2 * RECEIVE_BUFFER_BYTES)
    writer.write(b"x" * 1_000_000)
    while sum(server.received) < 1_000_000:
        await asyncio.sleep(0.001)
    assert max(server.received) <= RECEIVE_BUFFER_BYTES


async def test_aborted_socket_is_read_no_more_and_closed_soon(pair):
    server, reader, writer = pair
    server.transport.write(b"the close frame")
    found = find_socket(server.send)
    found.pause_reading()
    found.abort_after(0.2)
    writer.write(b"x" * 100_000)
    assert await reader.readexactly(15) == b"the close frame"
    async with asyncio.timeout(10):
        await server.ended
    assert server.received == []


async def test_closed_socket_can_be_aborted_too(pair):
    server, _, _ = pair
    server.transport.close()
    found = find_socket(server.send)
    found.pause_reading()
    found.abort()
    find_socket(server.send).limit_read_buffer()


async def test_server_that_does_not_show_its_socket_is_left_alone():
    async def send(event):
        raise AssertionError("sent")

    class Other:
        transport = object()

        async def send(self, event):
            raise AssertionError("sent")

    for each in (send, Other().send, print, partial(print, 1)):
        found = find_socket(each)
        assert type(found) is Socket
        found.limit_read_buffer()
        found.limit_unread(1)
        found.pause_reading()
        found.abort_after(0)
        found.abort()
        assert (found.waiting_bytes, found.is_closing) == (0, False)


async def test_middleware_around_send_does_not_hide_the_socket(pair):
    server, _, _ = pair

    async def send(event):
        await server.send(event)

    async def receive():
        return await server.receive()

    assert find_socket(send, server.receive).protocol is server
    assert find_socket(server.send, receive).protocol is server
    assert find_socket(send, receive).protocol is None
    assert find_socket(wraps(server.send)(send), receive).protocol is server


async def test_bytes_that_a_client_does_not_read_are_counted_and_discarded(pair):
    server, reader, writer = pair
    found = find_socket(server.send)
    assert found.waiting_bytes == 0
    writer.transport.pause_reading()
    server.transport.write(b"x" * 20_000_000)
    assert found.waiting_bytes > 1_000_000
    server.transport.close()
    assert found.is_closing
    found.abort_after(0)
    await eventually(server.ended.done)
    writer.transport.resume_reading()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(20_000_000)


async def test_socket_that_is_gone_is_left_alone(pair):
    """As uvloop shows it: the descriptor is closed already."""
    server, _, _ = pair

    def get_extra_info(name):
        raise OSError(errno.EBADF, "Bad file descriptor")

    transport = SimpleNamespace(
        pause_reading=None, get_extra_info=get_extra_info, max_size=2**18, abort=lambda: None
    )
    server.transport, original = transport, server.transport
    find_socket(server.send).limit_read_buffer()
    find_socket(server.send).abort()
    assert transport.max_size < 2**18
    server.transport = original


async def test_socket_of_daphne_that_is_gone_is_left_alone():
    """As Twisted shows it: the transport has no socket any more."""

    def get_handle():
        raise AttributeError("socket")

    transport = SimpleNamespace(
        dataBuffer=b"",
        offset=0,
        _tempDataLen=0,
        getHandle=get_handle,
        pauseProducing=lambda: None,
        abortConnection=lambda: None,
    )

    class Protocol:
        STATE_CLOSED = state = 0

    protocol = Protocol()
    protocol.transport = transport
    found = find_socket(partial(print, protocol))
    found.limit_read_buffer()
    found.limit_unread(1)
    found.pause_reading()
    found.abort()
    assert (found.waiting_bytes, found.is_closing) == (0, True)
