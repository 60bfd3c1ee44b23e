"""Rates in the notation of Django REST framework (``"60/m"``) and the window that counts them."""

import re
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_UNITS: Final = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}
_RATE: Final = re.compile(rf"([1-9]\d*)/({'|'.join(_UNITS)})")


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` messages in any ``seconds`` seconds."""

    count: int
    seconds: int


@lru_cache(maxsize=32)
def parse_rate(text: str) -> Rate:
    """The rate that ``"60/m"`` (or ``"5/second"``, ``"1000/hour"``) names.

    Raises ``ValueError`` with a sentence that says what was expected.
    """
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            f"expected a count of at least 1, a slash and s, m, h or d, such as '60/m', "
            f"got {text!r}"
        )
    return Rate(int(found[1]), _UNITS[found[2]])


class RateLimiter:
    """A sliding window for one connection: exact, as only the times of the last ``count`` count."""

    __slots__ = ("_refused", "_taken")

    #: However low the rate, this many refusals in a window are let pass before it is abuse.
    PATIENCE: Final = 10

    def __init__(self) -> None:
        self._taken: deque[float] = deque()
        self._refused: deque[float] = deque()

    def take(self, rate: Rate, now: float) -> float:
        """Count a message at ``now`` (seconds). 0 where it fits, else the seconds until one does.

        A refused message takes nothing from the window.
        """
        _forget(self._taken, now - rate.seconds)
        if len(self._taken) < rate.count:
            self._taken.append(now)
            return 0.0
        _forget(self._refused, now - rate.seconds)
        self._refused.append(now)
        return self._taken[len(self._taken) - rate.count] + rate.seconds - now

    def is_abused(self, rate: Rate) -> bool:
        """Whether more was refused within one window than a whole window would have let pass."""
        return len(self._refused) > max(rate.count, self.PATIENCE)


def _forget(times: deque[float], before: float) -> None:
    while times and times[0] <= before:
        times.popleft()
