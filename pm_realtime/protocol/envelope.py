"""Envelopes, the JSON objects of the wire protocol, and their encoding."""

import time
from typing import Any, Final

import msgspec
from django.core.serializers.json import DjangoJSONEncoder

from pm_realtime.exceptions import CommandError, PayloadError
from pm_realtime.texts import plain_text


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message as it stands on the wire. ``timestamp`` is in ms since the epoch."""

    type: str
    payload: Any = None
    timestamp: int
    id: str | None = None
    room: str | None = None
    offset: int | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope from a client, with the fields that commands use."""

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
    """An envelope with the present time.

    Raises ``ValueError`` if ``type`` is not a string of at least one character, or ``id`` is
    neither a string nor None.
    """
    text = plain_text(type)
    if not text:
        raise ValueError(f"type must be a non-empty string, got {type!r}.")
    if id is not None and (id := plain_text(given := id)) is None:
        raise ValueError(f"id must be a string or None, got {given!r}.")
    return Envelope(
        type=text,
        payload=payload,
        timestamp=time.time_ns() // 1_000_000,
        id=id,
        room=room,
        offset=offset,
    )


def error_payload(error: CommandError) -> dict[str, Any]:
    """The payload of the ``error`` envelope that answers ``error``."""
    room = {} if error.room is None else {"room": error.room}
    return {"code": str(error.code), "message": error.message, **room, **error.details}


_encoder: Final = msgspec.json.Encoder(enc_hook=DjangoJSONEncoder().default)


def encode(envelope: Envelope) -> str:
    """The text frame of ``envelope``.

    Beyond JSON's own types it writes dates and times (ISO 8601), ``Decimal``, ``UUID`` and lazy
    translations as strings, sets as arrays, NaN and infinity as null.

    Raises :exc:`~pm_realtime.exceptions.PayloadError`.
    """
    try:
        return _encoder.encode(envelope).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(
            f"The payload of a {envelope.type!r} push cannot be written as JSON: {error}. "
            "Pass dicts, lists, texts, numbers, booleans, None, dates, Decimals and UUIDs."
        ) from error
