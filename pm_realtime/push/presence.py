"""Presence for server code: questions about members, and telling processes that they changed."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from pm_realtime import layer
from pm_realtime.backends import PresentMember, get_presence_store
from pm_realtime.conf import room_of
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import PresenceChanged, control_message, room_group
from pm_realtime.protocol import MAX_STATE_BYTES, MAX_STATE_TTL_SECONDS, to_json
from pm_realtime.push.targets import connection_name, room_name, user_key
from pm_realtime.push.twins import prepare_in_loop, refuse_in_loop, sync_twin_of
from pm_realtime.texts import plain_text

logger = logging.getLogger("pm_realtime.push")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceMember:
    """A user in a room, or a connection in a room whose members are connections.

    ``key`` is unique in the room. ``user_id`` is the user's primary key as text, None for an
    anonymous connection. ``since`` is in seconds since the epoch. ``connections`` is the number of
    connections in the room: one that was lost counts until the room's grace is over.
    """

    key: str
    user_id: str | None
    info: dict[str, Any]
    since: float
    connections: int
    state: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """All members of a room, those first who came first."""

    total: int
    members: list[PresenceMember]


async def aget_presence(room: str) -> Presence:
    """The members of ``room``: all of them, whatever ``max`` and ``see`` of the room say.

    Raises ``ValueError`` for a room without presence, and ``BackendError`` if Redis is away.
    """
    name = _name_of(room)
    picture = await get_presence_store().read(name, None, sys.maxsize)
    members = sorted(
        map(_as_public, picture.members or ()), key=lambda each: (each.since, each.key)
    )
    return Presence(picture.total, members)


async def ais_present(user: Any, room: str) -> bool:
    """Whether ``user``, a user object or a primary key, is a member of ``room``.

    A user who was lost is one until the room's grace is over. Raises ``ValueError`` for a room
    without presence, and ``BackendError`` if Redis is away.
    """
    name = _name_of(room)
    user_id = await prepare_in_loop(user_key, user)
    return bool(await get_presence_store().find_keys(name, user_id))


async def aset_presence(
    target: Any, room: str, state: dict[str, Any] | None, *, ttl: float | None = None
) -> None:
    """Set the state that the others in ``room`` see of a member. If it is not there: nothing.

    ``target`` is the id of a connection in the room, a user object or a primary key. A user has
    several members where they are connections: all of them get the state. ``state`` is a dict of
    at most 1,024 bytes of JSON, or None. After ``ttl`` seconds, at most 86,400, it becomes None by
    itself. A state that the client sets later replaces it. It waits for no commit.

    Raises ``ValueError`` for invalid arguments and for a room without presence, and
    ``BackendError`` if Redis is away.
    """
    if name := await _aset_state(target, room, state, ttl):
        await atell_presence(name)


def set_presence(
    target: Any, room: str, state: dict[str, Any] | None, *, ttl: float | None = None
) -> None:
    refuse_in_loop("set_presence")
    if name := _set_state(target, room, state, ttl):
        with _despite_outage(name):
            layer.send(*_change_of(name))


set_presence.__doc__ = aset_presence.__doc__


async def atell_presence(room: str) -> None:
    """Tell all processes with connections in ``room`` that its members have changed.

    Raises nothing while the layer is away: they find out by themselves, a few seconds later.
    """
    with _despite_outage(room):
        await layer.asend(*_change_of(room))


def _change_of(room: str) -> tuple[str, layer.Message]:
    """The group of ``room``, and the message to it that its members have changed."""
    group = room_group(room)
    return group, control_message(group, PresenceChanged(room))


@contextmanager
def _despite_outage(room: str) -> Iterator[None]:
    try:
        yield
    except BackendError as error:
        logger.debug("A change of the members of %r could not be told: %s", room, error)


async def _aset_state(target: Any, room: str, state: Any, ttl: Any) -> str | None:
    """The name of the room if its change must be told."""
    name, text = _name_of(room), _state_text(state)
    _check_ttl(ttl)
    store = get_presence_store()
    must_tell = False
    for key in await _find_keys(target, name):
        must_tell |= await store.set_state(name, key, text, ttl) or False
    return name if must_tell else None


async def _find_keys(target: Any, room: str) -> list[str]:
    """The keys of the members for which ``target`` stands in ``room``."""
    store = get_presence_store()
    text = plain_text(target)
    if text is not None:
        key = await store.find_key(room, connection_name(text))
        if key is not None:
            return [key]
    try:
        user_id = await prepare_in_loop(user_key, target)
    except ValueError:
        if text is None:
            raise
        # The id of a connection that is not in the room.
        return []
    return await store.find_keys(room, user_id)


def _name_of(room: object) -> str:
    """``room`` as plain text. Raises ``ValueError`` if it has no presence."""
    name = room_name(room)
    if (found := room_of(name)) is None or found.options.presence is None:
        raise ValueError(
            f"Expected a room with presence, got {name!r}. Give it the option 'presence' in ROOMS "
            "or DEFAULT_ROOM."
        )
    return name


def _state_text(state: Any) -> str | None:
    if state is None:
        return None
    try:
        text = to_json(state)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"expected a state that JSON can hold: {error}") from None
    if not text.startswith(b"{"):
        raise ValueError(f"expected a state that is a dict, or None, got {state!r}")
    if len(text) > MAX_STATE_BYTES:
        raise ValueError(
            f"expected a state of at most {MAX_STATE_BYTES} bytes of JSON, got {len(text)}"
        )
    return text.decode()


def _check_ttl(ttl: Any) -> None:
    is_number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    if ttl is not None and not (is_number and 0 < ttl <= MAX_STATE_TTL_SECONDS):
        raise ValueError(
            f"expected a ttl of more than 0 and at most {MAX_STATE_TTL_SECONDS} seconds, or None, "
            f"got {ttl!r}"
        )


def _as_public(member: PresentMember) -> PresenceMember:
    profile = member.profile
    return PresenceMember(
        key=profile.key,
        user_id=profile.user_id,
        info=msgspec.json.decode(profile.text)["info"],
        since=member.since_ms / 1000,
        connections=member.connections,
        state=None if member.state is None else msgspec.json.decode(member.state),
    )


get_presence = sync_twin_of(aget_presence)
is_present = sync_twin_of(ais_present)
_set_state = sync_twin_of(_aset_state)
