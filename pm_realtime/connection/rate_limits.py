"""Rates in the notation of Django REST framework (``"60/m"``) and what counts against them."""

import re
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_UNITS: Final = {
    name: seconds
    for names, seconds in (
        ("s sec secs second seconds", 1),
        ("m min mins minute minutes", 60),
        ("h hour hours", 3600),
        ("d day days", 86400),
    )
    for name in names.split()
}
_RATE: Final = re.compile(rf"([1-9]\d*)/({'|'.join(_UNITS)})")


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` messages in any ``seconds`` seconds."""

    count: int
    seconds: int


def parse_rate(text: str) -> Rate:
    """The rate that ``"60/m"`` (or ``"5/second"``, ``"1000/hour"``) names.

    Raises ``ValueError`` with a sentence that says what was expected.
    """
    rate = _parse(text) if isinstance(text, str) else None
    if rate is None:
        raise ValueError(
            f"expected a count of at least 1, a slash and s, m, h or d, such as '60/m', "
            f"got {text!r}"
        )
    return rate


@lru_cache(maxsize=32)
def _parse(text: str) -> Rate | None:
    found = _RATE.fullmatch(text)
    return found and Rate(int(found[1]), _UNITS[found[2]])


class RateLimiter:
    """A sliding window for one connection: exact, as only the times of the last ``count`` count."""

    __slots__ = ("_malformed", "_malformed_since", "_refused", "_taken")

    #: Refusals in a window that are never abuse, however low the rate is.
    MIN_REFUSALS: Final = 10

    def __init__(self) -> None:
        # Lists, as an empty deque is 700 bytes: most connections say next to nothing.
        self._taken: list[float] | deque[float] = []
        self._refused: list[float] | deque[float] = []
        self._malformed = 0
        self._malformed_since = 0.0

    def take(self, rate: Rate, now: float) -> float:
        """Count a message at ``now`` (seconds). 0 where it fits, else the seconds until one does.

        A refused message takes nothing from the window.
        """
        self._taken = _forget(self._taken, rate.seconds, now)
        if len(self._taken) < rate.count:
            self._taken.append(now)
            return 0.0
        self._refused = _forget(self._refused, rate.seconds, now)
        self._refused.append(now)
        return self._taken[len(self._taken) - rate.count] + rate.seconds - now

    def count_malformed(self, rate: Rate, now: float) -> int:
        """Count a message that is none; how many of them there were in this window."""
        if now - self._malformed_since >= rate.seconds:
            self._malformed, self._malformed_since = 0, now
        self._malformed += 1
        return self._malformed

    def is_abused(self, rate: Rate) -> bool:
        """Whether more was refused within one window than a whole window would have let pass."""
        return len(self._refused) > max(rate.count, self.MIN_REFUSALS)


class Meter:
    """A rate for each of many keys, in one number a key.

    Each has a bucket of ``rate.count`` that fills up again evenly over ``rate.seconds``: so many
    at once, and then one whenever one more fits. Of the keys the ``size`` that came last are
    known; one that is forgotten has a full bucket.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        #: When the bucket of a key will be full, in the order in which the keys came last.
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, rate: Rate, now: float) -> float:
        """Count one of ``key`` at ``now`` (seconds). 0 where it fits, else seconds until it does.

        What is refused takes nothing from the bucket.
        """
        step = rate.seconds / rate.count
        full_at = min(max(self._full_at.pop(key, now), now), now + rate.seconds)
        wait = full_at + step - rate.seconds - now
        self._full_at[key] = full_at if wait > _ROUNDING else full_at + step
        self._forget(now)
        return wait if wait > _ROUNDING else 0.0

    def clear(self) -> None:
        """Forget all."""
        self._full_at.clear()

    def _forget(self, now: float) -> None:
        """Drop the key that came first, where it has a full bucket or there are too many."""
        first = next(iter(self._full_at))
        if self._full_at[first] <= now or len(self._full_at) > self._size:
            del self._full_at[first]


_ROUNDING: Final = 1e-6


#: Times from which on a list takes long to forget its first.
_MANY: Final = 1000


def _forget(
    times: list[float] | deque[float], seconds: int, now: float
) -> list[float] | deque[float]:
    """``times`` without those that are over."""
    # The same sum as in `take`, so that rounding cannot let the two disagree.
    over = 0
    while over < len(times) and times[over] + seconds <= now:
        over += 1
    if isinstance(times, list) and len(times) < _MANY:
        del times[:over]
        return times
    times = deque(times) if isinstance(times, list) else times
    for _ in range(over):
        times.popleft()
    return times
