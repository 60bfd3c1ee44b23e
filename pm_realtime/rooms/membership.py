"""Joining and leaving rooms, as a client asks, as server code asks, or as rights change."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from django.dispatch import Signal

from pm_realtime import signals
from pm_realtime.auth import Identity
from pm_realtime.backends import get_backend
from pm_realtime.exceptions import CommandError, OutageError
from pm_realtime.layer import room_group
from pm_realtime.observability import throttle
from pm_realtime.protocol import Command, ErrorCode, MessageType
from pm_realtime.rooms.authorize import is_authorized
from pm_realtime.rooms.options import check_join, check_room_count, find_room, forbidden

logger = logging.getLogger("pm_realtime.room")


class Connection(Protocol):
    """The part of a connection that rooms and commands use."""

    connection_id: str
    identity: Identity
    #: The joined rooms, each with whether server code joined it.
    rooms: dict[str, bool]
    room_lock: asyncio.Lock

    # A number that grows each time identity and rights have been decided anew.
    @property
    def rights_version(self) -> int: ...
    @property
    def is_certain(self) -> bool: ...
    async def until_certain(self) -> None: ...
    # The position of the last control message that has arrived.
    @property
    def control_position(self) -> str: ...
    # Carry out the control messages for ``groups`` after ``position``.
    async def catch_up(self, position: str, groups: Sequence[str]) -> None: ...
    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None: ...
    async def join_group(self, group: str) -> None: ...
    async def leave_group(self, group: str) -> None: ...
    async def notify(self, signal: Signal, **arguments: Any) -> None: ...


async def join(connection: Connection, name: str, command: Command) -> None:
    """Join the room ``name`` in reply to ``command``.

    Raises ``CommandError`` if the role, the rule or a limit of the room refuses.
    """
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
    """Join ``name``; False if the rights have changed meanwhile.

    A rule of the site may be slow, so it is called without the lock. Its answer counts only for the
    rights that the connection had then.
    """
    began_at = connection.control_position
    await connection.until_certain()
    version = connection.rights_version
    check_room_count(len(connection.rooms), name)
    await _authorize(connection, name)
    async with connection.room_lock:
        if connection.rights_version != version or not connection.is_certain:
            return False
        if name in connection.rooms:
            _reply_subscribed(connection, name, command)
        else:
            check_room_count(len(connection.rooms), name)
            await _join(connection, name, command)
            await connection.catch_up(began_at, [room_group(name)])
        return True


async def leave(connection: Connection, name: str, command: Command) -> None:
    """Leave the room ``name`` in reply to ``command``."""
    async with connection.room_lock:
        await _leave(connection, name, command)


async def force_join(connection: Connection, name: str) -> None:
    """Join ``name`` for server code, within ``max_connections`` but for any role."""
    with _logging_failures("subscribe"):
        async with connection.room_lock:
            if name in connection.rooms:
                connection.rooms[name] = True
            else:
                await _join(connection, name, None, is_forced=True)
                await connection.notify(signals.joined, room=name)


async def force_leave(connection: Connection, name: str, reason: str | None) -> None:
    """Leave ``name`` for server code. The client gets ``reason``."""
    with _logging_failures("unsubscribe"):
        async with connection.room_lock:
            if name in connection.rooms:
                await _leave(connection, name, reason=reason)


@contextmanager
def _logging_failures(action: str) -> Iterator[None]:
    """Log an error, as server code does not wait for the result."""
    try:
        yield
    except CommandError as error:
        logger.warning("Server code could not %s a connection: %s", action, error)
    except OutageError as error:
        logger.debug("Server code could not %s a connection: %s", action, error)
    except Exception:
        logger.exception("Server code could not %s a connection.", action)


async def reconsider(connection: Connection, names: Sequence[str] | None = None) -> None:
    """Leave those of the rooms ``names``, by default all, that are not allowed any more.

    A room that is just being joined is included. Rooms that server code joined are not decided.
    """
    async with connection.room_lock:
        names = list(connection.rooms) if names is None else names
        own = [name for name in names if connection.rooms.get(name) is False]
        decisions = (_authorize(connection, name) for name in own)
        errors = await asyncio.gather(*decisions, return_exceptions=True)
        for name, error in zip(own, errors, strict=True):
            if error is None:
                continue
            if not isinstance(error, CommandError) and throttle.note_error(error):
                text = "A room could not be decided anew, so its connection leaves it."
                logger.error(text, exc_info=error)
            await _leave(connection, name, reason="forbidden")


async def _authorize(connection: Connection, name: str) -> None:
    """Raise ``CommandError`` if the role or the rule of the room refuses."""
    identity, room = connection.identity, find_room(name)
    if room is None:
        raise forbidden(name)
    check_join(room, authenticated=identity.is_authenticated, role=identity.role)
    if room.options.authorize is not None and not await is_authorized(room, identity.user):
        raise forbidden(name)


async def _join(
    connection: Connection, name: str, command: Command | None, *, is_forced: bool = False
) -> None:
    """Count the connection in, join the group and reply, before any message of the room."""
    room, backend = find_room(name), get_backend()
    capacity = None if room is None else room.options.max_connections
    if not await backend.join(connection.connection_id, name, capacity=capacity):
        raise CommandError(ErrorCode.ROOM_FULL, "The room is full.", room=name)
    try:
        await connection.join_group(room_group(name))
    except BaseException:
        await backend.leave(connection.connection_id, name)
        raise
    connection.rooms[name] = is_forced
    _reply_subscribed(connection, name, command)


async def _leave(
    connection: Connection, name: str, command: Command | None = None, reason: str | None = None
) -> None:
    """Leave ``name``, if it was joined, and reply."""
    if name in connection.rooms:
        del connection.rooms[name]
        try:
            await connection.leave_group(room_group(name))
        finally:
            await get_backend().leave(connection.connection_id, name)
        await connection.notify(signals.left, room=name, reason=reason)
    more = {} if reason is None else {"reason": reason}
    payload = {"room": name, "success": True, **more}
    connection.reply(MessageType.UNSUBSCRIBED, payload, to=command)


def _reply_subscribed(connection: Connection, name: str, command: Command | None) -> None:
    connection.reply(MessageType.SUBSCRIBED, {"room": name, "success": True}, to=command)
