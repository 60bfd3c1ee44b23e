"""Joining and leaving rooms, as a client asks, as server code asks, or as rights change."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

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

#: The ``reason`` in `unsubscribed` when a connection may not be in a room any more.
FORBIDDEN_REASON: Final = "forbidden"


class Connection(Protocol):
    """The part of a connection that rooms and commands use."""

    connection_id: str
    identity: Identity
    #: The joined rooms, each with whether server code joined it.
    rooms: dict[str, bool]
    room_lock: asyncio.Lock

    @property
    def rights_version(self) -> int:
        """A number that grows each time identity and rights have been decided anew."""

    @property
    def is_certain(self) -> bool:
        """Whether identity and rights are certain."""

    async def until_certain(self) -> None:
        """Return when identity and rights are certain."""

    def catch_up(self, moment: float, groups: Sequence[str]) -> None:
        """Carry out the control messages for ``groups`` since ``moment`` (monotonic seconds)."""

    def reply(self, type: str, payload: Any = None, *, to: Command | None = None) -> None:
        """Send an envelope, with the id of the command ``to``. Never waits."""

    async def join_group(self, group: str) -> None:
        """Receive the messages to ``group``."""

    async def leave_group(self, group: str) -> None:
        """Receive no more messages to ``group``."""

    def deliver_missed(self, group: str) -> None:
        """Send the missed messages of ``group``, which has just been joined."""

    async def notify(self, signal: Signal, **arguments: Any) -> None:
        """Log an event and send its Django signal, with the id and the user of the connection."""


async def join(connection: Connection, name: str, command: Command) -> None:
    """Join the room ``name`` in reply to ``command``.

    Raises ``CommandError`` if the role, the rule or a limit of the room refuses.
    """
    if name in connection.rooms:
        _reply(connection, MessageType.SUBSCRIBED, name, command)
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
    began_at = time.monotonic()
    await connection.until_certain()
    version = connection.rights_version
    check_room_count(len(connection.rooms), name)
    await _authorize(connection, name)
    async with connection.room_lock:
        if connection.rights_version != version or not connection.is_certain:
            return False
        if name in connection.rooms:
            _reply(connection, MessageType.SUBSCRIBED, name, command)
        else:
            check_room_count(len(connection.rooms), name)
            await _join(connection, name, command)
            connection.catch_up(began_at, [room_group(name)])
        return True


async def leave(connection: Connection, name: str, command: Command) -> None:
    """Leave the room ``name`` in reply to ``command``."""
    async with connection.room_lock:
        await _leave(connection, name)
        _reply(connection, MessageType.UNSUBSCRIBED, name, command)


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
                await _leave(connection, name, reason)
                _reply(connection, MessageType.UNSUBSCRIBED, name, None, reason)


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
        allowed = await asyncio.gather(*(_may_stay(connection, name) for name in own))
        for name, is_allowed in zip(own, allowed, strict=True):
            if not is_allowed:
                await _leave(connection, name, FORBIDDEN_REASON)
                _reply(connection, MessageType.UNSUBSCRIBED, name, None, FORBIDDEN_REASON)


async def _may_stay(connection: Connection, name: str) -> bool:
    try:
        await _authorize(connection, name)
    except CommandError:
        return False
    except Exception as error:
        if throttle.note_error(error):
            logger.exception("A room could not be decided anew, so its connection leaves it.")
        return False
    return True


async def _authorize(connection: Connection, name: str) -> None:
    """Raise ``CommandError`` if the role or the rule of the room refuses."""
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
    """Count the connection in, join the group and reply, before any message of the room."""
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
    _reply(connection, MessageType.SUBSCRIBED, name, command)
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


def _reply(
    connection: Connection, type: str, name: str, to: Command | None, reason: str | None = None
) -> None:
    more = {} if reason is None else {"reason": reason}
    connection.reply(type, {"room": name, "success": True, **more}, to=to)
