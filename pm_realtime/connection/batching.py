"""Several messages in one frame, for clients that offered to read that.

A message to a connection that was idle goes out at once and opens its window; what follows within
the window gathers and leaves in one frame when that ends. One timer for each event loop ends the
windows of all its connections.

A window in which nothing came is followed by no other, unless the loop is busy: where a message to
a big room takes longer than a window, each would find the windows closed and none would gather.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import Context
from time import thread_time
from typing import Final

from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import batch_window_seconds
from pm_realtime.connection.outbox import Outbox, Send
from pm_realtime.protocol import BATCH_SUBPROTOCOL, SUBPROTOCOL

logger = logging.getLogger("pm_realtime.connection")

#: Characters that gather at most. A longer frame is a single message.
MAX_LENGTH: Final = 65536
#: Connections whose window is ended before other tasks of the loop get a turn.
CHUNK: Final = 250
#: What a busy loop computes from one tick to the next, in windows. How long that takes is no
#: measure: other processes may have the processor meanwhile.
BUSY: Final = 0.25
#: Windows of a busy loop, one after another, in which nothing comes, until no other follows.
PATIENCE: Final = 10
#: Turns of the loop that a late tick leaves to others first: what they bring has waited as well.
TURNS: Final = 16


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """The one of ours that answers a handshake; a browser gives up where it gets none of many."""
    known = [SUBPROTOCOL, BATCH_SUBPROTOCOL]
    if batch_window_seconds():
        known.reverse()
    return next((name for name in known if name in offered), None)


def make_outbox(subprotocol: str | None, send: Send, on_overflow: Callable[[], None]) -> Outbox:
    """The outbox of a connection that speaks ``subprotocol``."""
    kind = BatchOutbox if subprotocol == BATCH_SUBPROTOCOL else Outbox
    return kind(send, on_overflow)


class BatchOutbox(Outbox):
    """An :class:`Outbox` that gathers texts, each a JSON object, to JSON arrays."""

    __slots__ = ("_gathered", "_is_agreed", "_is_released", "_length", "_quiet", "_windows")

    def __init__(self, send: Send, on_overflow: Callable[[], None]) -> None:
        super().__init__(send, on_overflow)
        self._windows = _windows.get()
        self._is_agreed = True
        self._is_released = False
        #: None while no window is open.
        self._gathered: list[str] | None = None
        self._length = 0
        #: Windows since the last in which something came.
        self._quiet = 0

    def deliver(self, text: str) -> None:
        gathered = self._gathered
        if gathered is None:
            super().deliver(text)
            if self._is_released and not self.is_closed and self._windows.add(self):
                self._gathered, self._quiet = [], 0
            return
        length = self._length + len(text)
        if length > MAX_LENGTH:
            self.flush()
            gathered, length = self._gathered, len(text)
            if gathered is None:
                return
        gathered.append(text)
        self._length = length

    def deliver_all(self, texts: tuple[str, ...]) -> None:
        if self._gathered is None and self._is_released:
            self.deliver(self._windows.join(texts))
            return
        for text in texts:
            self.deliver(text)

    def agree(self, subprotocol: str | None) -> None:
        """Gather nothing where a site has answered the handshake with another than was chosen."""
        self._is_agreed = subprotocol == BATCH_SUBPROTOCOL

    def release(self, first: str) -> None:
        self._is_released = self._is_agreed
        super().release(first)

    def flush(self) -> None:
        gathered = self._gathered
        if gathered:
            self._gathered, self._length = [], 0
            super().deliver(self._windows.join(gathered))

    def end_window(self, patience: int) -> bool:
        """Send what has gathered. True where another window follows: see ``PATIENCE``."""
        if self._gathered:
            self._quiet = 0
            self.flush()
        else:
            self._quiet += 1
        if self._quiet < patience and not self.is_closed:
            return True
        self._gathered = None
        return False

    def close(self, code: int, reason: str = "") -> None:
        self.flush()
        self._gathered = None
        super().close(code, reason)

    def discard(self) -> None:
        if self._gathered:
            self._gathered, self._length = [], 0
        super().discard()

    async def drain(self, seconds: float) -> None:
        self.flush()
        try:
            await super().drain(seconds)
        finally:
            # The window would keep a closed connection alive, for good if its loop has stopped.
            self._windows.remove(self)
            self._gathered = None


class Windows:
    """The open windows of one event loop, and the timer that ends them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        #: A set that keeps its order.
        self._open: dict[BatchOutbox, None] = {}
        self._is_ticking = False
        self._seconds = 0.0
        self._computed = 0.0
        self._joined: tuple[Sequence[str], str] = ((), "")

    def add(self, outbox: BatchOutbox) -> bool:
        """Open a window for ``outbox``; False where messages are not to gather."""
        if not self._is_ticking:
            self._seconds = batch_window_seconds()
        if not self._seconds:
            return False
        self._open[outbox] = None
        if not self._is_ticking:
            self._is_ticking = True
            self._computed = thread_time()
            self._tick_at(self._loop.time() + self._seconds)
        return True

    def remove(self, outbox: BatchOutbox) -> None:
        """Forget the window of ``outbox``, if one is open."""
        self._open.pop(outbox, None)

    def join(self, texts: Sequence[str]) -> str:
        """One frame's text; who stands side by side has mostly gathered the same."""
        if len(texts) == 1:
            return texts[0]
        known, joined = self._joined
        if texts != known:
            joined = f"[{','.join(texts)}]"
            self._joined = (texts, joined)
        return joined

    def _tick_at(self, moment: float) -> None:
        # Of no connection's context: it is for all of them.
        self._loop.call_at(moment, self._tick, moment, context=Context())

    def _tick(self, moment: float) -> None:
        is_late = self._loop.time() - moment > self._seconds / 2
        self._end_after(TURNS if is_late else 0)

    def _end_after(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._end_after, turns - 1)
            return
        due, self._open = list(self._open), {}
        self._seconds = batch_window_seconds()
        before, self._computed = self._computed, thread_time()
        is_busy = self._computed - before > BUSY * self._seconds
        patience = PATIENCE if is_busy else 1
        self._end(due, 0, patience if self._seconds else 0)

    def _end(self, due: list[BatchOutbox], start: int, patience: int) -> None:
        for outbox in due[start : start + CHUNK]:
            try:
                goes_on = outbox.end_window(patience)
            except Exception:
                logger.exception("Messages could not be delivered to a connection.")
                goes_on = True  # As its window is still open.
            if goes_on:
                self._open[outbox] = None
        if start + CHUNK < len(due):
            self._loop.call_soon(self._end, due, start + CHUNK, patience)
            return
        self._joined = ((), "")
        self._is_ticking = bool(self._open)
        if self._open:
            # From now: where sending takes long, a whole window of messages follows it.
            self._tick_at(self._loop.time() + self._seconds)


_windows: Final = PerLoop(Windows)
