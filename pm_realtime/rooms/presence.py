"""Presence of connections in rooms: being a member, and seeing the members."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from pm_realtime.backends import PresentMember, Profile, get_presence_store
from pm_realtime.concurrency import PerLoop, note_result
from pm_realtime.conf import PresenceOptions, Room, has_presence
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import get_hub
from pm_realtime.push import atell_presence
from pm_realtime.roles import has_role
from pm_realtime.rooms.connection import Connection
from pm_realtime.rooms.options import find_presence, find_room
from pm_realtime.rooms.pictures import Pictures
from pm_realtime.rooms.presence_info import key_of, make_profile
from pm_realtime.rooms.presence_signals import get_presence_signals
from pm_realtime.rooms.presence_sweeper import Sweeper

logger = logging.getLogger("pm_realtime.room")


@dataclass(slots=True, eq=False)
class _Own:
    """A connection as a member of a room."""

    profile: Profile
    grace_seconds: float
    #: As the store had it at first; None until it has answered.
    member: PresentMember | None = None
    #: The task that enters; also if the connection has ended meanwhile.
    entering: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class LoopPresence:
    """The presence of the connections of one event loop."""

    pictures: Pictures = field(default_factory=Pictures)
    sweeper: Sweeper = field(init=False)
    #: By connection id and room.
    own: dict[tuple[str, str], _Own] = field(default_factory=dict)
    _connections: int = 0

    def __post_init__(self) -> None:
        self.sweeper = Sweeper(get_presence_signals().tell_all, self.pictures.note_doubt)

    def open(self) -> None:
        """One more connection of this event loop is open."""
        self._connections += 1
        get_hub().follower.presence = self.pictures
        self.pictures.start()
        self.sweeper.start()

    def close(self) -> None:
        """One connection less is open. Departures that are due after the last one still happen."""
        self._connections -= 1
        if not self._connections:
            self.pictures.stop()
            self.sweeper.stop()


_presence: Final = PerLoop(LoopPresence)

#: The presence of the running event loop.
get_loop_presence: Final = _presence.get


def open_presence() -> bool:
    """A connection has been added to the hub. Whether :func:`close_presence` is to be called."""
    if not has_presence():
        return False
    get_loop_presence().open()
    return True


def close_presence() -> None:
    """A connection has been removed from the hub."""
    get_loop_presence().close()


async def find_profile(connection: Connection, room: Room) -> Profile | None:
    """How others are to see ``connection`` as a member of ``room``; None if they do not.

    The site's ``info`` may be slow, so no lock is to be held.
    """
    options = room.options.presence
    if options is None or (key := _key_if_seen(connection, room, options)) is None:
        return None
    return await make_profile(room, connection.identity, key)


async def enter_presence(connection: Connection, room: str, profile: Profile) -> None:
    """Count ``connection`` in as the member of ``room`` with the ``profile`` that was found.

    Sends ``arrived`` if the member has come, and tells all processes. Raises ``BackendError``.
    """
    if (options := find_presence(room)) is None:
        return
    # Before the store is asked: if the answer is lost, the connection still leaves.
    own = get_loop_presence().own[connection.connection_id, room] = _Own(profile, options.grace)
    # Also if the connection ends meanwhile: nobody else is told that the member has arrived.
    own.entering = asyncio.create_task(_enter_store(connection, room, options, own))
    own.entering.add_done_callback(note_result)
    await asyncio.shield(own.entering)
    own.entering = None


async def _enter_store(
    connection: Connection, room: str, options: PresenceOptions, own: _Own
) -> None:
    profile = own.profile
    entry = await get_presence_store().enter(
        connection.connection_id,
        room,
        profile,
        grace_seconds=options.grace,
        former_ids=() if connection.last_id is None else (connection.last_id,),
    )
    own.member, own.profile = entry.member, entry.member.profile
    if entry.has_arrived:
        get_presence_signals().tell_arrival(room, profile.key, connection.identity.user)
    if entry.must_tell:
        await atell_presence(room)


def _key_if_seen(connection: Connection, room: Room, options: PresenceOptions) -> str | None:
    """The key of the member that ``connection`` is; None if it is none."""
    if not _is_among(options.be_seen, connection):
        return None
    return key_of(room, connection.identity, connection.client_id)


async def prepare_picture(room: str, options: PresenceOptions) -> None:
    """Read the picture of ``room``, for a viewer that is attached next. Raises ``BackendError``."""
    await get_loop_presence().pictures.prepare(room, options.max)


def attach_viewer(connection: Connection, room: str, options: PresenceOptions) -> dict[str, Any]:
    """Make ``connection`` a viewer of ``room``, or one with its present right to see members.

    Returns the payload for it: ``rev``, ``total``, and if it may know them ``members`` and ``me``.
    Every change after that ``rev`` is delivered to it, until :func:`detach_viewer`. While its
    rights are in doubt it sees no members: :func:`follow_rights` is to be called after that.
    """
    may_see = connection.is_certain and _is_among(options.see, connection)
    pictures = get_loop_presence().pictures
    picture = pictures.attach(connection, room, options.max, may_see=may_see)
    return picture.describe(may_see=may_see, own=_own_member(connection, room))


def detach_viewer(connection: Connection, room: str) -> None:
    """Deliver no more changes of ``room`` to ``connection``. It may not be a viewer."""
    get_loop_presence().pictures.detach(connection, room)


async def leave_presence(
    connection: Connection, room: str, *, is_at_once: bool
) -> asyncio.Task[None] | None:
    """Count ``connection`` out, at once or with the grace of ``room``. It may not be counted.

    If its member departs and ``departed`` has receivers, returns the task that sends it. They may
    be slow. Raises nothing while the backend is away.
    """
    own = get_loop_presence().own.pop((connection.connection_id, room), None)
    if own is None:
        return None
    # Also if the connection ends meanwhile: nobody else is told that the member has departed.
    leaving = asyncio.create_task(_leave_store(connection, room, own, is_at_once=is_at_once))
    leaving.add_done_callback(note_result)
    return await asyncio.shield(leaving)


async def _leave_store(
    connection: Connection, room: str, own: _Own, *, is_at_once: bool
) -> asyncio.Task[None] | None:
    if own.entering is not None:
        await asyncio.wait([own.entering])
    try:
        left = await get_presence_store().leave(
            connection.connection_id, room, is_at_once=is_at_once
        )
    except BackendError as error:
        logger.debug("A connection could not be counted out of %r: %s", room, error)
        return None
    if not is_at_once:
        get_loop_presence().sweeper.note_due(own.grace_seconds, is_own=True)
    if left.must_tell:
        await atell_presence(room)
    if left.departure is None:
        return None
    return get_presence_signals().tell_departure(left.departure, connection.identity.user)


async def follow_rights(connection: Connection, room: str) -> None:
    """Follow the present role of ``connection``, by which it may see members and be seen.

    It leaves at once if it may not be seen.
    """
    found = find_room(room)
    if found is None or (options := found.options.presence) is None:
        return
    key = own_key(connection, room)
    is_hidden = key is not None and key != _key_if_seen(connection, found, options)
    if is_hidden:
        await leave_presence(connection, room, is_at_once=True)
    _tell_viewer(connection, room, options, is_me_changed=is_hidden)


async def renew_presence(connection: Connection, room: Room, profile: Profile) -> None:
    """Be the member of ``room`` with ``profile``, which has just been found.

    Enters if it was no member. Raises ``BackendError``.
    """
    options = room.options.presence
    if options is None or profile.key != _key_if_seen(connection, room, options):
        return
    own = _find_own(connection, room.name)
    if own is None or own.member is None:
        await enter_presence(connection, room.name, profile)
        _tell_viewer(connection, room.name, options, is_me_changed=True)
    elif profile.has_info and profile != own.profile:
        await _replace_profile(connection, room.name, own, profile)


async def _replace_profile(connection: Connection, room: str, own: _Own, profile: Profile) -> None:
    store = get_presence_store()
    must_tell = await store.set_profile(connection.connection_id, room, profile)
    own.profile = profile
    if must_tell:
        await atell_presence(room)


def _tell_viewer(
    connection: Connection, room: str, options: PresenceOptions, *, is_me_changed: bool
) -> None:
    """Tell ``connection`` the members if it may see them now, or that it may not any more, or that
    it is another member now, or none."""
    pictures, may_see = get_loop_presence().pictures, _is_among(options.see, connection)
    did_see = pictures.may_see(connection, room)
    if did_see is None or (did_see is may_see and not is_me_changed):
        return
    picture = pictures.attach(connection, room, options.max, may_see=may_see)
    own = _own_member(connection, room)
    payload = picture.describe_change(did_see=did_see, may_see=may_see, own=own)
    pictures.tell(connection, room, payload)


def own_key(connection: Connection, room: str) -> str | None:
    """The key of the member as which ``connection`` counts in ``room``; None if it does not."""
    own = _find_own(connection, room)
    return None if own is None else own.profile.key


def note_due(seconds: float) -> None:
    """A state lapses in ``seconds``."""
    get_loop_presence().sweeper.note_due(seconds)


def _find_own(connection: Connection, room: str) -> _Own | None:
    return get_loop_presence().own.get((connection.connection_id, room))


def _own_member(connection: Connection, room: str) -> PresentMember | None:
    own = _find_own(connection, room)
    return None if own is None else own.member


def _is_among(allowed: str | tuple[str, ...] | None, connection: Connection) -> bool:
    """Whether the role of ``connection`` is ``allowed``: a role and every higher one, or one of
    several alone; None allows everybody."""
    role = connection.identity.role
    if isinstance(allowed, str):
        return has_role(role, allowed)
    return allowed is None or role in allowed
