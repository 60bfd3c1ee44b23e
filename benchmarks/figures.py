"""Percentiles, medians and the format of numbers. Pure functions."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of ``ordered`` (rising, not empty) that ``percent`` of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class Figure(NamedTuple):
    """The median of some rounds, with their range."""

    median: float
    low: float
    high: float


def figure(values: Sequence[float]) -> Figure:
    return Figure(statistics.median(values), min(values), max(values))


def number(value: float) -> str:
    """Three significant digits, with thousands separators: 12,345, 123, 12.3, 1.23, 0.012."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 4)}f}"


def spread(found: Figure) -> str:
    """The median, and the range if it differs after rounding."""
    middle, low, high = map(number, found)
    return middle if low == high else f"{middle} ({low} to {high})"
