"""The results of commands in the memory of one process."""

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, NamedTuple

from pm_realtime.backends.results import Claim, ClaimState, Results
from pm_realtime.concurrency import after_fork
from pm_realtime.texts import size_of

#: Bytes of all results. The earliest go first.
RESULTS_MAX_BYTES: Final = 67_108_864
#: The memory of a result, besides texts.
BYTES_PER_RESULT: Final = 350
#: Claims and results looked at for each claim. More than one, so that old ones soon go.
KEYS_PER_LOOK: Final = 4


class _Running(NamedTuple):
    owner: str
    #: Seconds of the clock.
    until: float


class _Done(NamedTuple):
    result: str
    size: int
    until: float


class MemoryResults(Results):
    """Two dicts under a lock. No method ever awaits anything.

    ``clock`` gives monotonic seconds. Commands that run are never dropped to free memory.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_bytes: int = RESULTS_MAX_BYTES
    ) -> None:
        self._clock, self._max_bytes = clock, max_bytes
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        """Begin anew; in a forked child too, as another thread may have held the lock."""
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._done: dict[str, _Done] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._running) + len(self._done)

    async def claim(self, key: str, owner: str, ttl_seconds: float) -> Claim:
        with self._lock:
            now = self._clock()
            if (done := self._done.get(key)) is not None and done.until > now:
                return Claim(ClaimState.DONE, done.result)
            if self._is_taken(key, owner, now):
                return Claim(ClaimState.RUNNING)
            self._drop(key)
            self._running.pop(key, None)
            self._running[key] = _Running(owner, now + ttl_seconds)
            self._forget_old(now)
            return Claim(ClaimState.TAKEN)

    async def keep(self, key: str, owner: str, result: str, ttl_seconds: float) -> None:
        with self._lock:
            now = self._clock()
            done = self._done.get(key)
            if self._is_taken(key, owner, now) or (done is not None and done.until > now):
                return
            self._running.pop(key, None)
            self._drop(key)
            size = BYTES_PER_RESULT + size_of(key) + size_of(result)
            self._done[key] = _Done(result, size, now + ttl_seconds)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._done)))

    async def release(self, key: str, owner: str) -> None:
        with self._lock:
            running = self._running.get(key)
            if running is not None and running.owner == owner:
                del self._running[key]

    async def forget_all(self) -> None:
        with self._lock:
            self._running.clear()
            self._done.clear()
            self._bytes = 0

    def _is_taken(self, key: str, owner: str, now: float) -> bool:
        """Whether another owner has ``key``."""
        running = self._running.get(key)
        return running is not None and running.owner != owner and running.until > now

    def _forget_old(self, now: float) -> None:
        for key in _over(self._running, now):
            del self._running[key]
        for key in _over(self._done, now):
            self._drop(key)

    def _drop(self, key: str) -> None:
        if (done := self._done.pop(key, None)) is not None:
            self._bytes -= done.size


def _over(held: Mapping[str, _Running | _Done], now: float) -> list[str]:
    """Of the earliest keys, those whose time is over."""
    return [key for key, each in islice(held.items(), KEYS_PER_LOOK) if each.until <= now]


_all: Final[weakref.WeakSet[MemoryResults]] = weakref.WeakSet()


def _reset_all() -> None:
    for results in list(_all):
        results._reset()


after_fork(_reset_all)
