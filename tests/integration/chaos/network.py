"""A load balancer in front of several servers, whose wires a test can cut, stall and slow down.

Each wire belongs to a client, which the query of its handshake names: ``?client=<name>``.
"""

import asyncio
import itertools
import re
import socket
from collections.abc import Iterable

from tests.integration.server import free_port

#: So small that data for a slow client waits in the server.
BUFFER_BYTES = 65536
CLIENT_NAME = re.compile(rb"[?&]client=([\w.-]+)")


class End(asyncio.Protocol):
    """One end of a wire. ``holds`` are the reasons for which nothing is read from it."""

    def __init__(self, wire):
        self.wire = wire
        self.transport = None
        self.peer = None
        self.holds = set()
        self.bytes_per_second = None

    def connection_made(self, transport):
        self.transport = transport
        if self.holds:
            transport.pause_reading()

    def data_received(self, data):
        if self.peer is None:
            self.wire.begin(data)
            return
        self.peer.transport.write(data)
        if self.bytes_per_second:
            self.hold("rate")
            seconds = len(data) / self.bytes_per_second
            asyncio.get_running_loop().call_later(seconds, self.release, "rate")

    def pause_writing(self):
        if self.peer:
            self.peer.hold("full")

    def resume_writing(self):
        if self.peer:
            self.peer.release("full")

    def connection_lost(self, error):
        # An end that is held does not see that the other one is gone.
        if self.peer and "cut" not in self.peer.holds:
            self.peer.transport.close()
        self.wire.ended(self)

    def hold(self, reason):
        if not self.holds and self.transport:
            self.transport.pause_reading()
        self.holds.add(reason)

    def release(self, reason):
        self.holds.discard(reason)
        if not self.holds and self.transport and not self.transport.is_closing():
            self.transport.resume_reading()


class Wire:
    """From a client to the server that the network chose."""

    def __init__(self, network):
        self._network = network
        self.client = self.port = None
        self.near, self.far = End(self), End(self)
        self._task = None

    def begin(self, data):
        """The first bytes are the handshake."""
        found = CLIENT_NAME.search(data)
        self.client = found[1].decode() if found else ""
        self.near.hold("connecting")
        self._task = asyncio.create_task(self._connect(data))

    async def _connect(self, data):
        await self._network.until_up(self.client)
        self.far.bytes_per_second = self._network.rates.get(self.client)
        for port in self._network.next_ports():
            self.port = port
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(sock, ("127.0.0.1", port))
                await loop.create_connection(lambda: self.far, sock=sock)
            except OSError:
                sock.close()
                continue
            self.near.peer, self.far.peer = self.far, self.near
            self.far.transport.write(data)
            self.near.release("connecting")
            return
        self.abort()

    def ended(self, end):
        if self._task and end is self.near and not self._task.done():
            self._task.cancel()
        transports = [each.transport for each in (self.near, self.far) if each.transport]
        if all(each.is_closing() for each in transports):
            self._network.wires.discard(self)

    def hold(self, reason):
        self.near.hold(reason)
        self.far.hold(reason)

    def release(self, reason):
        self.near.release(reason)
        self.far.release(reason)

    def abort(self):
        for end in (self.near, self.far):
            if end.transport:
                end.transport.abort()


class Network:
    """``async with Network(ports) as network``: new connections reach the servers in turn."""

    def __init__(self, ports):
        self.port = free_port()
        #: The servers that get new connections.
        self.ports = list(ports)
        self.wires = set()
        #: Bytes a second to these clients.
        self.rates = {}
        self._turn = itertools.count()
        self._down = {}

    @property
    def ws_url(self):
        return f"ws://127.0.0.1:{self.port}/api/ws"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for wire in list(self.wires):
            wire.abort()

    def cut(self, clients: Iterable[str]):
        """Nothing gets through, old wire or new one, and nobody is told."""
        for client in clients:
            self._down[client] = asyncio.Event()
            for wire in self.of(client):
                wire.hold("cut")

    def heal(self, clients: Iterable[str]):
        """Data that waited at both ends of a wire arrives."""
        for client in clients:
            self._down.pop(client).set()
            for wire in self.of(client):
                wire.release("cut")

    def half_open(self, clients: Iterable[str], *, is_client_told: bool):
        """The present wires carry nothing any more, which no server finds out. Clients find it out
        by themselves, unless they are told. New wires are not affected."""
        for client in clients:
            for wire in self.of(client):
                wire.hold("cut")
                if is_client_told:
                    wire.near.transport.abort()
                wire.client = None

    def stall(self, clients: Iterable[str]):
        """These clients read nothing, and may send."""
        for client in clients:
            for wire in self.of(client):
                wire.far.hold("stall")

    def go_on(self, clients: Iterable[str]):
        for client in clients:
            for wire in self.of(client):
                wire.far.release("stall")

    def abort(self, clients: Iterable[str]):
        for client in clients:
            for wire in self.of(client):
                wire.abort()

    def of(self, client):
        return [wire for wire in self.wires if wire.client == client]

    def port_of(self, client):
        """The port of the server of ``client``; None if it has no wire."""
        return next((wire.port for wire in self.of(client)), None)

    def next_ports(self):
        """All servers, each time with another one first."""
        first = next(self._turn) % len(self.ports)
        return self.ports[first:] + self.ports[:first]

    async def until_up(self, client):
        while client in self._down:
            await self._down[client].wait()

    def _accept(self):
        wire = Wire(self)
        self.wires.add(wire)
        return wire.near
