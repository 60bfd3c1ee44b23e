"""What the server does for each command of a client, and the table of commands."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, Protocol

from django.utils.module_loading import import_string

from pm_realtime import push, signals
from pm_realtime.auth import Identity
from pm_realtime.backends import get_backend
from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError
from pm_realtime.groups import room_group
from pm_realtime.protocol import Command, ErrorCode, MessageType, check_room
from pm_realtime.rooms import Room, check_join, check_publish, find_room, forbidden
from pm_realtime.threads import run_site_code

logger = logging.getLogger("pm_realtime.room")


class Connection(Protocol):
    """What a handler knows of the connection it works for."""

    connection_id: str
    identity: Identity
    rooms: dict[str, None]
    room_lock: asyncio.Lock

    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None:
        """Send an envelope that carries the id of ``to``."""

    async def join_group(self, group: str) -> None: ...

    async def leave_group(self, group: str) -> None: ...

    async def notify(self, signal: Any, **arguments: Any) -> None:
        """Send a Django signal with the connection's id and user."""


Handler = Callable[[Connection, Command], Awaitable[None]]


def check_form(command: Command) -> None:
    """Raise ``CommandError`` where ``command`` is malformed, whoever sends it."""
    definition = COMMANDS.get(command.type)
    if definition is None:
        known = ", ".join(COMMANDS)
        raise CommandError(ErrorCode.UNKNOWN_TYPE, f"Expected one of these types: {known}.")
    definition.check_payload(command.payload)


async def handle(connection: Connection, command: Command) -> None:
    """Carry out a ``command`` that :func:`check_form` let pass.

    Raises ``CommandError`` where it is refused.
    """
    await COMMANDS[command.type].handler(connection, command)


def any_payload(payload: Any) -> None:
    """What ``ping`` brings does not matter."""


def room_payload(payload: Any) -> None:
    if not isinstance(payload, dict) or "room" not in payload:
        raise CommandError(
            ErrorCode.INVALID_PAYLOAD, "Expected the payload to be an object with `room`."
        )
    check_room(payload["room"])


def message_payload(payload: Any) -> None:
    room_payload(payload)
    if "content" not in payload:
        raise CommandError(
            ErrorCode.INVALID_PAYLOAD, "Expected `content` in the payload.", room=payload["room"]
        )


async def ping(connection: Connection, command: Command) -> None:
    connection.reply(MessageType.PONG, to=command)


async def subscribe(connection: Connection, command: Command) -> None:
    name: str = command.payload["room"]
    async with connection.room_lock:
        if name not in connection.rooms:
            try:
                await _authorize_join(connection, name)
                await _join(connection, name, command)
            except CommandError as error:
                await connection.notify(signals.refused, room=name, code=str(error.code))
                raise
            await connection.notify(signals.joined, room=name)
        else:
            _reply_subscribed(connection, name, command)


async def unsubscribe(connection: Connection, command: Command) -> None:
    name: str = command.payload["room"]
    async with connection.room_lock:
        await _leave(connection, name)
        _reply_unsubscribed(connection, name, command)


async def message(connection: Connection, command: Command) -> None:
    name: str = command.payload["room"]
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
    await push.asend_to_room(name, MessageType.MESSAGE, payload, id=command.id, on_commit=False)


class Definition(NamedTuple):
    """A command: what its payload must be, and what is done for it."""

    check_payload: Callable[[Any], None]
    handler: Handler


COMMANDS: Final[dict[str, Definition]] = {
    MessageType.PING: Definition(any_payload, ping),
    MessageType.SUBSCRIBE: Definition(room_payload, subscribe),
    MessageType.UNSUBSCRIBE: Definition(room_payload, unsubscribe),
    MessageType.MESSAGE: Definition(message_payload, message),
}


async def force_subscribe(connection: Connection, room: str) -> None:
    """Join ``room`` because server code says so: no role is asked for, its capacity holds."""
    async with connection.room_lock:
        if room not in connection.rooms:
            await _join(connection, room, None)
            await connection.notify(signals.joined, room=room)


async def force_unsubscribe(connection: Connection, room: str, reason: str | None) -> None:
    """Leave ``room`` because server code says so; the client is told."""
    async with connection.room_lock:
        if room in connection.rooms:
            await _leave(connection, room, reason)
            _reply_unsubscribed(connection, room, None, reason)


async def _authorize_join(connection: Connection, name: str) -> None:
    """Raise ``CommandError`` where this connection may not join."""
    if len(connection.rooms) >= conf.MAX_ROOMS_PER_CONNECTION:
        raise CommandError(
            ErrorCode.ROOM_LIMIT,
            f"A connection may be in {conf.MAX_ROOMS_PER_CONNECTION} rooms at a time.",
            room=name,
        )
    identity = connection.identity
    room = find_room(name)
    if room is None:
        raise forbidden(name)
    check_join(room, authenticated=identity.is_authenticated, role=identity.role)
    if room.options.authorize is not None and not await _is_authorized(room, identity.user):
        raise forbidden(name)


async def _is_authorized(room: Room, user: Any) -> bool:
    assert room.options.authorize is not None
    authorize = import_string(room.options.authorize)
    return bool(await run_site_code(authorize, user, room.name, **room.kwargs))


async def _join(connection: Connection, name: str, command: Command | None) -> None:
    """Take a seat, join the group, answer; nothing of the room arrives before the answer."""
    room = find_room(name)
    capacity = None if room is None else room.options.max_connections
    backend = get_backend()
    if not await backend.join(connection.connection_id, name, capacity=capacity):
        raise CommandError(ErrorCode.ROOM_FULL, "The room is full.", room=name)
    try:
        await connection.join_group(room_group(name))
    except BaseException:
        await backend.leave(connection.connection_id, name)
        raise
    connection.rooms[name] = None
    _reply_subscribed(connection, name, command)
    logger.debug("%s joined a room.", connection.connection_id, extra={"room": name})


async def _leave(connection: Connection, name: str, reason: str | None = None) -> None:
    if name not in connection.rooms:
        return
    del connection.rooms[name]
    try:
        await connection.leave_group(room_group(name))
    finally:
        await get_backend().leave(connection.connection_id, name)
    await connection.notify(signals.left, room=name, reason=reason)


def _reply_subscribed(connection: Connection, name: str, command: Command | None) -> None:
    connection.reply(MessageType.SUBSCRIBED, {"room": name, "success": True}, to=command)


def _reply_unsubscribed(
    connection: Connection, name: str, command: Command | None, reason: str | None = None
) -> None:
    payload: dict[str, Any] = {"room": name, "success": True}
    if reason is not None:
        payload["reason"] = reason
    connection.reply(MessageType.UNSUBSCRIBED, payload, to=command)
