"""Defaults of dataclasses, which msgspec leaves to the class: then it does not write them."""

import dataclasses
from collections.abc import Iterable
from typing import Any, get_origin

import msgspec
from msgspec import inspect


def leaves_defaults(info: inspect.Type) -> bool:
    """Whether instances that msgspec makes of ``info`` may lack the value of a field."""
    if not isinstance(info, inspect.DataclassType):
        return False
    kind = get_origin(info.cls) or info.cls
    has_defaults = any(each.default is not inspect.NODEFAULT for each in info.fields)
    return has_defaults and dataclasses.is_dataclass(kind) and kind.__dictoffset__ != 0


def fill_defaults(value: Any) -> None:
    """Give the dataclasses in ``value``, which msgspec has made, all of their fields."""
    waiting, seen = [value], set()
    while waiting:
        found = waiting.pop()
        if id(found) not in seen:  # A `__post_init__` may have made a circle.
            seen.add(id(found))
            _fill(found)
            waiting.extend(_parts(found))


def _fill(found: Any) -> None:
    own = getattr(found, "__dict__", None)
    if own is not None and dataclasses.is_dataclass(found):
        for each in dataclasses.fields(found):
            if each.default is not dataclasses.MISSING:
                own.setdefault(each.name, each.default)


def _parts(found: Any) -> Iterable[Any]:
    if isinstance(found, dict):
        return found.values()
    if isinstance(found, list | tuple | set | frozenset):
        return found
    if isinstance(found, msgspec.Struct):
        return [getattr(found, name, None) for name in found.__struct_fields__]
    if dataclasses.is_dataclass(found):
        return [getattr(found, each.name, None) for each in dataclasses.fields(found)]
    return ()
