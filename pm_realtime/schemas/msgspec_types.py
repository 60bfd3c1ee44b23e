"""Types that msgspec reads: Struct, dataclass, TypedDict, NamedTuple, and plain ones."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import inspect

from pm_realtime.protocol import to_json, to_json_type
from pm_realtime.schemas.defaults import fill_defaults, leaves_defaults
from pm_realtime.schemas.markers import Marker, Replaced, hook, model_type
from pm_realtime.schemas.messages import from_msgspec
from pm_realtime.schemas.payload_types import InvalidPayload, PayloadType
from pm_realtime.schemas.pydantic_types import PydanticType, has_model, is_model

#: Written as undeclared payloads have them, and not as msgspec would.
_TEXTS: Final = (bytes, bytearray, date, datetime, time, timedelta, Decimal, UUID)
#: The path of the value in the record of :class:`MsgspecType`.
_ROOT: Final = "[0]"


class Anything(PayloadType):
    """The type of a payload of which the site says nothing."""

    def convert(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> str:
        try:
            return to_json(value).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPayload(f"{error}") from error


class MsgspecType(PayloadType):
    def __init__(self, annotation: Any) -> None:
        super().__init__(annotation)
        with readable(annotation) as found:
            self._decoder = msgspec.json.Decoder(found, dec_hook=hook)
            #: For messages alone.
            self._info = inspect.type_info(found)
            parts = list(_types_in(self._info))
            _check_known(parts)
            self._leaves_defaults = any(map(leaves_defaults, parts))
            # msgspec keeps what it knows of a type in a class; without one, it would find it anew
            # for each value of a union, a dict or a list.
            self._record = msgspec.defstruct("Record", [("value", found)], array_like=True)
            msgspec.json.Decoder(self._record, dec_hook=hook)

    def convert(self, value: Any) -> Any:
        try:
            record = msgspec.convert((value,), self._record, str_keys=True, dec_hook=hook)
        except msgspec.ValidationError as error:
            raise from_msgspec(error, self._info, root=_ROOT) from None
        except RecursionError:
            raise InvalidPayload("Expected less nesting.") from None
        except (TypeError, OverflowError, SystemError):  # Of a great number, before msgspec 0.22.
            raise InvalidPayload("Expected another value.") from None
        return self._whole(record.value)  # type: ignore[attr-defined]

    def encode(self, value: Any) -> str:
        try:
            # As JSON, and then as the type has it: an instance may have more fields.
            return _write(self._whole(self._decoder.decode(_write(value)))).decode()
        except msgspec.ValidationError as error:
            raise from_msgspec(error, self._info) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPayload(f"{error}") from error

    def _whole(self, value: Any) -> Any:
        if self._leaves_defaults:
            fill_defaults(value)
        return value


@contextmanager
def readable(annotation: Any) -> Iterator[Any]:
    """``annotation`` as msgspec can read it, for as long as the block runs.

    It has a :class:`Marker` where msgspec would refuse, in the fields of its classes too.
    """
    try:
        replaced = Replaced(annotation, payload_type)
    except (NameError, AttributeError, TypeError, ValueError, RecursionError, SyntaxError):
        yield annotation  # A name that does not exist, say: msgspec says what is wrong.
        return
    with replaced.in_classes():
        yield replaced.annotation


def payload_type(annotation: Any) -> PayloadType:
    """The type of an annotation. Raises ``TypeError`` if it cannot be read, with a sentence."""
    if annotation is Any or annotation is object:
        return Anything(annotation)
    refusal = None
    if has_model(annotation):
        try:
            return PydanticType(annotation)
        except TypeError as error:
            refusal = error  # Unless msgspec reads it: a union of a model and a Struct.
    try:
        return MsgspecType(annotation)
    except Exception as error:
        raise TypeError(str(refusal or error)) from error


def _types_in(info: inspect.Type) -> Iterator[inspect.Type]:
    """``info`` and the types in it."""
    waiting: list[Any] = [info]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, tuple):
            waiting.extend(found)
        elif isinstance(found, inspect.Type | inspect.Field) and id(found) not in seen:
            seen.add(id(found))
            waiting.extend(getattr(found, name) for name in found.__struct_fields__)
            if isinstance(found, inspect.Type):
                yield found


def _check_known(parts: Iterable[inspect.Type]) -> None:
    """Raise ``TypeError`` if a class in ``parts`` is none of which a value of JSON can be."""
    for each in parts:
        if isinstance(each, inspect.CustomType):
            _check_custom(each.cls)


def _check_custom(kind: type) -> None:
    if is_model(kind):
        model_type(kind)
    elif not (isinstance(kind, Marker) or kind is object):
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} is no type of values of JSON")


def _write(value: Any) -> bytes:
    try:
        plain = msgspec.to_builtins(
            value, builtin_types=_TEXTS, str_keys=True, enc_hook=_to_builtin
        )
    except TypeError:
        plain = value  # It has a key that msgspec does not write, such as a lazy text.
    return to_json(plain)


def _to_builtin(value: Any) -> Any:
    if is_model(type(value)):
        return msgspec.json.decode(payload_type(type(value)).encode(value))
    return to_json_type(value)
