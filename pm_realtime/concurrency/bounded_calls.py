"""Calls to a server, bounded in number and in time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pm_realtime.concurrency.waiting import is_done_within

R = TypeVar("R")


class BoundedCalls:
    """At most ``max_calls`` calls of one event loop run at once, for ``timeout_seconds`` each.

    Time in which the event loop is busy does not count. A call may wait for its start longer than
    that, as a long queue moves. But if a running call times out, the calls that were waiting by
    then fail too: the server is silent.
    """

    def __init__(self, max_calls: int, timeout_seconds: float) -> None:
        self._slots: Final = asyncio.Semaphore(max_calls)
        self._timeout_seconds: Final = timeout_seconds
        self._timed_out_at = 0.0

    async def run(self, call: Callable[[], Awaitable[R]]) -> R:
        """The result of ``call``. Raises ``TimeoutError``, and any error of ``call``."""
        requested_at = time.monotonic()
        async with self._slots:
            if self._timed_out_at > requested_at:
                raise TimeoutError(f"no answer within {self._timeout_seconds:g} s to earlier calls")
            return await self.run_at_once(call)

    async def run_at_once(self, call: Callable[[], Awaitable[R]]) -> R:
        """As :meth:`run`, without waiting for other calls."""
        task = asyncio.ensure_future(call())
        try:
            # Not `asyncio.timeout`: redis-py sometimes swallows its cancellation.
            if not await is_done_within(task, self._timeout_seconds) or task.cancelled():
                raise TimeoutError(f"no answer within {self._timeout_seconds:g} s")
            return task.result()
        except TimeoutError:
            self._timed_out_at = time.monotonic()
            raise
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(note_result)


def note_result(task: asyncio.Future[Any]) -> None:
    """Retrieve the result of a ``task`` that nothing awaits: asyncio would log its exception."""
    if not task.cancelled():
        task.exception()
