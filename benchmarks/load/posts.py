"""HTTP requests one after the other through one connection, like those of a publisher."""

import asyncio
from typing import cast


class Poster(asyncio.Protocol):
    """Sends POSTs without waiting for the answers, and counts the answers."""

    def __init__(self) -> None:
        self.buffer = b""
        self.answered = self.refused = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transport of uvloop does not inherit from asyncio.Transport, but has its methods.
        self.transport = cast("asyncio.Transport", transport)

    def post(self, path: str, body: str) -> None:
        assert self.transport is not None
        data = body.encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
        self.transport.write(head.encode() + data)

    def data_received(self, data: bytes) -> None:
        # Only the status line of each answer matters.
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\r\n")
        for line in lines:
            if b"HTTP/1.1 " in line:
                self.answered += 1
                self.refused += line.partition(b"HTTP/1.1 ")[2][:1] != b"2"


async def open_poster(port: int) -> Poster:
    loop = asyncio.get_running_loop()
    _, poster = await loop.create_connection(Poster, "127.0.0.1", port)
    return poster
