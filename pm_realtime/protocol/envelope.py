"""Envelopes, the JSON objects of the wire protocol, and their encoding."""

import time
from typing import Any, Final

import msgspec
import orjson

from pm_realtime.exceptions import CommandError, PayloadError
from pm_realtime.protocol.payloads import JSON_OPTIONS, to_json_type, to_plain
from pm_realtime.texts import plain_text


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message as it stands on the wire. ``timestamp`` is in ms since the epoch.

    ``room`` and ``to`` name the stream through which it reaches a client: a room, or ``user``,
    ``role:<name>`` or ``all``.
    """

    type: str
    payload: Any = None
    timestamp: int
    id: str | None = None
    room: str | None = None
    to: str | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command: an envelope from a client that asks for something.

    ``room`` is None in a command that is not about a room. The handler of a site's own command also
    gets ``user`` (as in ``request.user``), its ``role``, None for an anonymous connection, and the
    ``connection_id`` of its sender. ``is_volatile``: the client wants nothing of it to be kept.
    """

    type: str
    payload: Any = None
    id: str | None = None
    room: str | None = None
    user: Any = None
    role: str | None = None
    connection_id: str = ""
    is_volatile: bool = False


def make_envelope(
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    room: str | None = None,
    to: str | None = None,
) -> Envelope:
    """An envelope with the present time.

    Raises ``ValueError`` if ``type`` is not a string of at least one character, or ``id`` is
    neither a string nor None.
    """
    text = type if type.__class__ is str else plain_text(type)
    if not text:
        raise ValueError(f"type must be a non-empty string, got {type!r}.")
    if id.__class__ is not str and id is not None and (id := plain_text(given := id)) is None:
        raise ValueError(f"id must be a string or None, got {given!r}.")
    return Envelope(
        type=text,
        payload=payload,
        timestamp=time.time_ns() // 1_000_000,
        id=id,
        room=room,
        to=to,
    )


def error_payload(error: CommandError) -> dict[str, Any]:
    """The payload of the ``error`` envelope that answers ``error``."""
    room = {} if error.room is None else {"room": error.room}
    code = plain_text(error.code) or str(error.code)
    return {"code": code, "message": error.message, **room, **error.details}


_encoder: Final = msgspec.json.Encoder()


def encode(envelope: Envelope) -> str:
    """The text frame of ``envelope``, with its payload as Django's ``JsonResponse`` writes it.

    Beyond that it writes sets as arrays, records (dataclasses, ``Struct``, attrs) as objects,
    members of enums as their values, bytes in base64, and NaN and infinity as null.

    Raises :exc:`~pm_realtime.exceptions.PayloadError`.
    """
    if (payload := envelope.payload) is None:
        return _encode_plainly(envelope)
    fields = {"type": envelope.type, "payload": payload, "timestamp": envelope.timestamp}
    if (id := envelope.id) is not None:
        fields["id"] = id
    if (room := envelope.room) is not None:
        fields["room"] = room
    if (to := envelope.to) is not None:
        fields["to"] = to
    try:
        return orjson.dumps(fields, to_json_type, JSON_OPTIONS).decode()
    except orjson.JSONEncodeError:
        return _encode_plainly(envelope)


def _encode_plainly(envelope: Envelope) -> str:
    """As :func:`encode`, also for keys that are no texts, great numbers and deep nesting."""
    try:
        if envelope.payload is not None:
            envelope = msgspec.structs.replace(envelope, payload=to_plain(envelope.payload))
        return _encoder.encode(envelope).decode()
    except RecursionError as error:
        raise _payload_error(envelope, "it holds itself, or is nested too deeply") from error
    except (TypeError, ValueError) as error:
        raise _payload_error(envelope, str(error).rstrip(".")) from error


def _payload_error(envelope: Envelope, why: str) -> PayloadError:
    return PayloadError(
        f"The payload of {envelope.type!r} cannot be written as JSON: {why}. "
        "Pass dicts, lists, texts, numbers, booleans, None, dates, Decimals and UUIDs."
    )
