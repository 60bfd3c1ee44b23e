"""Joining and leaving rooms, as a client asks, as server code asks, or as rights change."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pm_realtime import signals
from pm_realtime.backends import Profile, get_backend
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import Room, has_presence, retention_of
from pm_realtime.exceptions import BackendError, CommandError, OutageError
from pm_realtime.hub import Start
from pm_realtime.layer import room_group
from pm_realtime.observability import throttle
from pm_realtime.protocol import Command, ErrorCode, MessageType, encode, make_envelope
from pm_realtime.rooms.authorize import is_authorized
from pm_realtime.rooms.connection import Connection
from pm_realtime.rooms.options import check_join, check_room_count, find_room, forbidden
from pm_realtime.rooms.own_state import finish_own_state
from pm_realtime.rooms.presence import (
    attach_viewer,
    detach_viewer,
    enter_presence,
    find_profile,
    follow_rights,
    leave_presence,
    prepare_picture,
    renew_presence,
)

logger = logging.getLogger("pm_realtime.room")

#: By connection id and room, the last joining for server code that has not ended.
_joining: Final = PerLoop[dict[tuple[str, str], object]](dict)


async def join(connection: Connection, name: str, command: Command) -> None:
    """Join the room ``name`` in reply to ``command``, from the position that it names.

    In the room already, what the command asks for is given out again. Raises ``CommandError`` if
    the role, the rule or a limit of the room refuses.
    """
    was_in = name in connection.rooms
    try:
        while not await _join_if_allowed(connection, name, command):
            pass
    except CommandError as error:
        await connection.notify(signals.refused, room=name, code=str(error.code))
        raise
    if not was_in:
        await connection.notify(signals.joined, room=name)


async def _join_if_allowed(connection: Connection, name: str, command: Command) -> bool:
    """Join ``name``; False if the rights have changed meanwhile.

    A rule of the site may be slow, so it is called without the lock. Its answer counts only for the
    rights that the connection had then.
    """
    told_up_to = connection.control_position
    is_plain = command.payload.keys().isdisjoint(("since", "last"))
    # Held messages were sent before the position that an answer names.
    await connection.until_certain()
    if is_plain and name in connection.rooms:
        async with connection.room_lock:
            if is_in := name in connection.rooms and connection.is_certain:
                await _start(connection, name, command, connection.rooms[name])
            return is_in
    version, was_forced = connection.rights_version, connection.rooms.get(name)
    room = await _check(connection, name)
    profile = None if room is None else await find_profile(connection, room)
    async with connection.room_lock:
        if connection.rights_version != version or not connection.is_certain:
            return False
        if connection.rooms.get(name) is not was_forced:
            return False
        if was_forced is None:
            check_room_count(len(connection.rooms), name)
            await _join(connection, name, command, profile, told_up_to=told_up_to)
        else:
            await _start(connection, name, command, was_forced, told_up_to)
        return True


async def _check(connection: Connection, name: str) -> Room | None:
    """The room ``name``, None if it was joined before.

    Raises ``CommandError`` if it may not be joined; leaves it then if it was.
    """
    is_forced = connection.rooms.get(name)
    if is_forced is None:
        check_room_count(len(connection.rooms), name)
        return await _authorize(connection, name)
    if not is_forced:
        await reconsider(connection, [name])
        if name not in connection.rooms:
            raise forbidden(name)
    return None


async def leave(connection: Connection, name: str, command: Command) -> None:
    """Leave the room ``name`` in reply to ``command``."""
    async with connection.room_lock:
        await _leave(connection, name, command)


async def force_join(connection: Connection, name: str) -> None:
    """Join ``name`` for server code, within ``max_connections`` but for any role."""
    joining, key, joiner = _joining.get(), (connection.connection_id, name), object()
    joining[key] = joiner
    try:
        with _logging_failures("subscribe"):
            while not await _force_join(connection, name, lambda: joining.get(key) is joiner):
                pass
    finally:
        if joining.get(key) is joiner:
            del joining[key]


async def _force_join(connection: Connection, name: str, is_wanted: Callable[[], bool]) -> bool:
    """Join ``name``, if it still is wanted; False if the rights have changed meanwhile."""
    version, room = connection.rights_version, find_room(name)
    profile = None if room is None else await find_profile(connection, room)
    async with connection.room_lock:
        if not is_wanted():
            return True
        if name in connection.rooms:
            connection.rooms[name] = True
        elif connection.rights_version != version:
            return False
        else:
            await _join(connection, name, None, profile, is_forced=True)
            await connection.notify(signals.joined, room=name)
        return True


async def force_leave(connection: Connection, name: str, reason: str | None) -> None:
    """Leave ``name`` for server code. The client gets ``reason``."""
    # One that waits for the site's code does not hold the lock.
    _joining.get().pop((connection.connection_id, name), None)
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
        answers = await asyncio.gather(*decisions, return_exceptions=True)
        for name, error in zip(own, answers, strict=True):
            if not isinstance(error, BaseException):
                continue
            if not isinstance(error, CommandError) and throttle.note_error(error):
                text = "A room could not be decided anew, so its connection leaves it."
                logger.error(text, exc_info=error)
            await _leave(connection, name, reason="forbidden")


async def _authorize(connection: Connection, name: str) -> Room:
    """The room ``name``. Raises ``CommandError`` if its role or its rule refuses."""
    identity, room = connection.identity, find_room(name)
    if room is None:
        raise forbidden(name)
    check_join(room, authenticated=identity.is_authenticated, role=identity.role)
    if room.options.authorize is not None and not await is_authorized(room, identity.user):
        raise forbidden(name)
    return room


async def _join(
    connection: Connection,
    name: str,
    command: Command | None,
    profile: Profile | None,
    *,
    is_forced: bool = False,
    told_up_to: str | None = None,
) -> None:
    """Count the connection in, join the group and reply, before any message of the room."""
    room, backend = find_room(name), get_backend()
    capacity = None if room is None else room.options.max_connections
    if not await backend.join(connection.connection_id, name, capacity=capacity):
        raise CommandError(ErrorCode.ROOM_FULL, "The room is full.", room=name)
    try:
        if profile is not None:
            await enter_presence(connection, name, profile)
        await _start(connection, name, command, is_forced, told_up_to)
    except BaseException:
        connection.rooms.pop(name, None)
        # Else with grace: its client may have come back, and will again.
        await _count_out(connection, name, is_at_once=connection.ends_for_good)
        raise


async def _start(
    connection: Connection,
    name: str,
    command: Command | None,
    is_forced: bool,
    told_up_to: str | None = None,
) -> None:
    """Be in the group of ``name`` from where ``command`` says, and reply."""
    room, asked = find_room(name), {} if command is None else command.payload
    kept, since = retention_of(room), asked.get("since")
    presence = None if room is None else room.options.presence
    if presence is not None:
        await prepare_picture(name, presence)

    def reply(start: Start) -> None:
        connection.rooms[name] = is_forced
        payload: dict[str, Any] = {"room": name, "success": True}
        if start.cursor is not None:
            payload["cursor"] = start.cursor
        if since is not None:
            payload["recovered"] = start.is_whole is True
        if presence is not None:
            payload["presence"] = attach_viewer(connection, name, presence)
            if not connection.is_certain:
                connection.begin(_follow_once_certain(connection))
        connection.reply(MessageType.SUBSCRIBED, payload, to=command)
        if since is not None and start.cursor is None:  # The room does not keep messages any more.
            connection.deliver(encode(make_envelope(MessageType.GAP, {}, room=name)))

    await connection.join_group(
        room_group(name),
        ttl_seconds=kept.ttl_seconds if kept.size else None,
        since=since,
        last=asked.get("last"),
        room=name,
        told_up_to=told_up_to,
        on_start=reply,
    )


async def _leave(
    connection: Connection, name: str, command: Command | None = None, reason: str | None = None
) -> None:
    """Leave ``name``, if it was joined, and reply."""
    if name in connection.rooms:
        del connection.rooms[name]
        if has_presence():  # Not later: it must get nothing that is still held.
            detach_viewer(connection, name)
        try:
            await connection.leave_group(room_group(name))
        finally:
            await _count_out(connection, name, is_at_once=True)
        await connection.notify(signals.left, room=name, reason=reason)
    more = {} if reason is None else {"reason": reason}
    payload = {"room": name, "success": True, **more}
    connection.reply(MessageType.UNSUBSCRIBED, payload, to=command)


async def _count_out(connection: Connection, name: str, *, is_at_once: bool) -> None:
    departing = None
    try:
        if has_presence():
            departing = await _leave_presence(connection, name, is_at_once=is_at_once)
    finally:
        await get_backend().leave(connection.connection_id, name)
    if departing is not None:
        await asyncio.shield(departing)


async def follow_presence_rights(connection: Connection) -> None:
    """Show members to ``connection``, and it to them, only as far as its present role may."""
    if has_presence():
        async with connection.room_lock:
            for name in list(connection.rooms):
                await follow_rights(connection, name)


async def _follow_once_certain(connection: Connection) -> None:
    await connection.until_certain()
    await follow_presence_rights(connection)


async def renew_profiles(connection: Connection) -> None:
    """Show ``connection`` in its rooms as its present user and role say."""
    if has_presence():
        await asyncio.gather(*(_renew_profile(connection, name) for name in connection.rooms))


async def _renew_profile(connection: Connection, name: str) -> None:
    try:
        while (room := find_room(name)) is not None:
            user = connection.identity.user
            if (profile := await find_profile(connection, room)) is None:
                return
            async with connection.room_lock:
                if name not in connection.rooms:
                    return
                if connection.identity.user is user:
                    return await renew_presence(connection, room, profile)
    except BackendError as error:
        logger.debug("A member could not be shown anew: %s", error)


async def end_presence(connection: Connection) -> None:
    """Count ``connection``, which has ended, out of the members of all its rooms.

    Receivers of ``departed`` are not waited for: they may be slow, and its slot is still taken.
    """
    if has_presence():
        at_once = connection.ends_for_good
        leaves = [
            _leave_presence(connection, each, is_at_once=at_once) for each in connection.rooms
        ]
        await asyncio.gather(*leaves)


async def _leave_presence(
    connection: Connection, name: str, *, is_at_once: bool
) -> asyncio.Task[None] | None:
    detach_viewer(connection, name)
    await finish_own_state(connection, name)
    return await leave_presence(connection, name, is_at_once=is_at_once)
