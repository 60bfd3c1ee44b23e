"""The built-in commands: the form of their payloads, and their handlers."""

from typing import Any

from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import Command, ErrorCode, MessageType, check_room
from pm_realtime.push import asend_to_room
from pm_realtime.rooms import Connection, check_publish, find_room, join, leave


def any_payload(payload: Any) -> None:
    """Accept any payload of a ``ping``."""


def room_payload(payload: Any) -> None:
    """Raise ``CommandError`` if ``payload`` does not name a room."""
    if not isinstance(payload, dict) or "room" not in payload:
        raise CommandError(
            ErrorCode.INVALID_PAYLOAD, "Expected the payload to be an object with `room`."
        )
    check_room(payload["room"])


def message_payload(payload: Any) -> None:
    """Raise ``CommandError`` if ``payload`` does not name a room or has no content."""
    room_payload(payload)
    if "content" not in payload:
        raise CommandError(
            ErrorCode.INVALID_PAYLOAD, "Expected `content` in the payload.", room=payload["room"]
        )


async def ping(connection: Connection, command: Command) -> None:
    connection.reply(MessageType.PONG, to=command)


async def subscribe(connection: Connection, command: Command) -> None:
    await join(connection, command.payload["room"], command)


async def unsubscribe(connection: Connection, command: Command) -> None:
    await leave(connection, command.payload["room"], command)


async def message(connection: Connection, command: Command) -> None:
    name: str = command.payload["room"]
    await connection.until_certain()
    if name not in connection.rooms:
        raise CommandError(
            ErrorCode.NOT_IN_ROOM, "Subscribe to the room before sending to it.", room=name
        )
    identity = connection.identity
    room = find_room(name)
    if room is not None:
        check_publish(room, authenticated=identity.is_authenticated, role=identity.role)
    payload: dict[str, Any] = {"room": name, "content": command.payload["content"]}
    if identity.is_authenticated:
        payload["from"] = {"userId": identity.user_id, "name": identity.name}
    await asend_to_room(name, MessageType.MESSAGE, payload, id=command.id, on_commit=False)
