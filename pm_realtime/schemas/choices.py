"""The values among which there is a choice at some path of a type, for error messages."""

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import inspect

#: Values that a message names at most.
MAX_CHOICES: Final = 20

_PARTS: Final = re.compile(r"\[(\d+|\.\.\.)\]|([^.\[]+)")


def choices_at(info: inspect.Type, path: str) -> list[Any]:
    """The values that an enum, a ``Literal`` or a tag has at ``path``; empty if they are many."""
    found = list(_members(info))
    for index, name in _PARTS.findall(path):
        step = _item if index else _field
        parts = [part for each in found for part in step(each, index or name)]
        found = [member for part in parts for member in _members(part)]
    values = [value for each in found for value in _values(each)]
    return values if len(values) <= MAX_CHOICES else []


def _members(info: Any) -> Iterator[Any]:
    """``info``, or the members of a union."""
    if isinstance(info, inspect.Metadata):
        yield from _members(info.type)
    elif isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from _members(each)
    else:
        yield info


def _item(info: Any, index: str) -> Iterator[Any]:
    if isinstance(info, inspect.DictType):
        yield info.value_type if index == "..." else inspect.AnyType()
    elif isinstance(info, inspect.TupleType) and index != "...":
        yield from info.item_types[int(index) :][:1]
    elif isinstance(info, inspect.NamedTupleType) and index != "...":
        yield from (field.type for field in info.fields[int(index) :][:1])
    elif hasattr(info, "item_type"):
        yield info.item_type


def _field(info: Any, name: str) -> Iterator[Any]:
    if getattr(info, "tag_field", None) == name:
        yield inspect.LiteralType((info.tag,))
    for field in getattr(info, "fields", ()):
        if field.encode_name == name:
            yield field.type


def _values(info: Any) -> Iterator[Any]:
    if isinstance(info, inspect.EnumType):
        yield from (member.value for member in info.cls)
    elif isinstance(info, inspect.LiteralType):
        yield from info.values
