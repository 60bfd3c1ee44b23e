"""The messages of the protocol itself, as AsyncAPI describes them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pm_realtime.contract.json_schema import Schema
from pm_realtime.protocol import MAX_ROOM_LENGTH

TEXT: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
ROOM: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_ROOM_LENGTH}
USER_ID: Final[Schema] = {"type": ["string", "integer"]}
CURSOR: Final[Schema] = {"type": "string", "description": "A position in a stream."}

_TIMESTAMP: Final[Schema] = {
    "type": "number",
    "description": "Milliseconds since the epoch.",
}
_ID: Final[Schema] = {"type": "string", "description": "A text that the answer has, too."}
_TO: Final[Schema] = {
    "type": "string",
    "description": "For whom it is, if it came through no room: `user`, `role:<name>` or `all`.",
}
_REPLAYED: Final[Schema] = {
    "const": True,
    "description": "The client missed it, or asked for messages of the past.",
}


def record(properties: Mapping[str, Schema], optional: Iterable[str] = (), **words: Any) -> Schema:
    """The schema of an object. All ``properties`` are there, but for the ``optional`` ones."""
    schema: Schema = {"type": "object", "properties": dict(properties)}
    left_out = set(optional)
    if required := [name for name in properties if name not in left_out]:
        schema["required"] = required
    return {**schema, **words}


def from_client(type: str, payload: Schema | None, room: Schema | None = None) -> Schema:
    """The envelope of a command. A ``room`` is that of the envelope.

    A payload that may be null may be missing.
    """
    properties: dict[str, Schema] = {"type": {"const": type}}
    optional = ["id"]
    if room is not None:
        properties["room"] = room
    if payload is not None:
        properties["payload"] = payload
        if _may_be_null(payload):
            optional.append("payload")
    return record({**properties, "id": _ID, "timestamp": _TIMESTAMP}, optional=optional)


def _may_be_null(schema: Schema) -> bool:
    is_anything = not {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"} & set(schema)
    return is_anything or {"type": "null"} in [schema, *schema.get("anyOf", [])]


def answer(type: str, payload: Schema | None, *, has_id: bool = True) -> Schema:
    """The envelope of an answer, which has an id if its command had one."""
    properties: dict[str, Schema] = {"type": {"const": type}}
    if payload is not None:
        properties["payload"] = payload
    optional = [] if has_id else ["id"]
    return record({**properties, "id": _ID, "timestamp": _TIMESTAMP}, optional=optional)


def pushed(type: str, payload: Schema, room: Schema = ROOM) -> Schema:
    """The envelope of what reaches clients through a room or another stream."""
    return record(
        {
            "type": {"const": type},
            "payload": payload,
            "id": _ID,
            "room": room,
            "to": _TO,
            "cursor": CURSOR,
            "replayed": _REPLAYED,
            "timestamp": _TIMESTAMP,
        },
        optional=["payload", "id", "room", "to", "cursor", "replayed"],
    )
