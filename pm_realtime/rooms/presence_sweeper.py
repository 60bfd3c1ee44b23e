"""The sweeper: graces that are over, states that have lapsed, and the members of dead processes."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pm_realtime.backends import Arrival, Departure, Sweep, get_presence_store
from pm_realtime.exceptions import BackendError
from pm_realtime.observability import log_failure
from pm_realtime.push import atell_presence

logger = logging.getLogger("pm_realtime.room")

SWEEP_INTERVAL_SECONDS: Final = 1.0
#: Something that is due in less is due a little later for some clocks.
MIN_PAUSE_SECONDS: Final = 0.005
#: Between two sweeps, which carry out together all that is due meanwhile: each process looks, and
#: one finds it.
MIN_INTERVAL_SECONDS: Final = 0.05


class SweepPace:
    """When to sweep, and for how long at all. Times are in seconds of one clock."""

    def __init__(self, interval_seconds: float = SWEEP_INTERVAL_SECONDS) -> None:
        self._interval = interval_seconds
        self._min_interval = min(MIN_INTERVAL_SECONDS, interval_seconds)
        self._earliest = -math.inf
        #: The time of the next sweep.
        self.next_at = -math.inf
        #: Whether something is to be carried out, now or later, or members of other processes may
        #: be left behind.
        self.has_more = False

    def note_due(self, at: float, *, is_own: bool) -> None:
        """Something is due ``at`` that time."""
        at = max(at + MIN_PAUSE_SECONDS, self._earliest)
        self.next_at = min(self.next_at, at)
        self.has_more |= is_own

    def begin_sweep(self) -> None:
        """A sweep begins, which may miss what is noted from now on."""
        self.has_more = False

    def note_sweep(self, now: float, next_seconds: float | None) -> None:
        """A sweep has carried out all that was due, or a part of it."""
        self.has_more |= next_seconds is not None
        self._earliest = now + self._min_interval
        if next_seconds == 0:
            self.next_at = now
            return
        pause = self._interval if next_seconds is None else min(next_seconds, self._interval)
        self.next_at = max(now + pause, self._earliest)

    def note_failure(self, now: float) -> None:
        self.has_more = True
        self.next_at = now + self._interval


class Sweeper:
    """Belongs to one event loop. Runs from :meth:`start` to :meth:`stop`, and on until nothing is
    due and no process holds members.

    ``announce`` sends the signals of what was found; ``on_return`` is called when a store that was
    away is back.
    """

    def __init__(
        self,
        announce: Callable[[Sequence[Departure | Arrival]], None],
        on_return: Callable[[], None],
        pace: SweepPace | None = None,
    ) -> None:
        self._announce = announce
        self._on_return = on_return
        self._pace = pace or SweepPace()
        self._is_wanted = self._is_away = self._has_run = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._is_wanted = True
        self._run_on()

    def stop(self) -> None:
        self._is_wanted = False
        self._woken.set()

    def forget(self) -> bool:
        """End at once; others carry out what is due. Whether it has ever run."""
        self._is_wanted = False
        if self._task is not None:
            self._task.cancel()
        return self._has_run

    def note_due(self, seconds: float, *, is_own: bool = False) -> None:
        """Something is due in ``seconds``; if it ``is_own``, this event loop stays for it."""
        at = asyncio.get_running_loop().time() + seconds
        is_earlier = at < self._pace.next_at
        self._pace.note_due(at, is_own=is_own)
        if is_earlier:
            self._woken.set()
        if is_own:
            self._run_on()

    def _run_on(self) -> None:
        self._has_run = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._is_needed:
                await self._sweep()
                if self._is_needed:
                    await self._wait()
        finally:
            self._task = None

    @property
    def _is_needed(self) -> bool:
        return self._is_wanted or self._pace.has_more

    async def _wait(self) -> None:
        """Return when it is time to sweep, or to look whether to end."""
        await asyncio.sleep(0)
        while (wait := self._pace.next_at - asyncio.get_running_loop().time()) > 0:
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()
                if not self._is_wanted:
                    return

    async def _sweep(self) -> None:
        time = asyncio.get_running_loop().time
        self._pace.begin_sweep()
        try:
            swept = await get_presence_store().sweep()
        except Exception as error:
            if not isinstance(error, BackendError):
                log_failure(logger, "The members of rooms could not be swept.", error)
            self._is_away = True
            self._pace.note_failure(time())
            return
        if self._is_away:
            self._is_away = False
            self._on_return()
        self._pace.note_sweep(time(), swept.next_seconds)
        await self._tell(swept)

    async def _tell(self, swept: Sweep) -> None:
        try:
            self._announce([*swept.departures, *swept.arrivals])
            for room in swept.rooms:
                await atell_presence(room)
        except Exception as error:
            log_failure(logger, "Changes of the members of rooms could not be told.", error)
