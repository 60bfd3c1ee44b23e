"""A TCP proxy between a browser and a server, to cut the network between them."""

import asyncio
import contextlib

from tests.integration.server import free_port

CHUNK_BYTES = 65536


class Proxy:
    """``async with Proxy(server.port) as proxy``: connections to ``proxy.port`` reach the server.

    After :meth:`cut`, open connections get nothing any more, not even a close. After
    :meth:`restore`, only new connections get through, as on a laptop that changed its network.
    """

    def __init__(self, server_port):
        self.port = free_port()
        self._server_port = server_port
        self._is_cut = False
        self._writers = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def cut(self):
        self._is_cut = True
        for writer in self._writers:
            # Neither read nor closed, so both ends see an open connection.
            writer.transport.pause_reading()

    def restore(self):
        self._is_cut = False

    def abort_connections(self):
        """End all connections on both sides at once, as a proxy does when it restarts."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def _accept(self, reader, writer):
        self._writers.append(writer)
        if self._is_cut:
            writer.transport.pause_reading()
            return
        server_reader, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers.append(server)
        await asyncio.gather(self._copy(reader, server), self._copy(server_reader, writer))

    async def _copy(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
            writer.close()
