"""SIGTERM: the connections of a process close one group after another, then its server stops.

A server by itself closes all sockets in one instant, and all clients come back in one instant. So
while there are connections, its handler of the signal waits until they have gone. A process that
has none stops as its server does.
"""

import asyncio
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

from pm_realtime.backends import get_backend
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, CloseConnection
from pm_realtime.hub import get_hub, keeps_missed
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.connection")

#: Seconds between two groups.
TICK: Final = 0.1
#: Connections that close together at least: a process with few of them stops at once.
LEAST: Final = 10
#: Seconds for which another signal is the same one: a worker may get one from systemd and one from
#: its supervisor.
REPEAT: Final = 1.0
#: Seconds for which connections that were told to close may go on.
GRACE: Final = 2.0
#: Seconds in which what was pushed before arrives, and in which the shared state forgets us.
TIMEOUT: Final = 1.0


class Connection(Protocol):
    """What a shutdown knows of a connection."""

    def go_away(self) -> None:
        """Close with 4012 after what is under way. Where the handshake is, that does it."""


def group_sizes(count: int, period: float) -> list[int]:
    """How many of ``count`` connections close at each :data:`TICK`, over ``period`` seconds."""
    groups = min(max(1, round(period / TICK)), math.ceil(count / LEAST))
    return [count * (number + 1) // groups - count * number // groups for number in range(groups)]


class Shutdown:
    """Made by :func:`get_shutdown`. Belongs to the event loop it was made in.

    Only a loop in the main thread hears signals: in others nothing changes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pid = os.getpid()
        self._connections: dict[Connection, None] = {}
        #: What handled SIGTERM before we did.
        self._previous: Any = None
        self._draining: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._leaving: set[Connection] = set()
        self._have_left = asyncio.Event()
        self._have_left.set()
        self._is_hurried = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to stop, from SIGTERM to its end."""
        return self._draining is not None

    def check(self) -> None:
        """Raise ``CloseConnection`` where nobody is let in any more."""
        if self.is_draining:
            raise CloseConnection(CloseCode.RESTARTING, "the server stops")

    @contextmanager
    def including(self, connection: Connection) -> Iterator[None]:
        """Have ``connection`` closed, and waited for, by a shutdown meanwhile."""
        if not self._connections and not self.is_draining:
            self._listen()
        self._connections[connection] = None
        try:
            yield
        finally:
            del self._connections[connection]
            self._leaving.discard(connection)
            if not self._leaving:
                self._have_left.set()
            if not self._connections and not self.is_draining and not keeps_missed():
                self._unlisten()
                _drains.drop(self)

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        # None was set by something other than Python and could not be put back.
        if previous not in (None, signal.SIG_IGN, self._hear):
            self._previous = previous
            signal.signal(signal.SIGTERM, self._hear)

    def _unlisten(self) -> None:
        # Who has taken our place meanwhile keeps it, and may call us still.
        if self._previous is not None and signal.getsignal(signal.SIGTERM) == self._hear:
            signal.signal(signal.SIGTERM, self._previous)

    def _hear(self, signum: int, frame: Any) -> None:
        if self._is_responsible():
            self._loop.call_soon_threadsafe(self._begin)
        else:
            self._unlisten()
            _hand_to(self._previous)

    def _is_responsible(self) -> bool:
        """Whether there is something to do for us: not in a forked child, nor when all is done."""
        if self._pid != os.getpid() or not self._loop.is_running():
            return False
        if self._draining:
            return not self._draining.done()
        # The layer would go on having us in the groups of a place.
        return bool(self._connections) or keeps_missed()

    def _begin(self) -> None:
        now = time.monotonic()
        if self._draining is None:
            self._draining = self._loop.create_task(self._drain(now))
            self._heard_at = now
        elif now - self._heard_at > REPEAT:
            self._is_hurried.set()

    async def _drain(self, began: float) -> None:
        try:
            await self._close_all(began, conf.SHUTDOWN_PERIOD)
            await _try(get_hub().forget_missed())
            await _try(get_backend().release())
        except Exception:
            logger.exception("The connections could not be closed one after another.")
        seconds, left = time.monotonic() - began, len(self._leaving)
        logger.info("Closed after %.1f s; still there: %d. The server stops.", seconds, left)
        # What the handler raises, such as SystemExit, is for the loop and not for this task.
        self._loop.call_soon(self._hand_over)

    async def _close_all(self, began: float, period: float) -> None:
        connections = list(self._connections)
        self._leaving = set(connections)
        if connections:
            self._have_left.clear()
        sizes = group_sizes(len(connections), period)
        logger.info(
            "SIGTERM: closing %d connections over %.1f s.", len(connections), len(sizes) * TICK
        )
        closed = 0
        await _try(get_hub().channel.catch_up())
        for number, size in enumerate(sizes, 1):
            await self._pause(began + number * TICK, began + period)
            for connection in connections[closed : closed + size]:
                if connection in self._leaving:
                    connection.go_away()
            closed += size
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._have_left.wait()

    async def _pause(self, until: float, end: float) -> None:
        """Wait until the next group's moment; where that has passed, still half a :data:`TICK`.

        A busy process so closes at most twice as many at a time as it should, and after ``end``,
        or a second signal, all that are left.
        """
        now = time.monotonic()
        if now < end:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(until - now, TICK / 2)):
                    await self._is_hurried.wait()

    def _hand_over(self) -> None:
        self._unlisten()
        _stop(self._previous)


async def _try(step: Coroutine[Any, Any, None]) -> None:
    """Take a step for which a Redis that is away is not waited for."""
    with suppress(TimeoutError, BackendError):
        async with asyncio.timeout(TIMEOUT):
            await step


def _stop(handler: Any) -> None:
    """Have the server whose handler of SIGTERM this is do what it does at the signal."""
    if getattr(handler, "__module__", "") == "uvicorn.server" and hasattr(handler, "__self__"):
        # It ends likewise, but with 0: it did not catch the signal that it would raise again.
        handler.__self__.should_exit = True
    else:
        _hand_to(handler)


def _hand_to(handler: Any) -> None:
    if callable(handler):
        handler(signal.SIGTERM, None)
    else:
        signal.signal(signal.SIGTERM, handler)
        signal.raise_signal(signal.SIGTERM)


_drains: Final = PerLoop(lambda: Shutdown(asyncio.get_running_loop()))


def get_shutdown() -> Shutdown:
    """The shutdown of the running event loop."""
    return _drains.get()
