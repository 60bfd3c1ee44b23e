"""Taking turns: with a server (few at once, each in time, nobody waiting for one that is silent),
and with the others of an event loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

R = TypeVar("R")


class Turns:
    """``count`` steps of one event loop may be under way at once, for ``seconds`` each.

    Waiting for one's turn is not bounded in itself: a long queue moves. But once a step got no
    answer in time, all who were waiting then give up too.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._slots: Final = asyncio.Semaphore(count)
        self._seconds: Final = seconds
        self._silent_at = 0.0

    async def take(self, step: Callable[[], Awaitable[R]]) -> R:
        """The result of ``step``. Raises ``TimeoutError``, and whatever ``step`` raises."""
        asked_at = time.monotonic()
        async with self._slots:
            if self._silent_at > asked_at:
                raise TimeoutError(f"no answer within {self._seconds:g} s to those before")
            return await self.go(step)

    async def go(self, step: Callable[[], Awaitable[R]]) -> R:
        """The same, out of turn."""
        try:
            return await _within(self._seconds, step)
        except TimeoutError:
            self._silent_at = time.monotonic()
            raise


class Line:
    """``count`` of all who stand in it a turn of the event loop, in the order in which they came.

    So what many want at once holds up the others no more than what a few want. From one turn to
    the next it is ``pause`` seconds where somebody waits for it.
    """

    def __init__(self, count: int = 1, pause: float = 0) -> None:
        self._count: Final = count
        self._pause: Final = pause
        self._waiting: Final = deque[asyncio.Future[None]]()
        self._is_moving = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def take(self, limit: int | None = None) -> None:
        """Return when it is one's turn; ``asyncio.QueueFull`` where ``limit`` others wait."""
        if limit is not None and len(self) >= limit:
            raise asyncio.QueueFull
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._is_moving:
            self._is_moving = True
            loop.call_soon(self._move, loop)
        try:
            await turn
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiting.remove(turn)
            raise

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(self._count, len(self))):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._waiting:
            loop.call_later(self._pause, self._move, loop)
        else:
            self._is_moving = False


async def _within(seconds: float, step: Callable[[], Awaitable[R]]) -> R:
    """The result of ``step``; ``TimeoutError`` in time even where it swallows its cancellation.

    redis-py does so now and then, and goes on to the end of its own timeout.
    """
    task = asyncio.ensure_future(step())
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
    """Nobody waits for ``task`` any more: what it raises is not to be logged."""
    if not task.cancelled():
        task.exception()
