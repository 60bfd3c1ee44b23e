"""Many connections in one process, with commands on its standard input.

The arguments are a URL and the extension to offer (may be empty). The first line of input is a JSON
list of ``Cookie`` headers, which connections use in turn. The commands are ``open N``, ``subscribe
ROOM``, ``ping``, ``expect N`` (each visitor has received N pushes since the last ``expect``) and
``close``. Each is answered with ``done``.
"""

import asyncio
import json
import sys
import zlib
from itertools import cycle
from urllib.parse import urlsplit

from tests.integration.crowd import (
    PING,
    PONG,
    TEXT,
    Subscriber,
    client_frame,
    handshake,
    subscribe_frame,
)

#: Connections that open, subscribe or ping at the same time.
CONCURRENT_COMMANDS = 25
PING_FRAME = client_frame(b'{"type":"ping","timestamp":0}')


class Visitor(Subscriber):
    """A connection that sends a command, waits for the reply, and counts all other messages."""

    def __init__(self, url: str, cookie: str, extension: str) -> None:
        super().__init__(url, "", 0)
        self.cookie, self.extension = cookie, extension
        self.inflate = zlib.decompressobj(wbits=-15) if extension else None
        self.answer = self.joined
        self.awaited = b'"type":"connected"'
        self.expected = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        head = handshake(self.url, self.cookie)
        if self.extension:
            head = head[:-2] + f"Sec-WebSocket-Extensions: {self.extension}\r\n\r\n".encode()
        transport.write(head)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data
        if not self.is_open and b"\r\n\r\n" in buffer:
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            is_compressed = b"permessage-deflate" in head
            assert is_compressed == bool(self.extension), head
            self.is_open = True
        self.buffer = self.read_frames(buffer) if self.is_open else buffer

    def frame(self, opcode: int, data: bytes) -> None:
        if opcode == TEXT:
            if self.inflate is not None:
                data = self.inflate.decompress(data + b"\x00\x00\xff\xff")
            if self.awaited in data:
                self.answer.set_result(None)
            else:
                self.next += 1
                self.check()
        elif opcode == PING:
            self.transport.write(client_frame(data, PONG))
        else:
            super().frame(opcode, data)

    async def ask(self, frame: bytes, reply: bytes) -> None:
        self.answer = self.joined = asyncio.get_running_loop().create_future()
        self.awaited = b'"type":"%s"' % reply
        self.transport.write(frame)
        await self.answer

    async def expect(self, count: int) -> None:
        self.finished = asyncio.get_running_loop().create_future()
        self.expected = count
        self.check()
        await self.finished

    def check(self) -> None:
        if self.next == self.expected and not self.finished.done():
            self.next, self.expected = 0, -1
            self.finished.set_result(None)


async def main(url: str, extension: str, cookies: list[str]) -> None:
    loop = asyncio.get_running_loop()
    parts, visitors, cookie = urlsplit(url), [], cycle(cookies or [""])
    slots = asyncio.Semaphore(CONCURRENT_COMMANDS)

    async def enter() -> None:
        async with slots:
            _, visitor = await loop.create_connection(
                lambda: Visitor(url, next(cookie), extension), parts.hostname, parts.port
            )
            visitors.append(visitor)
            await visitor.joined

    async def ask(visitor: Visitor, frame: bytes, reply: bytes) -> None:
        async with slots:
            await visitor.ask(frame, reply)

    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        match words:
            case ["open", count]:
                await asyncio.gather(*(enter() for _ in range(int(count))))
            case ["subscribe", room]:
                frame = subscribe_frame(room)
                await asyncio.gather(*(ask(each, frame, b"subscribed") for each in visitors))
            case ["ping"]:
                await asyncio.gather(*(ask(each, PING_FRAME, b"pong") for each in visitors))
            case ["expect", count]:
                await asyncio.gather(*(each.expect(int(count)) for each in visitors))
            case ["close"]:
                for visitor in visitors:
                    visitor.transport.close()
                visitors.clear()
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.stdin.readline())))
