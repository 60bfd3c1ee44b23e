"""Turns in an event loop, so that many who want the same hold up the others no more than a few."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final


class FairQueue:
    """Lets ``count`` of the waiting tasks go on in each turn of the event loop, first come first.

    While tasks wait, there are ``pause`` seconds between two turns.
    """

    def __init__(self, count: int = 1, pause: float = 0) -> None:
        self._count: Final = count
        self._pause: Final = pause
        self._waiting: Final = deque[asyncio.Future[None]]()
        self._is_moving = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, limit: int | None = None) -> None:
        """Return when it is this task's turn. Raises ``asyncio.QueueFull`` if ``limit`` wait."""
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
