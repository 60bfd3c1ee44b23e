"""Values of a site in the types that JSON has, as Django's ``JsonResponse`` writes them.

An instance of a subclass of ``dict``, ``list``, ``str``, ``int`` or ``float`` stands for what its
``items()``, its iteration or its plain value says.
"""

import base64
import dataclasses
import json
from collections.abc import Awaitable, Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from typing import Any, Final
from uuid import UUID

import msgspec
import orjson
from django.core.files import File
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Manager, Model, QuerySet
from django.utils.functional import LazyObject, Promise

_default: Final = DjangoJSONEncoder().default
#: Subclasses, dates and records are left to the hook: orjson would write them by their insides.
JSON_OPTIONS: Final = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))


def to_json(value: Any) -> bytes:
    """The JSON text of ``value``, as ``encode`` writes a payload.

    Raises ``TypeError`` or ``ValueError`` with a sentence, and ``RecursionError``.
    """
    try:
        return orjson.dumps(value, to_json_type, JSON_OPTIONS)
    except orjson.JSONEncodeError:
        return msgspec.json.encode(to_plain(value))


def to_json_type(value: Any) -> Any:
    """``value``, which is of no type of JSON, as one that is nearer to JSON; not what it holds.

    Raises ``TypeError`` with a sentence if there is none.
    """
    # By the real type, as a lazy object claims to have the type of the object that it wraps.
    return _convert.dispatch(type(value))(value)


@singledispatch
def _convert(value: Any) -> Any:
    kind = type(value)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__"):
        return _fields(value)
    try:
        return _default(value)
    except TypeError:
        raise TypeError(_refusal(value)) from None


_convert.register(str, str.__str__)
_convert.register(int, int.__int__)
_convert.register(float, float.__float__)
_convert.register(dict, lambda value: dict(value.items()))
_convert.register(Enum, lambda value: value.value)
_convert.register(msgspec.Raw, msgspec.json.decode)
_convert.register(orjson.Fragment, lambda value: orjson.loads(orjson.dumps(value)))
for _array in (list, tuple, set, frozenset):
    _convert.register(_array, list)
for _text in (date, timedelta):  # Also datetimes, which are dates.
    _convert.register(_text, _default)
for _written in (Decimal, UUID, Promise):
    _convert.register(_written, str)


@_convert.register
def _(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(bytes(value)).decode()


@_convert.register
def _(value: time) -> str:
    # Django has no text for times with a time zone.
    return value.isoformat() if value.tzinfo else str(_default(value))


def to_plain(value: Any) -> Any:
    """``value`` and all that it holds in the types of JSON, with texts as keys.

    Raises ``TypeError`` with a sentence, and ``RecursionError`` for a value that holds itself.
    """
    while type(value) not in _SCALARS:
        if type(value) is dict:
            found = {}
            # No comprehension: on Python 3.11 it would halve the depth that can be written.
            for key, each in value.items():
                found[_to_key(key)] = to_plain(each)
            return found
        if type(value) in (list, tuple):
            items = []
            for each in value:
                items.append(to_plain(each))
            return items
        value = to_json_type(value)
    return value


def _to_key(key: Any) -> str:
    """The text of ``key`` as ``json.dumps`` writes it; also of dates, UUIDs and the like."""
    while type(key) not in _SCALARS:
        if isinstance(key, dict | list | tuple):
            kind = type(key).__name__
            raise TypeError(f"a {kind} is no key; use texts, numbers, booleans or None as keys")
        key = to_json_type(key)
    if type(key) is str:
        return key
    return str(key) if type(key) is int else json.dumps(key)


@_convert.register(msgspec.Struct)
def _fields(record: Any) -> Any:
    """The fields of ``record`` under the names, and without those, that msgspec would write."""
    written = msgspec.to_builtins(record, enc_hook=lambda _: None)
    names = {name: name for name in written} if isinstance(written, dict) else {}
    if isinstance(record, msgspec.Struct):
        names = {each.encode_name: each.name for each in msgspec.structs.fields(record)}
    if isinstance(written, list):  # array_like
        tag = written[: len(written) - len(names)]
        return [*tag, *(getattr(record, name) for name in names.values())]
    return {
        key: getattr(record, names[key]) if key in names else each for key, each in written.items()
    }


def _refusal(value: Any) -> str:
    """The sentence for a ``value`` that JSON cannot hold, with the one that it can hold instead."""
    kind = type(value)
    if issubclass(kind, QuerySet | Manager):
        advice = "pass list(queryset.values())"
    elif issubclass(kind, Model | LazyObject):
        advice = "pass the fields that clients need, such as its pk"
    elif issubclass(kind, File):
        advice = "pass its name or its url"
    elif issubclass(kind, Mapping):
        advice = "pass dict(value)"
    elif hasattr(kind, "tolist"):  # Of NumPy and the like.
        advice = "pass value.tolist()"
    elif issubclass(kind, Awaitable):
        advice = "await it; a decorator of an async function has to be async, too"
    elif hasattr(kind, "model_dump"):  # Of pydantic.
        advice = "pass value.model_dump(mode='json'), or declare its type"
    elif issubclass(kind, Iterable):
        advice = "pass list(value)"
    else:
        advice = "pass what clients need of it"
    return f"it holds an object of the type {kind.__name__}; {advice}"
