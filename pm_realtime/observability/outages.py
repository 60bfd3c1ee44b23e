"""What of Redis is away, as one picture of this process, and the two lines the log has of it.

The channel layer and the shared state each watch over their own connection. What one of them
notices the other looks into at once; the log says when the first was lost and when all are back.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from pm_realtime.concurrency import after_fork

logger = logging.getLogger("pm_realtime.connection")


#: What may be lost, as the log names it.
LAYER: Final = "the channel layer"
STATE: Final = "the shared state"

#: Seconds in which short outages that follow each other are told once, and from which one is long.
PAUSE: Final = 10.0
LONG: Final = 2.0


class Outage:
    """Callable from any thread."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget every watcher and every outage."""
        self._lock = threading.RLock()
        self._watchers: dict[object, tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = {}
        self._lost: dict[object, str] = {}
        self._since = 0.0
        self._whats: dict[str, None] = {}
        self._is_told = False
        self._told_at = -PAUSE
        self._unsent = 0

    def watch(self, watcher: object, look: Callable[[], None]) -> None:
        """Have ``look`` called in the running loop when another watcher loses something."""
        with self._lock:
            self._watchers[watcher] = (asyncio.get_running_loop(), look)

    def unwatch(self, watcher: object) -> None:
        """``watcher`` has nothing to lose any more.

        Something that it lost stays lost until :meth:`end` is called with the name of that.
        """
        with self._lock:
            self._watchers.pop(watcher, None)
            if (what := self._lost.pop(watcher, None)) is not None:
                self._lost[what] = what

    def begin(self, watcher: object, what: str, error: object) -> None:
        """``watcher`` lost ``what`` because of ``error``, or still misses it."""
        with self._lock:
            is_new = watcher not in self._lost
            if not self._lost:
                self._since, self._whats, self._is_told = time.monotonic(), {}, False
            self._lost[watcher] = what
            self._whats[what] = None
            is_to_be_told = self._is_to_be_told()
        # Without the lock: a handler of the log may push.
        if is_to_be_told:
            logger.error(
                "Lost %s: %s. Open connections stay; what needs it is refused meanwhile.",
                what,
                str(error).rstrip("."),
            )
        if is_new:
            self.suspect(watcher)

    def _is_to_be_told(self) -> bool:
        now = time.monotonic()
        is_long = now - self._since > LONG
        if self._is_told or not (is_long or now - self._told_at > PAUSE):
            return False
        self._is_told, self._told_at = True, now
        return True

    def end(self, watcher: object) -> None:
        """What ``watcher`` lost is back, if it lost anything."""
        with self._lock:
            if self._lost.pop(watcher, None) is None or self._lost or not self._is_told:
                return
            seconds, unsent = time.monotonic() - self._since, self._unsent
            self._unsent = 0
            whats = ", ".join(self._whats)
        logger.warning(
            "Back after %.1f s: %s. Pushes that could not be sent: %d.", seconds, whats, unsent
        )

    @property
    def lost(self) -> tuple[str, ...]:
        """The names of all that is lost now."""
        return tuple(self._lost.values())

    def suspect(self, watcher: object = None) -> None:
        """Have everyone but ``watcher`` look whether they lost something."""
        with self._lock:
            others = [each for key, each in self._watchers.items() if key is not watcher]
        for loop, look in others:
            with contextlib.suppress(RuntimeError):  # That loop has ended.
                loop.call_soon_threadsafe(look)

    def count_unsent(self) -> None:
        """Count a push that nobody will be told of otherwise."""
        with self._lock:
            self._unsent += 1

    @property
    def is_watched(self) -> bool:
        """Whether somebody in this process notices by itself when Redis is back."""
        return bool(self._watchers)


outage: Final = Outage()
after_fork(outage.clear)
