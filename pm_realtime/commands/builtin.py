"""The built-in commands: the form of their payloads, their handlers, and the table of both."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from pm_realtime.commands.checked_messages import publish_checked
from pm_realtime.commands.claims import digest_of
from pm_realtime.commands.presence import check_state, presence
from pm_realtime.conf import Room, RoomOptions
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import Command, ErrorCode, MessageType, check_room
from pm_realtime.push import apublish_message, apublish_volatile
from pm_realtime.rooms import Connection, check_publish, find_room, join, leave

#: Characters of a cursor in a command; those of this version have fewer.
MAX_CURSOR_LENGTH: Final = 40
#: Messages that a client may ask for when it joins a room.
MAX_LAST: Final = 10_000_000


def room_payload(payload: Any) -> None:
    """Raise ``CommandError`` if ``payload`` does not name a room."""
    if not isinstance(payload, dict) or "room" not in payload:
        text = "Expected the payload to be an object with `room`."
        raise CommandError(ErrorCode.INVALID_PAYLOAD, text)
    check_room(payload["room"])


def subscribe_payload(payload: Any) -> None:
    """Raise ``CommandError`` if ``payload`` does not say which room to join, and from where on."""
    room_payload(payload)
    since, last = payload.get("since", ""), payload.get("last", 0)
    if not isinstance(since, str) or len(since) > MAX_CURSOR_LENGTH:
        text = f"Expected `since`, where it is given, to be at most {MAX_CURSOR_LENGTH} characters."
    elif type(last) is not int or not 0 <= last <= MAX_LAST:
        text = f"Expected `last`, where it is given, to be a whole number from 0 to {MAX_LAST}."
    else:
        return
    raise CommandError(ErrorCode.INVALID_PAYLOAD, text, room=payload["room"])


def message_payload(payload: Any) -> None:
    """Raise ``CommandError`` if ``payload`` does not name a room or has no content."""
    room_payload(payload)
    if "content" not in payload:
        text = "Expected `content` in the payload."
        raise CommandError(ErrorCode.INVALID_PAYLOAD, text, room=payload["room"])
    if type(payload.get("volatile", False)) is not bool:
        text = "Expected `volatile`, where it is given, to be true or false."
        raise CommandError(ErrorCode.INVALID_PAYLOAD, text, room=payload["room"], path="volatile")


def presence_payload(payload: Any) -> None:
    """Raise ``CommandError`` if ``payload`` does not name a room or has a malformed state."""
    room_payload(payload)
    check_state(payload)


def as_volatile(command: Command) -> Command:
    """The volatile message ``command`` without an id: there is no answer to it."""
    return msgspec.structs.replace(command, id=None, is_volatile=True)


async def ping(connection: Connection, command: Command) -> None:
    connection.reply(MessageType.PONG, to=command)


async def subscribe(connection: Connection, command: Command) -> None:
    await join(connection, command.payload["room"], command)


async def unsubscribe(connection: Connection, command: Command) -> None:
    await leave(connection, command.payload["room"], command)


async def message(connection: Connection, command: Command) -> None:
    await connection.until_certain()
    room = _check_sender(connection, command)
    options = room.options
    if options.content is None and options.on_message is None:
        await _publish(connection, command, room, command.payload["content"])
    else:
        await publish_checked(
            connection,
            command,
            room,
            check_sender=partial(_check_sender, connection, command),
            publish=partial(_publish, connection, command, room),
        )


def _check_sender(connection: Connection, command: Command) -> Room:
    """The room of a message. Raises ``CommandError`` if its sender may not send to it."""
    name: str = command.payload["room"]
    if name not in connection.rooms:
        text = "Subscribe to the room before sending to it."
        raise CommandError(ErrorCode.NOT_IN_ROOM, text, room=name)
    identity = connection.identity
    room = find_room(name) or Room(name, RoomOptions(), {})
    check_publish(room, authenticated=identity.is_authenticated, role=identity.role)
    return room


async def _publish(connection: Connection, command: Command, room: Room, content: Any) -> None:
    """Publish a message with ``content``, in JSON or as the client sent it."""
    identity = connection.identity
    payload: dict[str, Any] = {"room": room.name, "content": content}
    if identity.is_authenticated:
        payload["from"] = {"userId": identity.user_id, "name": identity.name}
    if command.is_volatile:
        payload["volatile"] = True
        await apublish_volatile(room, payload, sender=connection.connection_id)
        return
    key = None
    if command.id:
        # Of what the client sent: what is published may be another content each time.
        digest = digest_of(connection, command.id, command.payload["content"])
        key = f"message {digest}"
    if await apublish_message(room, payload, id=command.id, key=key):
        connection.reply(MessageType.ACK, {"duplicate": True}, to=command)


class Definition(NamedTuple):
    """A command. ``check_payload`` raises ``CommandError`` for a malformed payload."""

    handler: Callable[[Connection, Command], Awaitable[None]]
    check_payload: Callable[[Any], None] | None = None


COMMANDS: Final[dict[str, Definition]] = {
    MessageType.PING: Definition(ping),
    MessageType.SUBSCRIBE: Definition(subscribe, subscribe_payload),
    MessageType.UNSUBSCRIBE: Definition(unsubscribe, room_payload),
    MessageType.MESSAGE: Definition(message, message_payload),
    MessageType.PRESENCE: Definition(presence, presence_payload),
}
