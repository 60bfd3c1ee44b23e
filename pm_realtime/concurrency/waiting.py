"""Waiting for others, without the time in which the event loop itself was busy."""

import asyncio
from contextlib import suppress
from typing import Any, Final

#: Parts of a wait, each of which takes three turns of the event loop at least. A new socket has its
#: first answer within some 20 turns, and each of them may be long.
PARTS_PER_WAIT: Final = 10


async def is_done_within(task: "asyncio.Future[Any]", seconds: float) -> bool:
    """Whether ``task`` is done within ``seconds``. A busy event loop gets as many more as it needs.

    Neither cancels the task nor raises its errors.
    """
    for _ in range(PARTS_PER_WAIT):
        await asyncio.wait({task}, timeout=seconds / PARTS_PER_WAIT)
        if task.done():
            return True
    return False


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether ``event`` is set within ``seconds``. As :func:`is_done_within`."""
    for _ in range(PARTS_PER_WAIT):
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds / PARTS_PER_WAIT):
                await event.wait()
        if event.is_set():
            return True
    return False
