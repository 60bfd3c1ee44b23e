"""The messages of rooms with presence: the members, and the state that one shows of itself."""

from typing import Any, Final

from pm_realtime.contract.builder import Builder, Channel
from pm_realtime.contract.envelopes import (
    COUNT,
    TEXT,
    answer,
    from_client,
    pushed,
    record,
)
from pm_realtime.contract.json_schema import Schema
from pm_realtime.contract.protocol_messages import ERROR
from pm_realtime.protocol import MAX_STATE_BYTES, MAX_STATE_TTL_SECONDS, MessageType

_STATE: Final[Schema] = {
    "type": ["object", "null"],
    "description": f"Up to {MAX_STATE_BYTES:,} bytes of JSON. With null it has none.",
}
_TTL: Final[Schema] = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MAX_STATE_TTL_SECONDS,
    "description": "Seconds after which the state becomes null by itself.",
}
_REV: Final[Schema] = {**COUNT, "description": "The number of the last change that is in it."}


def picture_schema(info: Schema) -> Schema:
    """The schema of all that a client is told in the answer to its ``subscribe``."""
    return record(_picture(_member(info)), optional=["members", "me"])


def add_presence(builder: Builder, channel: Channel, room: Schema, info: Schema) -> None:
    """Add the messages of a room with presence."""
    name = MessageType.PRESENCE
    key = f"{name}.{channel.key}"
    member = builder.add_schema(f"{key}.member", _member(info))
    words: dict[str, Any] = {"tags": [{"name": "presence"}]}
    changes = builder.add_message(key, name, pushed(name, _changes(room, member), room))
    channel.send(
        key,
        changes,
        summary="Members have come, left or changed. Their number alone, if they are too many.",
        **words,
    )
    asked = builder.add_message(
        f"{key}.ask", name, from_client(name, record({"room": room})), is_answered=True
    )
    picture = record({"room": room, **_picture(member)}, optional=["members", "me"])
    found = builder.add_message(f"{key}.answer", name, answer(name, picture), is_answered=True)
    text = "Asks who is in the room, as a client does that has missed a change."
    channel.receive(f"{key}.ask", asked, [found, ERROR], summary=text, **words)
    payload = record({"room": room, "state": _STATE, "ttl": _TTL}, optional=["ttl"])
    state = builder.add_message(f"{key}.state", name, from_client(name, payload), is_answered=True)
    text = "Shows a state of the sender's own member to the others."
    done = answer(MessageType.ACK, record({"room": room}))
    done_key = builder.add_message(f"{key}.ack", MessageType.ACK, done, is_answered=True)
    channel.receive(f"{key}.state", state, [done_key, ERROR], summary=text, **words)


def _member(info: Schema) -> Schema:
    return record(
        {
            "key": {**TEXT, "description": "Unique in the room."},
            "userId": {"type": ["string", "integer", "null"]},
            "info": info,
            "since": {**COUNT, "description": "Milliseconds since the epoch."},
            "connections": {**COUNT, "description": "How many it has in the room."},
            "state": {"type": "object", "description": "What it shows of itself."},
        },
        optional=["state"],
    )


def _picture(member: Schema) -> dict[str, Schema]:
    return {
        "rev": _REV,
        "total": COUNT,
        "members": {
            **_list_of(member),
            "description": "Missing if the client may not see them, and if they are too many.",
        },
        "me": {**TEXT, "description": "The key of the client's own member, if it is one."},
    }


def _changes(room: Schema, member: Schema) -> Schema:
    text = "The number before. A client that does not know it has to ask."
    return record(
        {
            "room": room,
            "rev": _REV,
            "prev": {**COUNT, "description": text},
            "total": COUNT,
            "joined": _list_of(member),
            "updated": _list_of(member),
            "left": {**_list_of(TEXT), "description": "The keys of those who are gone."},
            "members": {**_list_of(member), "description": "All, instead of the changes."},
            "me": {
                "type": ["string", "null"],
                "description": "The key of the client's own member, if its role has changed.",
            },
        },
        optional=["joined", "updated", "left", "members", "me"],
    )


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}
