"""Shared helpers of the tests."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from channels.layers import InMemoryChannelLayer

from pm_realtime import send_to_connection
from pm_realtime.backends.streams import CURSOR_LENGTH
from pm_realtime.hub import get_hub
from pm_realtime.layer import get_layer, is_in_process
from pm_realtime.streams import GroupStream
from pm_realtime.testing import RealtimeCommunicator, session_cookie
from tests.support import redis_layer

#: Seconds that a test waits for an expected event, even on a busy machine.
EVENT_TIMEOUT_SECONDS = 10

NO_CONNECTIONS = {
    "totalConnections": 0,
    "authenticatedConnections": 0,
    "totalRooms": 0,
    "roomStats": {},
}


class Connection(RealtimeCommunicator):
    """A communicator with long timeouts, raw frames, and reading of everything sent so far."""

    async def receive_output(self, timeout: float = EVENT_TIMEOUT_SECONDS) -> dict[str, Any]:
        return await super().receive_output(max(timeout, EVENT_TIMEOUT_SECONDS))

    async def disconnect(self, code: int = 1000, timeout: float = EVENT_TIMEOUT_SECONDS) -> None:
        await super().disconnect(code, timeout)

    async def assert_closed(self, code: int, *, timeout: float = EVENT_TIMEOUT_SECONDS) -> None:
        await super().assert_closed(code, timeout=timeout)

    async def _find(self, matches: Any, expected: str, timeout: float) -> dict[str, Any]:
        return await super()._find(matches, expected, max(timeout, EVENT_TIMEOUT_SECONDS))

    async def send_frame(self, frame: str | bytes) -> None:
        kind = "text" if isinstance(frame, str) else "bytes"
        await self.send_input({"type": "websocket.receive", kind: frame})

    async def ask(self, type: str, payload: Any = None, *, id: str | None = None) -> dict[str, Any]:
        """The envelope that answers a command; envelopes before it are skipped."""
        id = await self.command(type, payload, id=id)
        while (envelope := await self.receive()).get("id") != id:
            pass
        return envelope

    async def ask_raw(self, frame: str | bytes) -> dict[str, Any]:
        await self.send_frame(frame)
        return await self.receive()

    async def is_alive(self) -> bool:
        return (await self.ask("ping"))["type"] == "pong"

    async def so_far(self) -> list[dict[str, Any]]:
        """All envelopes that were pushed before this call.

        The one pushed last arrives last, except over a layer of other processes: there a message
        may overtake others, and then waits for these while later ones of no stream go past it.
        """
        found = await self._until_fence()
        if not is_in_process(get_layer()):
            await eventually(lambda: all(map(_is_in_order, get_hub().follower.streams.values())))
            found += await self._until_fence()
        return found

    async def _until_fence(self) -> list[dict[str, Any]]:
        await asyncio.to_thread(send_to_connection, self.connection_id, "fence")
        found = []
        while (envelope := await self.receive())["type"] != "fence":
            found.append(envelope)
        return found

    async def types_so_far(self) -> list[str]:
        return [envelope["type"] for envelope in await self.so_far()]

    def unread(self) -> list[dict[str, Any]]:
        """The ASGI events that have arrived and were not read."""
        return [self.output_queue.get_nowait() for _ in range(self.output_queue.qsize())]

    async def assert_ended(self) -> None:
        """The application ends by itself and without an exception."""
        await asyncio.wait_for(asyncio.shield(self.future), EVENT_TIMEOUT_SECONDS)


def _is_in_order(stream: GroupStream) -> bool:
    """Whether nothing that has arrived waits for something before it."""
    return not stream.last or (stream.waiting is None and not stream.ahead)


async def cookie_of(user: Any) -> tuple[bytes, bytes]:
    """The ``Cookie`` header of a browser in which ``user`` is logged in."""
    return (b"cookie", await session_cookie(user))


async def connect_many(
    stack: contextlib.AsyncExitStack, count: int, user: Any = None, **options: Any
) -> list[Connection]:
    return [await stack.enter_async_context(Connection(user=user, **options)) for _ in range(count)]


async def assert_refused_with(connection: Connection, code: int) -> None:
    """The connection is accepted, so that a browser sees the code, and closed with ``code``."""
    assert (await connection.connect())[0]
    await connection.assert_closed(code)
    await connection.assert_ended()
    assert connection.output_queue.empty()


class Clock:
    """A clock that a test sets: ``clock.now += 5``."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def eventually(
    condition: Callable[[], object], seconds: float = EVENT_TIMEOUT_SECONDS
) -> None:
    """Wait until ``condition()`` is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def assert_envelope(envelope: dict[str, Any], **expected: Any) -> None:
    """``envelope`` has exactly these fields, a present timestamp and perhaps a cursor."""
    envelope = dict(envelope)
    if "cursor" not in expected and "cursor" in envelope:
        assert len(envelope.pop("cursor")) == CURSOR_LENGTH
    if envelope["type"] == "subscribed" and "cursor" not in expected["payload"]:
        envelope["payload"] = dict(envelope["payload"])
        assert len(envelope["payload"].pop("cursor")) == CURSOR_LENGTH
    timestamp = envelope["timestamp"]
    assert type(timestamp) is int
    assert abs(timestamp - time.time() * 1000) < EVENT_TIMEOUT_SECONDS * 1000
    assert envelope == {**expected, "timestamp": timestamp}


def assert_refusal(envelope: dict[str, Any], code: str, *, id: str | None, **more: Any) -> None:
    """``envelope`` is an ``error`` with ``code``, a message, and ``more`` in its payload."""
    payload = dict(envelope["payload"])
    assert len(payload.pop("message")) > 10
    assert payload == {"code": code, **more}
    assert_envelope(
        envelope, type="error", payload=envelope["payload"], **({} if id is None else {"id": id})
    )


def layer_groups() -> dict[str, Any]:
    """The groups of the layer in use, each with its channels."""
    layer = get_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return layer.groups
    return redis_layer.groups_of(layer)


def layer_channels() -> dict[str, Any]:
    """The channels of the layer in use that have messages, with these."""
    layer = get_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return layer.channels
    return redis_layer.channels_of(layer)


def running_tasks() -> set[asyncio.Task[Any]]:
    """The tasks of the running loop, without those of the layer itself."""
    return {task for task in asyncio.all_tasks() if not redis_layer.is_layers_own(task)}


def errors_of(caplog: Any) -> list[Any]:
    """The log records of level ERROR and above."""
    return [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


class _LogLines(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@contextlib.contextmanager
def log_lines(level: int = logging.WARNING) -> Iterator[list[str]]:
    """The log lines of the block. No other handler keeps them, with the frames they refer to."""
    handler, root = _LogLines(level), logging.getLogger()
    others, root.handlers = root.handlers, [handler]
    try:
        yield handler.found
    finally:
        root.handlers = others
