"""Decimals with bounds, which msgspec does not know."""

import operator
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

from pm_realtime.schemas.messages import from_msgspec
from pm_realtime.schemas.payload_types import InvalidPayload

#: By their names in ``msgspec.Meta``: the words for the bounds, and their tests.
_BOUNDS: Final[dict[str, tuple[str, Callable[[Decimal, Decimal], bool]]]] = {
    "gt": ("> {}", operator.gt),
    "ge": (">= {}", operator.ge),
    "lt": ("< {}", operator.lt),
    "le": ("<= {}", operator.le),
    "multiple_of": ("that's a multiple of {}", lambda number, step: number % step == 0),
}


def has_bounds(annotation: Any) -> bool:
    """Whether ``Annotated[…]`` has a ``msgspec.Meta`` with bounds of a number."""
    return any(True for _ in bounds_of(annotation))


def bounds_of(annotation: Any) -> Iterator[tuple[str, Any]]:
    """The bounds in ``Annotated[…]``, by their names in ``msgspec.Meta``."""
    for meta in get_args(annotation)[1:]:
        if isinstance(meta, msgspec.Meta):
            for name in _BOUNDS:
                if (bound := getattr(meta, name)) is not None:
                    yield name, bound


def bounded_decimal(annotation: Any) -> Callable[[Any], Decimal]:
    """The function that makes a ``Decimal`` within the bounds of ``annotation``, or raises."""
    checks = [(*_BOUNDS[name], Decimal(str(bound))) for name, bound in bounds_of(annotation)]

    def convert(value: Any) -> Decimal:
        try:
            number = msgspec.convert(value, Decimal)
        except msgspec.ValidationError as error:
            raise from_msgspec(error) from None
        if not number.is_finite():
            raise InvalidPayload("Expected a finite `decimal`.")
        for words, is_within, bound in checks:
            if not _holds(is_within, number, bound):
                raise InvalidPayload(f"Expected `decimal` {words.format(bound)}.")
        return number

    return convert


def _holds(test: Callable[[Decimal, Decimal], bool], number: Decimal, bound: Decimal) -> bool:
    try:
        return test(number, bound)
    except ArithmeticError:  # The quotient has too many digits.
        return False
