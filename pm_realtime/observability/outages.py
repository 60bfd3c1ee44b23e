"""Outages of Redis, as one picture of this process and two lines in its log.

The channel layer and the shared state each watch their own connection. When one of them loses it,
the others check theirs at once. The log says when the first was lost and when all are back.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from pm_realtime.concurrency import after_fork
from pm_realtime.observability.log_throttle import throttle
from pm_realtime.redis import refusal_in

logger = logging.getLogger("pm_realtime.connection")

#: The names of the parts in the log.
LAYER: Final = "the channel layer"
STATE: Final = "the shared state"

#: Time after a logged outage in which short ones are not logged.
QUIET_OUTAGE_SECONDS: Final = 10.0
#: An outage of this length is always logged.
LONG_OUTAGE_SECONDS: Final = 2.0


def log_refusal(part: str, reason: str) -> None:
    """Log ``reason``, if it is that a server refuses a user or a command: it does not pass.

    The line of an outage names only the reason that was there first.
    """
    refusal = refusal_in(reason)
    if refusal and throttle.note(("refusal", part, refusal)):
        logger.error("Redis refuses what %s needs: %s.", part, reason)


class Outage:
    """The parts that are lost now, each by a watcher. Callable from any thread."""

    def __init__(
        self,
        *,
        quiet_seconds: float = QUIET_OUTAGE_SECONDS,
        long_seconds: float = LONG_OUTAGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet_seconds = quiet_seconds
        self._long_seconds = long_seconds
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget every watcher and every outage."""
        self._lock = threading.RLock()
        self._watchers: dict[object, tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = {}
        self._lost: dict[object, str] = {}
        self._began_at = 0.0
        self._all_lost: dict[str, None] = {}
        self._is_logged = False
        self._logged_at = float("-inf")
        self._unsent = 0
        #: The times that a part was suspected: sockets that were opened before may lead elsewhere.
        self.suspicions = 0

    def watch(self, watcher: object, check: Callable[[], None]) -> None:
        """Have ``check`` called in the running loop when another watcher loses its part."""
        with self._lock:
            self._watchers[watcher] = (asyncio.get_running_loop(), check)

    def unwatch(self, watcher: object) -> None:
        """Forget ``watcher``. A part that it lost stays lost until ``end(part)`` is called."""
        with self._lock:
            self._watchers.pop(watcher, None)
            if (part := self._lost.pop(watcher, None)) is not None:
                self._lost[part] = part

    def begin(self, watcher: object, part: str, error: object) -> None:
        """Note that ``watcher`` lost ``part`` because of ``error``, or still misses it."""
        with self._lock:
            is_new = watcher not in self._lost
            now = self._clock()
            if not self._lost:
                self._began_at, self._all_lost, self._is_logged = now, {}, False
            self._lost[watcher] = part
            self._all_lost[part] = None
            is_long = now - self._began_at > self._long_seconds
            must_log = not self._is_logged and (
                is_long or now - self._logged_at > self._quiet_seconds
            )
            if must_log:
                self._is_logged, self._logged_at = True, now
        # Without the lock: a handler of the log may push.
        if must_log:
            logger.error(
                "Lost %s: %s. Open connections stay open; calls that need it fail until it is "
                "back.",
                part,
                str(error).rstrip("."),
            )
        if is_new:
            self.suspect(watcher)

    def end(self, watcher: object) -> None:
        """Note that the part that ``watcher`` lost is back, if it lost one.

        ``watcher`` may also be the name of a part that a forgotten watcher lost.
        """
        with self._lock:
            if self._lost.pop(watcher, None) is None or self._lost or not self._is_logged:
                return
            seconds, unsent = self._clock() - self._began_at, self._unsent
            self._unsent = 0
            parts = ", ".join(self._all_lost)
        logger.warning(
            "Back after %.1f s: %s. Pushes that could not be sent: %d.", seconds, parts, unsent
        )

    @property
    def lost(self) -> tuple[str, ...]:
        """The names of all parts that are lost now."""
        return tuple(self._lost.values())

    def suspect(self, watcher: object = None) -> None:
        """Have every watcher but ``watcher`` check its part."""
        with self._lock:
            self.suspicions += 1
            others = [each for key, each in self._watchers.items() if key is not watcher]
        for loop, check in others:
            with contextlib.suppress(RuntimeError):  # That loop is closed.
                loop.call_soon_threadsafe(check)

    def count_unsent(self) -> None:
        """Count a push that failed without an error for its sender."""
        with self._lock:
            self._unsent += 1

    @property
    def is_watched(self) -> bool:
        """Whether a watcher in this process notices by itself when Redis is back."""
        return bool(self._watchers)


outage: Final = Outage()
after_fork(outage.clear)
