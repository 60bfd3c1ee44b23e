"""What the server does for each command of a client, and the table of commands."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol

from pm_realtime import push, signals
from pm_realtime.auth import Identity
from pm_realtime.backends import get_backend
from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError, OutageError
from pm_realtime.groups import room_group
from pm_realtime.layers import get_layer, is_in_process
from pm_realtime.protocol import Command, ErrorCode, MessageType, check_room
from pm_realtime.repetitions import repetitions
from pm_realtime.rooms import check_join, check_publish, find_room, forbidden
from pm_realtime.rules import is_authorized

logger = logging.getLogger("pm_realtime.room")

#: The reason a client is told when it is taken out of a room in which it may not be any more.
FORBIDDEN: Final = "forbidden"


class Connection(Protocol):
    """What a handler knows of the connection it works for."""

    connection_id: str
    identity: Identity
    #: The rooms that were joined, each with whether server code said so.
    rooms: dict[str, bool]
    room_lock: asyncio.Lock

    @property
    def epoch(self) -> int:
        """Another number each time that who this is, or what they may do, was settled anew."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing about that is in doubt."""

    async def until_settled(self) -> None:
        """Return when it is."""

    def catch_up(self, moment: float, groups: Sequence[str]) -> None:
        """Follow the orders for ``groups`` that were heard since ``moment``, monotonic seconds."""

    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None:
        """Send an envelope that carries the id of ``to``."""

    async def join_group(self, group: str) -> None: ...

    async def leave_group(self, group: str) -> None: ...

    def deliver_missed(self, group: str) -> None:
        """Send what was missed of ``group``, which was joined in this instant."""

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


def is_instant(connection: Connection, command: Command) -> bool:
    """Whether :func:`handle` waits for nothing over ``command``, which so needs no task."""
    return (
        command.type == MessageType.MESSAGE and connection.is_settled and is_in_process(get_layer())
    )


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
    if name in connection.rooms:
        _reply_subscribed(connection, name, command)
        return
    try:
        while not await _join_if_allowed(connection, name, command):
            pass
    except CommandError as error:
        await connection.notify(signals.refused, room=name, code=str(error.code))
        raise
    await connection.notify(signals.joined, room=name)


async def _join_if_allowed(connection: Connection, name: str, command: Command) -> bool:
    """Join ``name``; False where who this is has changed while that was decided.

    A rule of the site may take long: it is asked without the lock, and its answer counts only for
    those rights that it was given for.
    """
    began = time.monotonic()
    await connection.until_settled()
    epoch = connection.epoch
    await _authorize_join(connection, name)
    async with connection.room_lock:
        if connection.epoch != epoch or not connection.is_settled:
            return False
        if name in connection.rooms:
            _reply_subscribed(connection, name, command)
        else:
            _check_room_limit(connection, name)
            await _join(connection, name, command)
            connection.catch_up(began, [room_group(name)])
        return True


async def unsubscribe(connection: Connection, command: Command) -> None:
    name: str = command.payload["room"]
    async with connection.room_lock:
        await _leave(connection, name)
        _reply_unsubscribed(connection, name, command)


async def message(connection: Connection, command: Command) -> None:
    name: str = command.payload["room"]
    await connection.until_settled()
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


@contextmanager
def _logging_failures(what: str) -> Iterator[None]:
    """Log a failure of what server code asked for: it does not wait for an answer."""
    try:
        yield
    except CommandError as error:
        logger.warning("Server code could not %s a connection: %s", what, error)
    except OutageError as error:
        logger.debug("Server code could not %s a connection: %s", what, error)
    except Exception:
        logger.exception("Server code could not %s a connection.", what)


async def force_subscribe(connection: Connection, room: str) -> None:
    """Join ``room`` because server code says so: no role is asked for, its capacity holds."""
    with _logging_failures("subscribe"):
        async with connection.room_lock:
            if room in connection.rooms:
                connection.rooms[room] = True
            else:
                await _join(connection, room, None, is_forced=True)
                await connection.notify(signals.joined, room=room)


async def force_unsubscribe(connection: Connection, room: str, reason: str | None) -> None:
    """Leave ``room`` because server code says so; the client is told."""
    with _logging_failures("unsubscribe"):
        async with connection.room_lock:
            if room in connection.rooms:
                await _leave(connection, room, reason)
                _reply_unsubscribed(connection, room, None, reason)


async def reconsider(connection: Connection, names: Sequence[str] | None = None) -> None:
    """Leave those of the rooms ``names`` in which the connection may not be any more; by default
    of all that it is in, and of the one it is joining now.

    Server code may have put it into a room whatever its role is; there it stays.
    """
    async with connection.room_lock:
        names = list(connection.rooms) if names is None else names
        asked = [name for name in names if connection.rooms.get(name) is False]
        may_stay = await asyncio.gather(*(_may_stay(connection, name) for name in asked))
        for name, may in zip(asked, may_stay, strict=True):
            if not may:
                await _leave(connection, name, FORBIDDEN)
                _reply_unsubscribed(connection, name, None, FORBIDDEN)


async def _may_stay(connection: Connection, name: str) -> bool:
    try:
        await _authorize(connection, name)
    except CommandError:
        return False
    except Exception as error:
        if repetitions.note_error(error):
            logger.exception("Whether a connection may stay in a room could not be decided.")
        return False
    return True


async def _authorize_join(connection: Connection, name: str) -> None:
    """Raise ``CommandError`` where this connection may not join."""
    _check_room_limit(connection, name)
    await _authorize(connection, name)


def _check_room_limit(connection: Connection, name: str) -> None:
    if len(connection.rooms) >= conf.MAX_ROOMS_PER_CONNECTION:
        raise CommandError(
            ErrorCode.ROOM_LIMIT,
            f"A connection may be in {conf.MAX_ROOMS_PER_CONNECTION} rooms at a time.",
            room=name,
        )


async def _authorize(connection: Connection, name: str) -> None:
    """Raise ``CommandError`` where the role, or the room's own rule, says no."""
    identity = connection.identity
    room = find_room(name)
    if room is None:
        raise forbidden(name)
    check_join(room, authenticated=identity.is_authenticated, role=identity.role)
    if room.options.authorize is not None and not await is_authorized(room, identity.user):
        raise forbidden(name)


async def _join(
    connection: Connection, name: str, command: Command | None, *, is_forced: bool = False
) -> None:
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
    connection.rooms[name] = is_forced
    _reply_subscribed(connection, name, command)
    connection.deliver_missed(room_group(name))


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
