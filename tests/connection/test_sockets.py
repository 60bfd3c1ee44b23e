"""The socket behind an ASGI ``send``: how little is read of it, and how it is cut off."""

import asyncio
import socket

import pytest

from pm_realtime.connection import sockets
from pm_realtime.connection.sockets import abort, limit_read_buffer


class Server(asyncio.Protocol):
    """As much of an ASGI server's protocol as is looked at."""

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


@pytest.fixture
async def pair():
    """A server's protocol, and the socket of its client."""
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
    limit_read_buffer(server.send)
    assert server.transport.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF
    ) in (sockets.UNREAD, 2 * sockets.UNREAD)
    writer.write(b"x" * 1_000_000)
    while sum(server.received) < 1_000_000:
        await asyncio.sleep(0.001)
    assert max(server.received) <= sockets.UNREAD


async def test_who_is_cut_off_is_read_no_more_and_gone_soon(pair, monkeypatch):
    monkeypatch.setattr(sockets, "GRACE", 0.2)
    server, reader, writer = pair
    server.transport.write(b"the close frame")
    abort(server.send)
    writer.write(b"x" * 100_000)
    assert await reader.readexactly(15) == b"the close frame"
    async with asyncio.timeout(10):
        await server.ended
    assert server.received == []


async def test_who_has_gone_already_can_be_cut_off_too(pair):
    server, _, _ = pair
    server.transport.close()
    abort(server.send)
    limit_read_buffer(server.send)


async def test_a_server_that_shows_nothing_is_left_alone():
    async def send(event):
        raise AssertionError("sent")

    class Other:
        transport = object()

        async def send(self, event):
            raise AssertionError("sent")

    for each in (send, Other().send, print):
        limit_read_buffer(each)
        abort(each)
