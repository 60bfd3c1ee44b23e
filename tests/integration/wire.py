"""The wire between a browser and a server, which can be cut."""

import asyncio
import contextlib

from tests.integration.server import free_port

CHUNK = 65536


class Wire:
    """``async with Wire(server.port) as wire``: what comes to ``wire.port`` goes on to the server.

    Once it was cut, whatever was connected hears nothing any more, not even of an end; after
    :meth:`mend` only new connections get through. So it is for a laptop whose network has gone.
    """

    def __init__(self, server_port):
        self.port = free_port()
        self._server_port = server_port
        self._is_whole = True
        self._writers = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self):
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error):
        self._listener.close()
        for writer in self._writers:
            writer.transport.abort()

    def cut(self):
        self._is_whole = False
        for writer in self._writers:
            # Neither read nor closed: to whom it belongs it looks as before.
            writer.transport.pause_reading()

    def snap(self):
        """What is connected ends at once on both sides, as when a proxy restarts."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    def mend(self):
        self._is_whole = True

    async def _accept(self, reader, writer):
        self._writers.append(writer)
        if not self._is_whole:
            writer.transport.pause_reading()
            return
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers.append(there)
        await asyncio.gather(self._pass_on(reader, there), self._pass_on(there_reader, writer))

    async def _pass_on(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                writer.write(data)
            writer.close()
