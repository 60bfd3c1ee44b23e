"""A queue of tasks that lets the rest of the event loop run between two of them."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final


class FairQueue:
    """Lets the first ``tasks_per_turn`` waiting tasks go on in each turn of the event loop."""

    def __init__(self, tasks_per_turn: int = 1) -> None:
        self._tasks_per_turn: Final = tasks_per_turn
        self._waiting: Final = deque[asyncio.Future[None]]()
        self._is_moving = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Return in this task's turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._is_moving:
            self._is_moving = True
            loop.call_soon(self._move)
        try:
            await turn
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiting.remove(turn)
            raise

    def _move(self) -> None:
        for _ in range(min(self._tasks_per_turn, len(self))):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._move)
        else:
            self._is_moving = False
