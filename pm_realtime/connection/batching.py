"""Several messages in one frame, for clients that offered to read that.

A message to an idle connection goes out at once and opens a window. The messages that follow within
the window are gathered, and leave in one frame when it ends. One timer for each event loop ends the
windows of all its connections.

Another window follows if there were messages, or if the loop is busy: if a message to a big room
takes longer than a window, the next would find the windows closed.
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

#: Characters in one frame, unless it is a single message.
MAX_GATHERED_LENGTH: Final = 65536
#: Connections whose windows end before other tasks of the loop get a turn.
WINDOWS_PER_TURN: Final = 250
#: A busy loop computes for more than this part of a window between two ticks. The time that passes
#: is no measure: other processes may have the processor.
BUSY_PART: Final = 0.25
#: Empty windows in a row after which a busy loop opens no other.
MAX_EMPTY_WINDOWS: Final = 10
#: Turns of the loop before a late tick, so that messages that have waited as well join the frame.
LATE_TICK_TURNS: Final = 16


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """The answer to the subprotocols that a client offers; None if it offers none of ours."""
    known = [SUBPROTOCOL, BATCH_SUBPROTOCOL]
    if batch_window_seconds():
        known.reverse()
    return next((name for name in known if name in offered), None)


def make_outbox(subprotocol: str | None, send: Send, on_overflow: Callable[[], None]) -> Outbox:
    """The outbox of a connection with ``subprotocol``."""
    kind = BatchOutbox if subprotocol == BATCH_SUBPROTOCOL else Outbox
    return kind(send, on_overflow)


class BatchOutbox(Outbox):
    """An :class:`Outbox` that gathers texts, which are JSON objects, into JSON arrays."""

    __slots__ = ("_empty_windows", "_gathered", "_is_agreed", "_is_released", "_length", "_windows")

    def __init__(self, send: Send, on_overflow: Callable[[], None]) -> None:
        super().__init__(send, on_overflow)
        self._windows = _windows.get()
        self._is_agreed = True
        self._is_released = False
        #: None while no window is open.
        self._gathered: list[str] | None = None
        self._length = 0
        #: In a row.
        self._empty_windows = 0

    def deliver(self, text: str) -> None:
        gathered = self._gathered
        if gathered is None:
            super().deliver(text)
            if self._is_released and not self.is_closed and self._windows.add(self):
                self._gathered, self._empty_windows = [], 0
            return
        length = self._length + len(text)
        if length > MAX_GATHERED_LENGTH:
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
        """Gather nothing if a site has accepted the handshake with another subprotocol."""
        self._is_agreed = subprotocol == BATCH_SUBPROTOCOL

    def release(self, first: str) -> None:
        self._is_released = self._is_agreed
        super().release(first)

    def flush(self) -> None:
        gathered = self._gathered
        if gathered:
            self._gathered, self._length = [], 0
            super().deliver(self._windows.join(gathered))

    def end_window(self, max_empty: int) -> bool:
        """Send the gathered texts. True if another window follows: not after ``max_empty``."""
        if self._gathered:
            self._empty_windows = 0
            self.flush()
        else:
            self._empty_windows += 1
        if self._empty_windows < max_empty and not self.is_closed:
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
            # The window would keep the closed connection alive, for good if its loop has stopped.
            self._windows.remove(self)
            self._gathered = None


class Windows:
    """The open windows of one event loop, and the timer that ends them.

    ``computing_time`` gives the seconds for which the loop's thread has had the processor.
    """

    def __init__(self, computing_time: Callable[[], float] = thread_time) -> None:
        self._computing_time = computing_time
        self._loop = asyncio.get_running_loop()
        #: A set that keeps its order.
        self._open: dict[BatchOutbox, None] = {}
        self._is_ticking = False
        self._seconds = 0.0
        self._computed = 0.0
        self._joined: tuple[Sequence[str], str] = ((), "")

    def add(self, outbox: BatchOutbox) -> bool:
        """Open a window for ``outbox``; False if messages are not gathered."""
        if not self._is_ticking:
            self._seconds = batch_window_seconds()
        if not self._seconds:
            return False
        self._open[outbox] = None
        if not self._is_ticking:
            self._is_ticking = True
            self._computed = self._computing_time()
            self._tick_at(self._loop.time() + self._seconds)
        return True

    def remove(self, outbox: BatchOutbox) -> None:
        """Forget the window of ``outbox``, if one is open."""
        self._open.pop(outbox, None)

    def join(self, texts: Sequence[str]) -> str:
        """The text of one frame. Neighbours have mostly gathered the same texts: it is kept."""
        if len(texts) == 1:
            return texts[0]
        known, joined = self._joined
        if texts != known:
            joined = f"[{','.join(texts)}]"
            self._joined = (texts, joined)
        return joined

    def _tick_at(self, moment: float) -> None:
        # In no connection's context: it is for all of them.
        self._loop.call_at(moment, self._tick, moment, context=Context())

    def _tick(self, moment: float) -> None:
        is_late = self._loop.time() - moment > self._seconds / 2
        self._end_after(LATE_TICK_TURNS if is_late else 0)

    def _end_after(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._end_after, turns - 1)
            return
        due, self._open = list(self._open), {}
        self._seconds = batch_window_seconds()
        before, self._computed = self._computed, self._computing_time()
        is_busy = self._computed - before > BUSY_PART * self._seconds
        max_empty = MAX_EMPTY_WINDOWS if is_busy else 1
        self._end(due, 0, max_empty if self._seconds else 0)

    def _end(self, due: list[BatchOutbox], start: int, max_empty: int) -> None:
        for outbox in due[start : start + WINDOWS_PER_TURN]:
            try:
                goes_on = outbox.end_window(max_empty)
            except Exception:
                logger.exception("Messages could not be delivered to a connection.")
                goes_on = True  # Its window is still open.
            if goes_on:
                self._open[outbox] = None
        if start + WINDOWS_PER_TURN < len(due):
            self._loop.call_soon(self._end, due, start + WINDOWS_PER_TURN, max_empty)
            return
        self._joined = ((), "")
        self._is_ticking = bool(self._open)
        if self._open:
            # From now, so that a whole window follows even if sending took long.
            self._tick_at(self._loop.time() + self._seconds)


_windows: Final = PerLoop(Windows)


def use_windows(windows: Windows) -> None:
    """Make ``windows`` those of the running event loop."""
    _windows.set(windows)
