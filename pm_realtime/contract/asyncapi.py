"""The AsyncAPI document of a site: all that its clients may say, and all that they get."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

from pm_realtime.commands import Declaration
from pm_realtime.conf import ANONYMOUS, SERVER
from pm_realtime.contract.builder import SESSION, Builder, Channel
from pm_realtime.contract.envelopes import (
    BOOLEAN,
    ROOM,
    TEXT,
    USER_ID,
    answer,
    from_client,
    pushed,
    record,
)
from pm_realtime.contract.json_schema import Schema
from pm_realtime.contract.member_info import ANY_INFO
from pm_realtime.contract.presence import add_presence, picture_schema
from pm_realtime.contract.protocol_messages import (
    ACK,
    ERROR,
    add_answers,
    add_protocol,
    connection_channel,
    describe_protocol,
)
from pm_realtime.contract.site import RoomName, Site, SiteCommand, SiteRoom, read_site
from pm_realtime.protocol import MessageType

VERSION: Final = "3.0.0"
#: For the operations of clients that are logged in.
_LOGGED_IN: Final = {"security": [{"$ref": f"#/components/securitySchemes/{SESSION}"}]}
_PARAMETER: Final = "A value of the route. Its converter is `{}`."


class Heading(NamedTuple):
    """The head of the document. ``server`` is a URL or a host; None leaves it open."""

    title: str
    version: str
    server: str | None = None


def document(heading: Heading) -> dict[str, Any]:
    """The AsyncAPI document of the site's declarations, as values of JSON.

    Raises ``TypeError`` if a type cannot be read, and ``ImportError`` if there is no such type.
    """
    site = read_site()
    builder = Builder()
    connection = connection_channel(builder)
    add_answers(builder)
    rooms = {room.name: _room_channel(builder, room) for room in site.rooms}
    for command in site.commands:
        room = command.declaration.room
        _add_command(builder, connection if room is None else rooms[RoomName(room)], command)
    _add_pushes(builder, connection, site)
    for each in site.rooms:
        if each.options is not None:
            _add_messages(builder, rooms[each.name], each, each.options)
        if each.info is not None:
            add_presence(builder, rooms[each.name], _room_schema(each.name), each.info)
    has_presence = any(each.info is not None for each in site.rooms)
    presence = picture_schema(ANY_INFO) if has_presence else None
    add_protocol(builder, connection, {push.type for push in site.pushes}, presence)
    return {
        "asyncapi": VERSION,
        "info": {
            "title": heading.title,
            "version": heading.version,
            "description": describe_protocol(),
        },
        "defaultContentType": "application/json",
        "servers": {"site": _server(heading.server)},
        "channels": builder.channels,
        "operations": builder.operations,
        "components": {
            "messages": builder.messages,
            "schemas": {**site.types, **builder.schemas},
            "correlationIds": {"id": {"location": "$message.payload#/id"}},
            "securitySchemes": {
                SESSION: {
                    "type": "httpApiKey",
                    "description": "The cookie of the session in which the user has logged in.",
                    "name": settings.SESSION_COOKIE_NAME,
                    "in": "cookie",
                }
            },
        },
    }


def _server(url: str | None) -> dict[str, Any]:
    parts = urlsplit(f"//{url}" if url and "//" not in url else url or "")
    protocol = "ws" if parts.scheme in ("ws", "http") else "wss"
    server: dict[str, Any] = {"host": parts.netloc or "{host}", "protocol": protocol}
    if path := parts.path.rstrip("/"):
        server["pathname"] = path
    if not parts.netloc:
        server["variables"] = {
            "host": {"default": "localhost", "description": "The host of the site."}
        }
    return {**server, **_LOGGED_IN}


def _room_channel(builder: Builder, room: SiteRoom) -> Channel:
    name = room.name
    if name is None:
        parameters = {"room": {"description": "The name of the room."}}
        return builder.add_channel(
            "room", address="{room}", title="Any other room", parameters=parameters
        )
    words: dict[str, Any] = {"title": name.text, "description": _describe_room(room)}
    if name.parameters and name.address is not None:
        words["parameters"] = {
            value: {"description": _PARAMETER.format(type(converter).__name__)}
            for value, converter in name.parameters.items()
        }
    return builder.add_channel(name.shown, address=name.address, **words)


def _describe_room(room: SiteRoom) -> str:
    options = room.options or {}
    texts = ["A room. Its messages travel through the connection and have its name as `room`."]
    if (role := options.get("min_role")) is not None:
        texts.append(f"To join it, a client needs the role `{role}`.")
    elif options.get("public"):
        texts.append("Anonymous clients may join it.")
    if (rate := options.get("rate")) is not None:
        texts.append(f"The rate of a client's messages is limited to `{rate}`.")
    return " ".join(texts)


def _add_command(builder: Builder, channel: Channel, command: SiteCommand) -> None:
    declaration = command.declaration
    name = declaration.type
    room = None if declaration.room is None else _room_schema(RoomName(declaration.room))
    asked = builder.add_message(
        name, name, from_client(name, command.payload, room), is_answered=True
    )
    result = answer(MessageType.RESULT, command.result)
    answered = builder.add_message(f"{name}.result", MessageType.RESULT, result, is_answered=True)
    summary, _, rest = declaration.doc.partition("\n\n")
    description = "\n\n".join(filter(None, [rest.strip(), _describe_command(declaration)]))
    words: dict[str, Any] = {"summary": " ".join(summary.split())} if summary else {}
    channel.receive(
        name,
        asked,
        [answered, ERROR],
        **words,
        description=description,
        tags=[{"name": "commands"}],
        **({} if declaration.public else _LOGGED_IN),
    )


def _describe_command(declaration: Declaration) -> str:
    texts = []
    if declaration.public:
        texts.append("Anonymous clients may send it.")
    elif (role := declaration.min_role) is not None:
        texts.append(f"Its sender needs the role `{role}`.")
    if declaration.room is not None and declaration.joined:
        texts.append("Its sender has to be in the room.")
    if declaration.rate is not None:
        texts.append(f"Its rate is limited to `{declaration.rate}`.")
    texts.append(f"It is answered within {declaration.timeout_seconds:g} s.")
    return " ".join(texts)


def _add_pushes(builder: Builder, channel: Channel, site: Site) -> None:
    for push in site.pushes:
        key = builder.add_message(push.type, push.type, pushed(push.type, push.payload))
        text = "Comes through a room, or to the user, a role or everyone."
        channel.send(push.type, key, summary=text, tags=[{"name": "pushes"}])


def _add_messages(
    builder: Builder, channel: Channel, room: SiteRoom, options: Mapping[str, Any]
) -> None:
    """Add the type ``message`` as the room has it."""
    name = MessageType.MESSAGE.value
    room_schema = _room_schema(room.name)
    sent = builder.add_message(
        f"{name}.{channel.key}", name, pushed(name, _published(room_schema, room.content_out))
    )
    words = {"tags": [{"name": "messages"}]}
    text = "A message to the room, also for its sender."
    channel.send(f"{name}.{channel.key}", sent, summary=text, **words)
    publish_role = options.get("publish_role")
    if publish_role == SERVER:
        return
    payload = record(
        {"room": room_schema, "content": room.content_in, "volatile": BOOLEAN},
        optional=["volatile"],
    )
    asked = builder.add_message(
        f"{name}.{channel.key}.send", name, from_client(name, payload), is_answered=True
    )
    channel.receive(
        f"{name}.{channel.key}.send",
        asked,
        [sent, ACK, ERROR],
        summary="Sends a message to the room. A volatile one is not kept, and not answered.",
        **words,
        **({} if publish_role == ANONYMOUS else _LOGGED_IN),
    )


def _published(room: Schema, content: Schema) -> Schema:
    sender = record({"userId": USER_ID, "name": TEXT})
    return record(
        {"room": room, "content": content, "from": sender, "volatile": {"const": True}},
        optional=["from", "volatile"],
    )


def _room_schema(name: RoomName | None) -> Schema:
    if name is None:
        return ROOM
    if not name.parameters:
        return {"const": name.text}
    return {**ROOM, "description": f"A name such as `{name.shown}`."}
