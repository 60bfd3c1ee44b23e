"""Rates in the notation of Django REST framework (``"60/m"``)."""

import re
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


def is_rate(value: object) -> bool:
    return isinstance(value, str) and _parse(value) is not None


def parse_rate(text: str) -> Rate:
    """The rate in ``"60/m"``, ``"5/second"`` or ``"1000/hour"``. Raises ``ValueError``."""
    rate = _parse(text) if isinstance(text, str) else None
    if rate is None:
        expected = "a count of at least 1, a slash and s, m, h or d, such as '60/m'"
        raise ValueError(f"expected {expected}, got {text!r}")
    return rate


@lru_cache(maxsize=32)
def _parse(text: str) -> Rate | None:
    found = _RATE.fullmatch(text)
    return found and Rate(int(found[1]), _UNITS[found[2]])
