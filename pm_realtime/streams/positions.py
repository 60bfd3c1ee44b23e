"""Checks of positions: so also the last message before a silence is found."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pm_realtime.concurrency import is_set_within
from pm_realtime.exceptions import BackendError

logger = logging.getLogger("pm_realtime.push")


@dataclass(frozen=True)
class CheckTimings:
    """The timings of position checks, in seconds."""

    #: In this time the position of each group is checked once.
    period_seconds: float = 25.0
    #: An event loop that goes on so late may have lost messages.
    late_seconds: float = 2.0
    #: Between two checks of all positions at once, and until one that failed is tried again.
    retry_seconds: float = 1.0
    #: Groups of one check.
    batch_size: int = 200


class PositionChecks:
    """Belongs to one hub. ``check`` compares the positions of some groups with the streams.

    ``begin`` is awaited before the first of them.
    """

    def __init__(
        self,
        groups: Callable[[], Sequence[str]],
        check: Callable[[Sequence[str]], Awaitable[None]],
        begin: Callable[[], Awaitable[None]],
        timings: CheckTimings,
    ) -> None:
        self._groups = groups
        self._check = check
        self._begin = begin
        self._timings = timings
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """Messages may have been lost: check all positions now."""
        self._doubt.set()

    async def run(self) -> None:
        """Check until cancelled."""
        checked_at = -math.inf
        while True:
            try:
                if is_doubtful := self._doubt.is_set():
                    await asyncio.sleep(checked_at + self._timings.retry_seconds - time.monotonic())
                await self._check_all(spread=not is_doubtful)
                if is_doubtful:
                    checked_at = time.monotonic()
            except Exception as error:
                if not isinstance(error, BackendError):
                    logger.exception("Positions could not be checked.")
                self._doubt.set()
                await asyncio.sleep(self._timings.retry_seconds)

    async def _check_all(self, *, spread: bool) -> None:
        size, groups = self._timings.batch_size, list(self._groups())
        pause = self._timings.period_seconds / (len(groups) // size + 1)
        self._doubt.clear()
        for start in range(0, len(groups) or 1, size):
            if spread and await self._is_doubtful_within(pause):
                return
            if not start:
                await self._begin()
            await self._check(groups[start : start + size])
            await asyncio.sleep(0)

    async def _is_doubtful_within(self, seconds: float) -> bool:
        began_at = time.monotonic()
        await is_set_within(self._doubt, seconds)
        if time.monotonic() - began_at > seconds + self._timings.late_seconds:
            self._doubt.set()
        return self._doubt.is_set()
