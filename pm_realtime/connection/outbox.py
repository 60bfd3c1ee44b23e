"""One connection's way out.

A frame goes straight to the ASGI server's ``send``. Only where that would wait, because the socket
is full, the connection gets a queue and a task that empties it; so a slow reader costs the others
nothing, and a fast one costs no task.
"""

import asyncio
import types
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from pm_realtime.conf import conf
from pm_realtime.connection.direct_write import DirectWriter, find_direct_writer

Frame = dict[str, Any]
Send = Callable[[Frame], Awaitable[None]]

#: A close frame holds at most this many bytes of reason.
MAX_REASON_BYTES = 123


class Outbox:
    """Frames leave in the order they were given; none leaves after the close.

    It starts held: frames wait until :meth:`release`. ``on_overflow`` is called when more than
    ``MAX_QUEUE_BYTES`` would wait.
    """

    __slots__ = (
        "_direct_writer",
        "_on_overflow",
        "_queue",
        "_queued_bytes",
        "_send",
        "_writer",
        "is_closed",
    )

    def __init__(self, send: Send, on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._queue: deque[tuple[int, Frame]] | None = deque()
        self._queued_bytes = 0
        self._direct_writer: DirectWriter | None = None
        self._writer: asyncio.Task[None] | None = None
        self.is_closed = False

    def deliver(self, text: str) -> None:
        """Send a text frame, now or, where the socket is full, in its turn. Never waits."""
        if self.is_closed:
            return
        if self._queue is not None:
            self._wait_in_line(len(text.encode()), {"type": "websocket.send", "text": text})
        elif self._direct_writer is None or not self._direct_writer.write(text):
            self._try({"type": "websocket.send", "text": text})

    def deliver_all(self, texts: tuple[str, ...]) -> None:
        """Send several text frames, in one go where the socket has room. Never waits."""
        is_idle = self._queue is None and not self.is_closed
        if not is_idle or self._direct_writer is None or not self._direct_writer.write(texts):
            for text in texts:
                self.deliver(text)

    def release(self, first: str) -> None:
        """End the hold: ``first`` goes out, then all that has waited."""
        if self.is_closed or not self._is_held:
            return
        held, self._queue = self._queue or (), None
        self._queued_bytes = 0
        self._direct_writer = find_direct_writer(self._send)
        self.deliver(first)
        for _, frame in held:
            self.deliver(frame["text"])

    def agree(self, subprotocol: str | None) -> None:
        """The handshake is answered with ``subprotocol``: here that changes nothing."""

    def flush(self) -> None:
        """Send what is kept only to go out together with what follows: here nothing ever is."""

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket once what waits is sent; what is still held is not. Never waits."""
        if self.is_closed:
            return
        self.is_closed = True
        frame = {"type": "websocket.close", "code": int(code)}
        if reason:
            frame["reason"] = reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(
                errors="ignore"
            )
        if self._is_held:
            self._queue = None
        if self._queue is None:
            self._try(frame)
        else:
            self._queue.append((0, frame))

    def discard(self) -> None:
        """Forget all that waits."""
        if self._queue is not None:
            self._queue.clear()
            self._queued_bytes = 0

    async def drain(self, seconds: float) -> None:
        """Wait at most ``seconds`` until all is sent; drop what is not."""
        self.is_closed = True
        try:
            if self._writer is not None:
                await asyncio.wait([self._writer], timeout=seconds)
        finally:
            if self._writer is not None:
                self._writer.cancel()
            self.discard()

    @property
    def _is_held(self) -> bool:
        return self._queue is not None and self._writer is None

    def _wait_in_line(self, size: int, frame: Frame) -> None:
        assert self._queue is not None
        if self._queued_bytes + size > conf.MAX_QUEUE_BYTES:
            self._on_overflow()
            return
        self._queued_bytes += size
        self._queue.append((size, frame))

    def _try(self, frame: Frame) -> None:
        """Take the first step of a send; most servers are done with it then."""
        step = self._send(frame).__await__()
        try:
            awaited = next(step)
        except StopIteration:
            return
        except Exception:
            self._give_up()
            return
        self._queue = deque()
        self._writer = asyncio.get_running_loop().create_task(self._write(_resume(step, awaited)))

    async def _write(self, begun: Awaitable[None]) -> None:
        try:
            await begun
            while self._queue:
                size, frame = self._queue.popleft()
                self._queued_bytes -= size
                await self._send(frame)
            self._queue = None
        except Exception:
            self._give_up()
        finally:
            self._writer = None

    def _give_up(self) -> None:
        """The server cannot send any more: the socket is gone, and ``receive`` will say so."""
        self.is_closed = True
        self.discard()


@types.coroutine
def _resume(step: Generator[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """The rest of an awaitable whose first step was taken by hand and waits for ``awaited``."""
    try:
        yield awaited
    except BaseException as error:
        step.throw(error)
        raise
    yield from step
