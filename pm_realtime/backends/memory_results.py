"""The results of commands in the memory of one process."""

import threading
import time
from collections.abc import Callable
from typing import Final

from pm_realtime.backends.results import Claim, ClaimState, Results

#: Bytes of all results. The earliest go first.
RESULTS_MAX_BYTES: Final = 67_108_864


class MemoryResults(Results):
    """A dict under a lock. No method ever awaits anything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        #: By key: the owner while it runs or None, the result, and the monotonic time of its end.
        self._kept: dict[str, tuple[str | None, str | None, float]] = {}

    async def claim(self, key: str, owner: str, ttl_seconds: float) -> Claim:
        with self._lock:
            now = self._clock()
            holder, result, end = self._kept.get(key, (owner, None, 0.0))
            if end > now and holder is None:
                return Claim(ClaimState.DONE, result)
            if end > now and holder != owner:
                return Claim(ClaimState.RUNNING)
            self._kept[key] = (owner, None, now + ttl_seconds)
            return Claim(ClaimState.TAKEN)

    async def keep(self, key: str, owner: str, result: str, ttl_seconds: float) -> None:
        with self._lock:
            if self._kept.get(key, (owner,))[0] == owner:
                self._kept[key] = (None, result, self._clock() + ttl_seconds)

    async def release(self, key: str, owner: str) -> None:
        with self._lock:
            if self._kept.get(key, (None,))[0] == owner:
                del self._kept[key]

    async def forget_all(self) -> None:
        with self._lock:
            self._kept.clear()
