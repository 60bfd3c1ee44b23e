"""Rates in the notation of Django REST framework (``"60/m"``) and the window that counts them."""

import re
from collections import deque
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

    #: However low the rate, this many refusals in a window are let pass before it is abuse.
    PATIENCE: Final = 10
    #: What is malformed comes from a mistake in a client's code, up to this many a window.
    MALFORMED_PATIENCE: Final = 20_000

    def __init__(self) -> None:
        self._taken: deque[float] = deque()
        self._refused: deque[float] = deque()
        self._malformed = 0
        self._malformed_since = 0.0

    def take(self, rate: Rate, now: float) -> float:
        """Count a message at ``now`` (seconds). 0 where it fits, else the seconds until one does.

        A refused message takes nothing from the window.
        """
        _forget(self._taken, rate.seconds, now)
        if len(self._taken) < rate.count:
            self._taken.append(now)
            return 0.0
        _forget(self._refused, rate.seconds, now)
        self._refused.append(now)
        return self._taken[len(self._taken) - rate.count] + rate.seconds - now

    def take_malformed(self, rate: Rate, now: float) -> bool:
        """Count a message that is none; whether so many in a window are still no flood."""
        if now - self._malformed_since >= rate.seconds:
            self._malformed, self._malformed_since = 0, now
        self._malformed += 1
        return self._malformed <= self.MALFORMED_PATIENCE

    def is_abused(self, rate: Rate) -> bool:
        """Whether more was refused within one window than a whole window would have let pass."""
        return len(self._refused) > max(rate.count, self.PATIENCE)


def _forget(times: deque[float], seconds: int, now: float) -> None:
    # The same sum as in `take`, so that rounding cannot let the two disagree.
    while times and times[0] + seconds <= now:
        times.popleft()
