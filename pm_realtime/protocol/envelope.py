"""Wire protocol, version 1: pure encoding and decoding, no I/O.

One JSON object (an envelope) a text frame, both ways. Names on the wire are camelCase.
"""

import json
import math
import re
import time
import unicodedata
from enum import IntEnum, StrEnum
from itertools import chain
from typing import Any, Final, NoReturn

import msgspec
from django.core.serializers.json import DjangoJSONEncoder

from pm_realtime.exceptions import CommandError, PayloadError

SUBPROTOCOL: Final = "pm-realtime.v1"
#: The same, but a frame to the client may also hold a JSON array of envelopes.
BATCH_SUBPROTOCOL: Final = f"{SUBPROTOCOL}.batch"

#: What a client is told of a mistake or an outage on our side.
INTERNAL_ERROR: Final = "Something went wrong on our side."

MAX_ROOM_LENGTH: Final = 200
MAX_DEPTH: Final = 128


class MessageType(StrEnum):
    """The types this package itself sends or understands; a site pushes any other it likes."""

    PING = "ping"
    PONG = "pong"
    CONNECTED = "connected"
    SUBSCRIBE = "subscribe"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBE = "unsubscribe"
    UNSUBSCRIBED = "unsubscribed"
    MESSAGE = "message"
    NOTIFICATION = "notification"
    BROADCAST = "broadcast"
    ERROR = "error"


class ErrorCode(StrEnum):
    """Why a command was refused. ``retry``: the same command may succeed later."""

    retry: bool

    def __new__(cls, code: str, retry: bool) -> "ErrorCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.retry = retry
        return member

    PARSE_ERROR = "PARSE_ERROR", False
    INVALID_MESSAGE = "INVALID_MESSAGE", False
    UNKNOWN_TYPE = "UNKNOWN_TYPE", False
    INVALID_PAYLOAD = "INVALID_PAYLOAD", False
    INVALID_ROOM = "INVALID_ROOM", False
    AUTH_REQUIRED = "AUTH_REQUIRED", False
    FORBIDDEN = "FORBIDDEN", False
    NOT_IN_ROOM = "NOT_IN_ROOM", False
    ROOM_LIMIT = "ROOM_LIMIT", False
    ROOM_FULL = "ROOM_FULL", True
    RATE_LIMITED = "RATE_LIMITED", True
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE", False
    INTERNAL_ERROR = "INTERNAL_ERROR", True


class CloseCode(IntEnum):
    """Why the server ended a connection; :func:`may_reconnect` tells what a client does then."""

    HEARTBEAT_LOST = 4001
    TOO_SLOW = 4002
    RATE_LIMITED = 4003
    RESTARTING = 4012
    OVERLOADED = 4013
    SESSION_ENDED = 4501
    REPLACED = 4502
    DISCONNECTED = 4503
    USER_GONE = 4504
    TOO_MANY_CONNECTIONS = 4505


def may_reconnect(code: int) -> bool:
    """Whether a client reconnects by itself after a close with ``code`` that it did not ask for."""
    return not (code in (1002, 1003) or 1007 <= code <= 1010 or 4500 <= code <= 4999)


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message as it stands on the wire. ``timestamp`` is in ms since the epoch."""

    type: str
    payload: Any = None
    timestamp: int
    id: str | None = None
    room: str | None = None
    offset: int | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope from a client, checked as far as every command needs it."""

    type: str
    payload: Any = None
    id: str | None = None


def make_envelope(
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    room: str | None = None,
    offset: int | None = None,
) -> Envelope:
    """An envelope with the time of now.

    Raises ``ValueError`` where ``type`` is not a text of at least one character or ``id`` is
    neither a text nor None.
    """
    if not isinstance(type, str) or not type:
        raise ValueError(f"type must be a non-empty string, got {type!r}.")
    if id is not None and not isinstance(id, str):
        raise ValueError(f"id must be a string or None, got {id!r}.")
    return Envelope(
        type=str(type),
        payload=payload,
        timestamp=time.time_ns() // 1_000_000,
        id=id,
        room=room,
        offset=offset,
    )


def error_payload(error: CommandError) -> dict[str, Any]:
    """The payload of the ``error`` envelope that answers ``error``."""
    payload: dict[str, Any] = {"code": str(error.code), "message": error.message}
    if error.room is not None:
        payload["room"] = error.room
    return payload | error.details


_encoder: Final = msgspec.json.Encoder(enc_hook=DjangoJSONEncoder().default)


