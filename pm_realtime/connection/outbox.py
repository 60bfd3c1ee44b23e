"""The frames that leave one connection.

A frame goes straight to the ASGI server's ``send``. Only if that would wait, because the socket is
full, the connection gets a queue and a task: slow readers cost the others nothing, fast ones none.
"""

import asyncio
import types
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from pm_realtime.conf import conf
from pm_realtime.connection.direct_write import DirectWriter, find_direct_writer

Frame = dict[str, Any]
Send = Callable[[Frame], Awaitable[None]]

#: The reason in a close frame can have so many bytes.
MAX_REASON_BYTES = 123


@dataclass(slots=True, eq=False, repr=False)
class Outbox:
    """Frames leave in the order in which they were given, and none after the close.

    At first they wait until :meth:`release`. ``on_overflow`` is called when more than
    ``MAX_QUEUE_BYTES`` would wait.
    """

    _send: Send
    _on_overflow: Callable[[], None]
    #: The frames that wait, each with its size in bytes; None while the socket has room.
    _queue: deque[tuple[int, Frame]] | None = field(default_factory=deque)
    _queued_bytes: int = 0
    _direct_writer: DirectWriter | None = None
    _writer: asyncio.Task[None] | None = None
    is_closed: bool = False

    def deliver(self, text: str) -> None:
        """Send a text frame, now or, if the socket is full, in its turn. Never waits."""
        if self.is_closed:
            return
        if self._queue is not None:
            self._enqueue(len(text.encode()), {"type": "websocket.send", "text": text})
        elif self._direct_writer is None or not self._direct_writer.write(text):
            self._try({"type": "websocket.send", "text": text})

    def deliver_all(self, texts: tuple[str, ...]) -> None:
        """Send several text frames, in one go if the socket has room. Never waits."""
        is_idle = self._queue is None and not self.is_closed
        if not is_idle or self._direct_writer is None or not self._direct_writer.write(texts):
            for text in texts:
                self.deliver(text)

    def release(self, first: str) -> None:
        """Send ``first``, then the frames that wait; later frames do not wait any more."""
        if self.is_closed or not self.is_held:
            return
        held, self._queue = self._queue or (), None
        self._queued_bytes = 0
        self._direct_writer = find_direct_writer(self._send)
        self.deliver(first)
        for _, frame in held:
            self.deliver(frame["text"])

    def agree(self, subprotocol: str | None) -> None:
        """The handshake is accepted with ``subprotocol``. Nothing changes here."""

    def flush(self) -> None:
        """Send the texts that were gathered. Nothing is gathered here."""

    def close(self, code: int, reason: str = "") -> None:
        """Close after the frames that wait, but drop those that wait for :meth:`release`."""
        if self.is_closed:
            return
        self.is_closed = True
        frame = {"type": "websocket.close", "code": int(code)}
        if reason:
            cut = reason.encode(errors="replace")[:MAX_REASON_BYTES]
            frame["reason"] = cut.decode(errors="ignore")
        if self.is_held:
            self._queue = None
        if self._queue is None:
            self._try(frame)
        else:
            self._queue.append((0, frame))

    def discard(self) -> None:
        """Drop all frames that wait."""
        if self._queue is not None:
            self._queue.clear()
            self._queued_bytes = 0

    async def drain(self, seconds: float) -> None:
        """Wait at most ``seconds`` until all frames are sent; drop the rest."""
        self.is_closed = True
        try:
            if self._writer is not None:
                await asyncio.wait([self._writer], timeout=seconds)
        finally:
            if self._writer is not None:
                self._writer.cancel()
            self.discard()

    @property
    def is_held(self) -> bool:
        """Whether frames wait for :meth:`release`."""
        return self._queue is not None and self._writer is None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the frames that wait, and at least 1 while the socket is full or frames are
        held."""
        return 0 if self._queue is None else self._queued_bytes + 1

    def _enqueue(self, size: int, frame: Frame) -> None:
        assert self._queue is not None
        if self._queued_bytes + size > conf.MAX_QUEUE_BYTES:
            self._on_overflow()
            return
        self._queued_bytes += size
        self._queue.append((size, frame))

    def _try(self, frame: Frame) -> None:
        """Take the first step of a send: with most servers it is done then."""
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
        """The socket is gone. ``receive`` will report it."""
        self.is_closed = True
        self.discard()


@types.coroutine
def _resume(step: Generator[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """The rest of an awaitable whose first step waits for ``awaited``."""
    try:
        yield awaited
    except BaseException as error:
        step.throw(error)
        raise
    yield from step
