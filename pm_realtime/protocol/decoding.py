"""Decoding of the frames of clients. No frame is expensive, and none raises another error."""

import json
import math
import re
from itertools import chain
from typing import Any, Final, NoReturn

import msgspec

from pm_realtime.exceptions import CommandError
from pm_realtime.protocol.codes import ErrorCode
from pm_realtime.protocol.envelope import Command
from pm_realtime.texts import is_clean

#: Characters of a room's name.
MAX_ROOM_LENGTH: Final = 200
#: Levels of nesting of a frame; the envelope is the first.
MAX_DEPTH: Final = 128
#: Numbers with an exponent that the fast decoder may see in one frame.
MAX_EXPONENTS: Final = 100

_EXPONENT: Final = re.compile(rb"\d[eE][-+]?\d\d")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: A JSON string, or the rest of the data after a quote that is never closed. Possessive
#: quantifiers, so that no byte is looked at twice.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_CONTAINERS: Final = frozenset((dict, list))


def decode(frame: str | bytes | None, *, max_bytes: int) -> Command:
    """The command in ``frame``, a text frame of at most ``max_bytes`` bytes.

    Raises :exc:`~pm_realtime.exceptions.CommandError` and no other error, whatever the frame holds.
    """
    size = 0 if frame is None else len(frame)
    if isinstance(frame, str) and size <= max_bytes:
        try:
            data = frame.encode()
        except UnicodeEncodeError:
            raise _not_json("a text that is not UTF-8") from None
        size = len(data)
        if size <= max_bytes:
            return _to_command(_parse(frame, data))
    elif size <= max_bytes:
        raise _invalid("Expected a text frame holding a JSON object, got a binary frame.")
    raise CommandError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"Expected a message of at most {max_bytes} bytes, got {size} or more.",
    )


def check_room(room: object) -> str:
    """``room``, if it can be the name of a room.

    Raises :exc:`~pm_realtime.exceptions.CommandError` with ``INVALID_ROOM``.
    """
    if isinstance(room, str) and 0 < len(room) <= MAX_ROOM_LENGTH and is_clean(room):
        return room
    raise CommandError(
        ErrorCode.INVALID_ROOM,
        f"Expected the name of a room: 1 to {MAX_ROOM_LENGTH} characters, no control characters.",
    )


def _to_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError(text)
    return number


_decoder: Final = msgspec.json.Decoder()
#: Slower for most frames, but without the slow path of msgspec for exponents.
_exponent_decoder: Final = msgspec.json.Decoder(float_hook=_to_float)


def _parse(frame: str, data: bytes) -> Any:
    # Numbers such as `1e-320`: msgspec takes 7 µs for each.
    has_many_exponents = (
        data.count(b"e") + data.count(b"E") > MAX_EXPONENTS
        and len(_EXPONENT.findall(data)) > MAX_EXPONENTS
    )
    try:
        found = (_exponent_decoder if has_many_exponents else _decoder).decode(data)
    except RecursionError:
        if _has_pairs(data):
            raise _too_deep() from None
        raise _not_json("brackets that do not close") from None
    except (msgspec.DecodeError, OverflowError) as error:
        problem = str(error)
    else:
        if type(found) in _CONTAINERS and data.count(b"[") + data.count(b"{") > MAX_DEPTH:
            _check_depth(found)
        return found
    loose = _parse_loosely(frame, problem)
    problem = "A number is out of range, or a text holds half of a surrogate pair."
    raise _invalid(problem, id=_id_of(loose))


def _parse_loosely(frame: str, problem: str) -> Any:
    """The value of ``frame`` by a parser that accepts any number and half a surrogate pair.

    Such a frame is JSON, so it is answered as an invalid message, with its id.
    """

    def refuse(constant: str) -> NoReturn:  # NaN or an infinity, which are not JSON.
        raise _not_json(problem)

    for parse_int in (None, float):  # Python reads no integer of thousands of digits.
        try:
            return json.loads(frame, parse_int=parse_int, parse_constant=refuse)
        except (json.JSONDecodeError, RecursionError):
            break
        except ValueError:
            continue
    raise _not_json(problem)


def _check_depth(value: Any) -> None:
    """Refuse values that are nested more deeply than an encoder could write again."""
    containers = [value]
    for _ in range(MAX_DEPTH):
        children = chain.from_iterable(
            [each.values() if type(each) is dict else each for each in containers]
        )
        containers = [child for child in children if type(child) in _CONTAINERS]
        if not containers:
            return
    raise _too_deep()


def _has_pairs(data: bytes) -> bool:
    """Whether there are as many closing brackets as opening ones, outside of strings."""
    rest = _STRING.sub(b"", data)
    return rest.count(b"[") == rest.count(b"]") and rest.count(b"{") == rest.count(b"}")


def _id_of(data: Any) -> str | None:
    """The id of a refused message, if it has one that can be sent back."""
    id = data.get("id") if isinstance(data, dict) else None
    return id if isinstance(id, str) and not _SURROGATE.search(id) else None


def _to_command(data: Any) -> Command:
    if not isinstance(data, dict):
        raise _invalid("Expected a JSON object with `type` and `timestamp`.")
    known_id = _id_of(data)
    if not isinstance(data.get("type"), str):
        raise _invalid("Expected `type` to be a string.", id=known_id)
    timestamp = data.get("timestamp")
    if not isinstance(timestamp, int | float) or isinstance(timestamp, bool):
        raise _invalid("Expected `timestamp` to be a number (ms since the epoch).", id=known_id)
    if "id" in data and known_id is None:
        raise _invalid("Expected `id`, where it is given, to be a string.")
    if not isinstance(data.get("room", ""), str):
        raise _invalid("Expected `room`, where it is given, to be a string.", id=known_id)
    return Command(
        type=data["type"], payload=data.get("payload"), id=known_id, room=data.get("room")
    )


def _not_json(found: str) -> CommandError:
    return CommandError(ErrorCode.PARSE_ERROR, f"Expected JSON: {found}.")


def _invalid(message: str, *, id: str | None = None) -> CommandError:
    return CommandError(ErrorCode.INVALID_MESSAGE, message, id=id)


def _too_deep() -> CommandError:
    return _invalid(f"Expected at most {MAX_DEPTH} levels of nesting, got more.")