def encode(envelope: Envelope) -> str:
    """The text frame of ``envelope``.

    Beyond JSON's own types it writes dates and times (ISO 8601), ``Decimal``, ``UUID`` and lazy
    translations as text, sets as lists, NaN and infinity as null.

    Raises :exc:`~pm_realtime.exceptions.PayloadError`.
    """
    try:
        return _encoder.encode(envelope).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(
            f"The payload of a {envelope.type!r} push cannot be written as JSON: {error}. "
            "Pass dicts, lists, texts, numbers, booleans, None, dates, Decimals and UUIDs."
        ) from error


def decode(frame: str | bytes | None, *, max_bytes: int) -> Command:
    """The command in ``frame``, a text frame of at most ``max_bytes`` bytes.

    Raises :exc:`~pm_realtime.exceptions.CommandError` and nothing else, whatever the frame holds.
    """
    if not isinstance(frame, str):
        if frame is not None and len(frame) > max_bytes:
            raise _too_large(len(frame), max_bytes)
        raise _invalid("Expected a text frame holding a JSON object, got a binary frame.")
    if len(frame) > max_bytes:
        raise _too_large(len(frame), max_bytes)
    try:
        data = frame.encode()
    except UnicodeEncodeError:
        raise _not_json("a text that is not UTF-8") from None
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    return _to_command(_parse(frame, data))


def check_room(room: object) -> str:
    """``room``, where it can be the name of one.

    Raises :exc:`~pm_realtime.exceptions.CommandError` with ``INVALID_ROOM``.
    """
    if isinstance(room, str) and 0 < len(room) <= MAX_ROOM_LENGTH and _is_clean(room):
        return room
    raise CommandError(
        ErrorCode.INVALID_ROOM,
        f"Expected the name of a room: 1 to {MAX_ROOM_LENGTH} characters, no control characters.",
    )


def _is_clean(text: str) -> bool:
    return text.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


#: Numbers with an exponent that a frame may have before they are read in another way.
MAX_EXPONENTS: Final = 100
_EXPONENT: Final = re.compile(rb"\d[eE][-+]?\d\d")


def _to_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError(text)
    return number


_decoder: Final = msgspec.json.Decoder()
_patient: Final = msgspec.json.Decoder(float_hook=_to_float)


def _has_costly_numbers(data: bytes) -> bool:
    """Whether there are many numbers such as ``1e-320``: msgspec takes 7 µs for each."""
    return (
        data.count(b"e") + data.count(b"E") > MAX_EXPONENTS
        and len(_EXPONENT.findall(data)) > MAX_EXPONENTS
    )


def _parse(frame: str, data: bytes) -> Any:
    try:
        found = (_patient if _has_costly_numbers(data) else _decoder).decode(data)
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
    """What a parser finds that lets pass what JSON can write and no program can carry on."""
    for parse_int in (None, float):  # Python reads no integer of thousands of digits.
        try:
            return json.loads(frame, parse_int=parse_int, parse_constant=_refuse_constant)
        except (json.JSONDecodeError, _NoNumber, RecursionError):
            break
        except ValueError:
            continue
    raise _not_json(problem)


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


_CONTAINERS: Final = frozenset((dict, list))


def _check_depth(value: Any) -> None:
    """Refuse what is nested more deeply than an encoder could follow on its way out."""
    containers = [value]
    for _ in range(MAX_DEPTH):
        children = chain.from_iterable(
            [each.values() if type(each) is dict else each for each in containers]
        )
        containers = [child for child in children if type(child) in _CONTAINERS]
        if not containers:
            return
    raise _too_deep()


#: A text, or what is left of one that does not end: so no text is looked at twice.
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)


def _has_pairs(data: bytes) -> bool:
    """Whether each bracket outside of texts has one to close it."""
    rest = _TEXT.sub(b"", data)
    return rest.count(b"[") == rest.count(b"]") and rest.count(b"{") == rest.count(b"}")


def _too_deep() -> CommandError:
    return _invalid(f"Expected at most {MAX_DEPTH} levels of nesting, got more.")


class _NoNumber(Exception):
    """``NaN`` or an infinity, which are no JSON."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NoNumber(name)


def _id_of(data: Any) -> str | None:
    """The id of a message that is refused as a whole, where one can be read and answered."""
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
    offset = data.get("offset", 0)
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise _invalid("Expected `offset`, where it is given, to be an integer.", id=known_id)
    return Command(type=data["type"], payload=data.get("payload"), id=known_id)


def _not_json(found: str) -> CommandError:
    return CommandError(ErrorCode.PARSE_ERROR, f"Expected JSON: {found}.")


def _invalid(message: str, *, id: str | None = None) -> CommandError:
    return CommandError(ErrorCode.INVALID_MESSAGE, message, id=id)


def _too_large(size: int, max_bytes: int) -> CommandError:
    return CommandError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"Expected a message of at most {max_bytes} bytes, got {size} or more.",
    )
