"""Calls to a server: few at once, each bounded in time, and none waits for a silent server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

R = TypeVar("R")


class BoundedCalls:
    """At most ``count`` calls of one event loop are under way at once, for ``seconds`` each.

    The wait for a slot is not bounded in itself, as a long queue moves. But if a call gets no
    answer in time, the calls that were waiting then fail too.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._slots: Final = asyncio.Semaphore(count)
        self._seconds: Final = seconds
        self._silent_at = 0.0

    async def run(self, call: Callable[[], Awaitable[R]]) -> R:
        """The result of ``call``. Raises ``TimeoutError``, and whatever ``call`` raises."""
        asked_at = time.monotonic()
        async with self._slots:
            if self._silent_at > asked_at:
                raise TimeoutError(f"no answer within {self._seconds:g} s to those before")
            return await self.run_at_once(call)

    async def run_at_once(self, call: Callable[[], Awaitable[R]]) -> R:
        """The same, without waiting for a slot."""
        try:
            return await _within(self._seconds, call)
        except TimeoutError:
            self._silent_at = time.monotonic()
            raise


async def _within(seconds: float, call: Callable[[], Awaitable[R]]) -> R:
    """The result of ``call``; ``TimeoutError`` in time even if it swallows its cancellation.

    redis-py does so now and then, and goes on to the end of its own timeout.
    """
    task = asyncio.ensure_future(call())
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(note_result)
    if not task.done() or task.cancelled():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return task.result()


def note_result(task: asyncio.Future[Any]) -> None:
    """Retrieve the result of a ``task`` that nothing awaits: asyncio would log its exception."""
    if not task.cancelled():
        task.exception()
