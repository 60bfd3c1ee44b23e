"""The messages of the protocol itself, which every site has, and their channel."""

from typing import Any, Final

from pm_realtime.conf import conf
from pm_realtime.contract.builder import Builder, Channel
from pm_realtime.contract.envelopes import (
    BOOLEAN,
    COUNT,
    CURSOR,
    ROOM,
    TEXT,
    answer,
    from_client,
    pushed,
    record,
)
from pm_realtime.contract.json_schema import Schema
from pm_realtime.protocol import (
    BATCH_SUBPROTOCOL,
    SUBPROTOCOL,
    CloseCode,
    ErrorCode,
    MessageType,
    may_reconnect,
)

#: The keys of messages that answer commands of several channels.
ERROR: Final = MessageType.ERROR.value
ACK: Final = MessageType.ACK.value

_DONE: Final[Schema] = {"const": True}
_CONNECTED: Final = record(
    {
        "userId": {"type": ["string", "integer", "null"]},
        "connectionId": TEXT,
        "role": {"type": ["string", "null"]},
        "heartbeatInterval": {**COUNT, "description": "Milliseconds."},
        "heartbeatTimeout": {**COUNT, "description": "Milliseconds."},
        "idempotencyPeriod": {
            **COUNT,
            "description": "Milliseconds for which a command is known again by its id.",
        },
        "cursors": {
            "type": "object",
            "description": "Where the client's own streams go on, by the `to` of their messages.",
            "additionalProperties": CURSOR,
        },
        "recovered": {
            **BOOLEAN,
            "description": "Whether no message for the user is lost since the last connection.",
        },
    },
    optional=["recovered"],
)
_SUBSCRIBE: Final = record(
    {
        "room": ROOM,
        "since": {**CURSOR, "description": "The room's messages after this cursor are wanted."},
        "last": {**COUNT, "description": "So many of the room's last messages are wanted."},
    },
    optional=["since", "last"],
)
_SUBSCRIBED: Final[dict[str, Schema]] = {
    "room": ROOM,
    "success": _DONE,
    "cursor": CURSOR,
    "recovered": BOOLEAN,
}
_UNSUBSCRIBED: Final = record(
    {
        "room": ROOM,
        "success": _DONE,
        "reason": {**TEXT, "description": "Why the server took the connection out of the room."},
    },
    optional=["reason"],
)
_ERROR: Final = record(
    {
        "code": {
            "anyOf": [
                {"title": "Codes of every site", "enum": [code.value for code in ErrorCode]},
                {"title": "Codes of this site's commands", "type": "string"},
            ]
        },
        "message": TEXT,
        "room": ROOM,
        "path": {
            **TEXT,
            "description": "The part of the payload that does not fit, as in `items[0].amount`.",
        },
        "retryAfter": {**COUNT, "description": "Milliseconds to wait."},
        "data": {"description": "What a command of the site adds."},
    },
    optional=["room", "path", "retryAfter", "data"],
)
_NOTIFICATION: Final[Schema] = {"description": "By convention it has a `title`."}


def connection_channel(builder: Builder) -> Channel:
    """The channel of the WebSocket itself."""
    return builder.add_channel(
        "connection",
        address=f"/{conf.PATH.strip('/')}",
        title="Connection",
        description="The WebSocket, through which all messages travel.",
        bindings={"ws": _binding()},
    )


def add_answers(builder: Builder) -> None:
    """Add the messages that answer commands of every channel."""
    add = builder.add_message
    add(ERROR, ERROR, answer(ERROR, _ERROR, has_id=False), is_answered=True)
    add(ACK, ACK, answer(ACK, record({"duplicate": _DONE})), is_answered=True)


def add_protocol(
    builder: Builder, channel: Channel, declared: set[str], presence: Schema | None
) -> None:
    """Add the messages of the protocol, but for pushes that the site has ``declared`` itself.

    ``presence`` is the schema of the members in the answer to a ``subscribe``; None if no room has
    presence.
    """
    names = MessageType
    add = builder.add_message
    more = {} if presence is None else {"presence": presence}
    subscribed = record({**_SUBSCRIBED, **more}, optional=["cursor", "recovered", "presence"])
    add("ping", names.PING, from_client(names.PING, None), is_answered=True)
    add("pong", names.PONG, answer(names.PONG, None, has_id=False), is_answered=True)
    add("connected", names.CONNECTED, answer(names.CONNECTED, _CONNECTED, has_id=False))
    for asked, answered, payload, result in (
        (names.SUBSCRIBE, names.SUBSCRIBED, _SUBSCRIBE, subscribed),
        (names.UNSUBSCRIBE, names.UNSUBSCRIBED, record({"room": ROOM}), _UNSUBSCRIBED),
    ):
        add(asked, asked, from_client(asked, payload), is_answered=True)
        add(answered, answered, answer(answered, result, has_id=False), is_answered=True)
    add("gap", names.GAP, pushed(names.GAP, record({})))
    for name in (names.NOTIFICATION, names.BROADCAST):
        if name not in declared:
            payload = _NOTIFICATION if name == names.NOTIFICATION else {}
            add(name, name, pushed(name, payload))
            channel.send(name, name, tags=[{"name": "pushes"}])
    words: dict[str, Any] = {"tags": [{"name": "protocol"}]}
    channel.send("connected", "connected", summary="The first message.", **words)
    channel.receive("ping", "ping", ["pong", ERROR], summary="Measures the connection.", **words)
    text = "Joins a room. Its messages follow the answer."
    channel.receive("subscribe", "subscribe", ["subscribed", ERROR], summary=text, **words)
    text = "Leaves a room."
    channel.receive("unsubscribe", "unsubscribe", ["unsubscribed", ERROR], summary=text, **words)
    text = "Something was lost in a stream: load what matters anew. Later messages follow."
    channel.send("gap", "gap", summary=text, **words)
    text = "The server took the connection out of a room."
    channel.send("removed", "unsubscribed", summary=text, **words)
    text = "A message that the server cannot read."
    channel.send("error", ERROR, summary=text, **words)


def describe_protocol() -> str:
    """The description of the connection, as Markdown."""
    lines = [
        "All messages travel through one WebSocket, one JSON object in each text frame. With the "
        f"subprotocol `{BATCH_SUBPROTOCOL}`, a frame to the client may hold an array of them.",
        "",
        "The server closes it with one of these codes:",
        "",
        "| code | name | clients reconnect by themselves |",
        "|---|---|---|",
    ]
    for code in CloseCode:
        lines.append(f"| {code.value} | `{code.name}` | {'yes' if may_reconnect(code) else 'no'} |")
    return "\n".join(lines)


def _binding() -> dict[str, Any]:
    """The handshake."""
    query = {
        "resume": {**TEXT, "description": "Ids of the client's earlier connections, with commas."},
        "since": {
            **TEXT,
            "description": "The cursors up to which it has read its own streams, as JSON by `to`.",
        },
        "user": {**TEXT, "description": "The user's id that this was for; empty if anonymous."},
        "who": {**TEXT, "description": "Only asks who the user is: `connected`, then a close."},
    }
    protocols = {"type": "string", "enum": [BATCH_SUBPROTOCOL, SUBPROTOCOL]}
    headers = {"Origin": TEXT, "Sec-WebSocket-Protocol": protocols}
    return {
        "method": "GET",
        "query": record(query, optional=query),
        "headers": record(headers, optional=headers),
        "bindingVersion": "0.1.0",
    }
