"""SIGTERM: the connections of a process close in groups, then its server stops.

A server by itself closes all sockets at once, and all clients come back at once. So the server's
handler of the signal runs only after the connections have closed, if there are any.
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
from dataclasses import dataclass
from typing import Any, Final

from pm_realtime.backends import get_backend
from pm_realtime.commands import commands_under_way
from pm_realtime.concurrency import PerLoop, limit_exit, were_calls_abandoned
from pm_realtime.conf import conf
from pm_realtime.connection.state import Connection
from pm_realtime.exceptions import BackendError, CloseConnection
from pm_realtime.hub import get_hub
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.connection")

#: Connections that close together at least: a process with few of them stops at once.
MIN_GROUP_SIZE: Final = 10


@dataclass(frozen=True, slots=True)
class DrainTimings:
    """The seconds of a drain that are no settings."""

    #: Between two groups.
    group_seconds: float = 0.1
    #: A second signal within this is taken for the first: systemd and a supervisor may send both.
    repeat_seconds: float = 1.0
    #: For the commands that are running when their connection is to close.
    command_seconds: float = 1.0
    #: For connections to end after their close.
    end_seconds: float = 2.0
    #: For those that have not, without the rest of their work.
    abort_seconds: float = 0.5
    #: For earlier messages to arrive, and for the backend to forget this process.
    step_seconds: float = 1.0


def group_sizes(count: int, period: float, group_seconds: float) -> list[int]:
    """How many of ``count`` connections close in each group, over ``period`` seconds."""
    groups = min(max(1, round(period / group_seconds)), math.ceil(count / MIN_GROUP_SIZE))
    return [count * (number + 1) // groups - count * number // groups for number in range(groups)]


class Drain:
    """Belongs to the event loop in which it was made. Only the main thread gets signals."""

    def __init__(self, timings: DrainTimings | None = None) -> None:
        self._timings = timings or DrainTimings()
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._connections: dict[Connection, None] = {}
        #: The handler of SIGTERM before ours.
        self._previous: Any = None
        self._draining: asyncio.Task[None] | None = None
        self._signalled_at = 0.0
        self._leaving: set[Connection] = set()
        #: Those of them that did not end by themselves.
        self._aborted_count = 0
        self._have_left = asyncio.Event()
        self._have_left.set()
        self._is_hurried = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to stop, from SIGTERM to its end."""
        return self._draining is not None

    def check(self) -> None:
        """Raise ``CloseConnection`` if the process is about to stop."""
        if self.is_draining:
            raise CloseConnection(CloseCode.RESTARTING, "the server stops")

    @contextmanager
    def including(self, connection: Connection) -> Iterator[None]:
        """A drain meanwhile closes ``connection`` and waits for it."""
        if not self._connections and not self.is_draining:
            self._install_handler()
        self._connections[connection] = None
        try:
            yield
        finally:
            del self._connections[connection]
            self._leaving.discard(connection)
            if not self._leaving:
                self._have_left.set()
            if not self.is_draining and not self._is_needed():
                self._restore_handler()
                _drains.drop(self)

    def _install_handler(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        # None: not set by Python, and could not be restored.
        if previous not in (None, signal.SIG_IGN, self._on_signal):
            self._previous = previous
            signal.signal(signal.SIGTERM, self._on_signal)

    def _restore_handler(self) -> None:
        # A later handler stays, and may still call ours.
        if self._previous is not None and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._previous)

    def _on_signal(self, signum: int, frame: Any) -> None:
        if self._is_responsible():
            self._loop.call_soon_threadsafe(self._begin)
        else:
            self._restore_handler()
            _call_handler(self._previous)

    def _is_responsible(self) -> bool:
        """Whether there is something to drain: not in a forked child, nor after a drain."""
        if self._pid != os.getpid() or not self._loop.is_running():
            return False
        if self._draining:
            return not self._draining.done()
        return self._is_needed()

    def _is_needed(self) -> bool:
        has_work = bool(self._connections or commands_under_way())
        return has_work or were_calls_abandoned()

    def _begin(self) -> None:
        now = time.monotonic()
        if self._draining is None:
            self._draining = self._loop.create_task(self._drain(now))
            self._signalled_at = now
        elif now - self._signalled_at > self._timings.repeat_seconds:
            self._is_hurried.set()

    async def _drain(self, began: float) -> None:
        try:
            await self._close_all(began, conf.SHUTDOWN_PERIOD)
            await self._try(get_backend().release())
        except Exception:
            logger.exception("The connections could not be closed one after another.")
        seconds = time.monotonic() - began
        text = "Closed after %.1f s; still there: %d. The server stops."
        logger.info(text, seconds, self._aborted_count)
        # The handler may raise, such as SystemExit: that is for the loop, not for this task.
        self._loop.call_soon(self._stop_server)

    async def _close_all(self, began: float, period: float) -> None:
        connections, timings = list(self._connections), self._timings
        self._leaving = set(connections)
        if connections:
            self._have_left.clear()
        sizes = group_sizes(len(connections), period, timings.group_seconds)
        seconds = len(sizes) * timings.group_seconds
        logger.info("SIGTERM: closing %d connections over %.1f s.", len(connections), seconds)
        closed = 0
        await self._try(get_hub().channel.catch_up())
        for number, size in enumerate(sizes, 1):
            await self._pause(began + number * timings.group_seconds, began + period)
            for connection in connections[closed : closed + size]:
                if connection in self._leaving:
                    site_seconds = began + period - time.monotonic()
                    connection.go_away(timings.command_seconds, site_seconds)
            closed += size
        await self._finish_site_commands(began + period)
        await self._wait_until_left(timings.end_seconds)
        self._aborted_count = len(self._leaving)
        for connection in list(self._leaving):
            connection.abort()
        await self._wait_until_left(timings.abort_seconds)

    async def _finish_site_commands(self, end: float) -> None:
        """Wait for the commands of the site that run, also of connections that have ended."""
        while (tasks := commands_under_way()) and (seconds := end - time.monotonic()) > 0:
            hurry = asyncio.ensure_future(self._is_hurried.wait())
            await asyncio.wait({*tasks, hurry}, timeout=seconds, return_when="FIRST_COMPLETED")
            if not hurry.cancel():
                return

    async def _wait_until_left(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._have_left.wait()

    async def _pause(self, until: float, end: float) -> None:
        """Wait until the next group's moment. A busy process waits for half of the time at least,
        and after ``end`` or a second signal for none."""
        now = time.monotonic()
        if now < end:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(until - now, self._timings.group_seconds / 2)):
                    await self._is_hurried.wait()

    async def _try(self, step: Coroutine[Any, Any, None]) -> None:
        """Take a ``step`` that a Redis which is away must not hold up."""
        with suppress(TimeoutError, BackendError):
            async with asyncio.timeout(self._timings.step_seconds):
                await step

    def _stop_server(self) -> None:
        if self._aborted_count or were_calls_abandoned():
            limit_exit()
        self._restore_handler()
        handler = self._previous
        if getattr(handler, "__module__", "") == "uvicorn.server" and hasattr(handler, "__self__"):
            # Its handler would raise the signal again in the end; so it exits with 0.
            handler.__self__.should_exit = True
        else:
            _call_handler(handler)


def _call_handler(handler: Any) -> None:
    if callable(handler):
        handler(signal.SIGTERM, None)
    else:
        signal.signal(signal.SIGTERM, handler)
        signal.raise_signal(signal.SIGTERM)


_drains: Final = PerLoop(Drain)


def get_drain() -> Drain:
    """The drain of the running event loop."""
    return _drains.get()


def use_drain(drain: Drain) -> None:
    """Make ``drain`` that of the running event loop."""
    _drains.set(drain)
