"""A flood of handshakes, and of connections that send as fast as they can.

Run as a process. It prints ``all in`` when all handshakes were accepted, goes on until its input
ends, then prints its counts as JSON and ends. Refused visitors and closed abusers come back at
once.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from functools import partial
from urllib.parse import urlsplit

from tests.integration.crowd import TEXT, client_frame, fragment, handshake

HANDSHAKES_AT_ONCE = 250
#: The size of one write of an abuser.
BLOCK_BYTES = 65536
RETRY_SECONDS = 0.1
POLL_SECONDS = 0.1
PING = json.dumps({"type": "ping", "timestamp": 0}).encode()
MESSAGE = json.dumps(
    {"type": "message", "timestamp": 0, "payload": {"room": "open", "content": "x" * 200}}
).encode()
FRAMES = [
    *(client_frame(data) for data in (PING, MESSAGE, b"[" * 500, b"{}")),
    client_frame(b"x" * 125, opcode=9),
    client_frame(b"", opcode=10),
]
BLOCKS = [frame * (BLOCK_BYTES // len(frame)) for frame in FRAMES]
#: Empty parts of a message that does not end.
BLOCKS.append(fragment(b"", TEXT) + fragment(b"") * (BLOCK_BYTES // 6))


class Visitor(asyncio.Protocol):
    """Opens a WebSocket and keeps it open; ``counts`` counts the outcomes of all visitors."""

    def __init__(self, request: bytes, counts: Counter[str]) -> None:
        self.request, self.counts = request, counts
        self.answered = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.status = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.status = data[9:12]
            self.counts[f"answered {self.status.decode()}"] += 1
            self.answered.set_result(None)
            if self.status == b"101":
                self.opened()
        # A close frame is small and comes last.
        start = data.rfind(b"\x88", max(0, len(data) - 130), len(data) - 1)
        if start >= 0 and len(data) == start + 2 + data[start + 1]:
            self.counts[f"closed {int.from_bytes(data[start + 2 : start + 4])}"] += 1

    def opened(self) -> None:
        pass

    def connection_lost(self, error) -> None:
        if not self.status:
            self.counts["answered nothing"] += 1
        for future in (self.answered, self.ended):
            if not future.done():
                future.set_result(None)


class Abuser(Visitor):
    """Sends whenever the socket accepts data and ignores all answers."""

    is_paused = False

    def __init__(self, request: bytes, counts: Counter[str], block: bytes) -> None:
        super().__init__(request, counts)
        self.block = block

    def opened(self) -> None:
        self.send()

    def send(self) -> None:
        while not self.is_paused and not self.transport.is_closing():
            self.counts["bytes"] += len(self.block)
            self.transport.write(self.block)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.send()


async def visit(host, port, make, answered=None) -> bytes:
    """Open a WebSocket, wait for its end, and return the HTTP status, empty if there was none."""
    try:
        _, visitor = await asyncio.get_running_loop().create_connection(make, host, port)
    except OSError:
        await asyncio.sleep(RETRY_SECONDS)
        return b""
    try:
        if answered is not None:
            await asyncio.wait({visitor.answered})
            answered.release()
        await asyncio.wait({visitor.ended})
        return visitor.status
    finally:
        visitor.transport.abort()


async def visit_until_accepted(host, port, make, answered) -> None:
    status = b""
    while status != b"101":
        await answered.acquire()
        status = await visit(host, port, make, answered)


async def visit_forever(host, port, make) -> None:
    while True:
        await visit(host, port, make)


async def main(url: str, cookie: str, handshakes: int, abusers: int) -> None:
    parts = urlsplit(url)
    address = parts.hostname, parts.port
    visits, abuses = Counter(), Counter()
    answered = asyncio.Semaphore(HANDSHAKES_AT_ONCE)
    tasks = []
    for number in range(abusers):
        block = BLOCKS[number % len(BLOCKS)]
        make = partial(Abuser, handshake(url), abuses, block)
        tasks.append(asyncio.create_task(visit_forever(*address, make)))
    for number in range(handshakes):
        make = partial(Visitor, handshake(url, cookie if number % 2 else ""), visits)
        tasks.append(asyncio.create_task(visit_until_accepted(*address, make, answered)))
    while visits["answered 101"] < handshakes:
        await asyncio.sleep(POLL_SECONDS)
    print("all in", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    print(json.dumps({"handshakes": visits, "abuses": abuses}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("cookie")
    parser.add_argument("handshakes", type=int)
    parser.add_argument("abusers", type=int)
    asyncio.run(main(**vars(parser.parse_args())))
