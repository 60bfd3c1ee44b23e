"""Many subscribers of one room that need little CPU themselves.

Run as a process. It prints ``ready`` when all have joined, and its counts as JSON when each
subscriber has received ``count`` messages with ``n`` from 0 upward, in any number of frames. It
ends when its input ends.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import struct
import sys
import time
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NUMBER = re.compile(rb'"n":(\d+)')
JOINING_AT_ONCE = 50


def client_frame(data: bytes, opcode: int = TEXT) -> bytes:
    """Return a masked frame with ``data``, of fewer than 64 KiB."""
    mask = os.urandom(4)
    if len(data) < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(data))
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(data))
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def fragment(data: bytes, opcode: int = 0, *, is_last: bool = False) -> bytes:
    """Return a masked frame that is a part of a message."""
    frame = bytearray(client_frame(data, opcode))
    frame[0] = (0x80 if is_last else 0) | opcode
    return bytes(frame)


def handshake(url: str, cookie: str = "", protocol: str = "") -> bytes:
    parts = urlsplit(url)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    if cookie:
        lines.append(f"Cookie: {cookie}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def subscribe_frame(room: str) -> bytes:
    command = {"type": "subscribe", "timestamp": 0, "payload": {"room": room}}
    return client_frame(json.dumps(command).encode())


class Subscriber(asyncio.Protocol):
    def __init__(self, url: str, room: str, count: int, protocol: str = "") -> None:
        loop = asyncio.get_running_loop()
        self.url, self.room, self.count = url, room, count
        self.joined = loop.create_future()
        self.finished = loop.create_future()
        self.protocol = protocol
        self.next = self.frames = 0
        self.buffer = b""
        self.is_open = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(handshake(self.url, protocol=self.protocol))

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data
        if not self.is_open:
            if b"\r\n\r\n" not in buffer:
                self.buffer = buffer
                return
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            self.is_open = True
            self.transport.write(subscribe_frame(self.room))
        self.buffer = self.read_frames(buffer)

    def read_frames(self, buffer: bytes) -> bytes:
        start, end = 0, len(buffer)
        while end - start >= 2:
            length, head = buffer[start + 1], 2
            if length == 126:
                head = 4
            elif length == 127:
                head = 10
            if end - start < head:
                break
            if head > 2:
                length = int.from_bytes(buffer[start + 2 : start + head])
            if end - start < head + length:
                break
            self.frame(buffer[start] & 15, buffer[start + head : start + head + length])
            start += head + length
        return buffer[start:]

    def frame(self, opcode: int, data: bytes) -> None:
        if opcode == CLOSE:
            self.fail(f"closed with {int.from_bytes(data[:2])}")
        elif opcode == PING:
            self.transport.write(client_frame(data, PONG))
        elif opcode == TEXT:
            numbers = NUMBER.findall(data)
            if b'"subscribed"' in data and not numbers and not self.joined.done():
                self.joined.set_result(None)
            self.frames += bool(numbers)
            for number in numbers:
                self.take_number(int(number))

    def take_number(self, number: int) -> None:
        if number != self.next:
            self.fail(f"expected message {self.next}, got {number}")
            return
        self.next += 1
        if self.next == self.count:
            self.finished.set_result(time.monotonic())

    def connection_lost(self, error) -> None:
        self.fail(f"lost after {self.next} messages: {error!r}")

    def fail(self, reason: str) -> None:
        for future in (self.joined, self.finished):
            if not future.done():
                future.set_exception(RuntimeError(reason))


async def main(url: str, room: str, size: int, count: int, protocol: str) -> None:
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    crowd = []
    for start in range(0, size, JOINING_AT_ONCE):
        added = await asyncio.gather(
            *(
                loop.create_connection(
                    lambda: Subscriber(url, room, count, protocol), parts.hostname, parts.port
                )
                for _ in range(min(JOINING_AT_ONCE, size - start))
            )
        )
        crowd += [subscriber for _, subscriber in added]
        await asyncio.gather(*(subscriber.joined for _, subscriber in added))
    print("ready", flush=True)
    await asyncio.gather(*(subscriber.finished for subscriber in crowd))
    counts = {
        "deliveries": sum(subscriber.next for subscriber in crowd),
        "frames": sum(subscriber.frames for subscriber in crowd),
    }
    print(json.dumps(counts), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("room")
    parser.add_argument("size", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("protocol", nargs="?", default="")
    asyncio.run(main(**vars(parser.parse_args())))
