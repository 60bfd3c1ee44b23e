"""A node's own copy of the members that it holds, from which Redis can be written again."""

import time
from dataclasses import dataclass, field

import msgspec

from pm_realtime.backends.presence import PresentMember, Profile


@dataclass(slots=True, eq=False)
class OwnMember:
    """``set_ms`` and ``ends_ms`` are times of Redis in ms; those of the state.

    ``due_at`` (monotonic seconds) is the end of its grace, if it has no connections here.
    """

    profile: Profile
    since_ms: int
    grace_ms: int
    connections: set[str] = field(default_factory=set)
    state: str | None = None
    set_ms: int = 0
    ends_ms: int = 0
    due_at: float | None = None


class _Written(msgspec.Struct, omit_defaults=True):
    """A connection, or a member in its grace, as ``presence_restore.lua`` reads it."""

    room: str
    key: str
    text: str
    grace: int
    since: int
    user: str | None = None
    state: str | None = None
    set: int = 0
    ends: int = 0
    connection: str | None = None
    left: int | None = None


class PresenceCopy:
    """The connections of one node by room, and members that left it and are still in their grace.

    Connections that are not among them are ignored.
    """

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], str] = {}
        self._members: dict[tuple[str, str], OwnMember] = {}
        self._leaving: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        return bool(self._members)

    def enter(self, connection_id: str, room: str, grace_ms: int, found: PresentMember) -> None:
        profile = found.profile
        former = self._keys.get((connection_id, room))
        if former not in (None, profile.key):
            self.leave(connection_id, room)
        own = self._members.get((room, profile.key))
        if own is None:
            own = OwnMember(profile, found.since_ms, grace_ms)
            self._members[room, profile.key] = own
        own.profile, own.since_ms, own.grace_ms = profile, found.since_ms, grace_ms
        own.due_at = None
        self._leaving.discard((room, profile.key))
        own.connections.add(connection_id)
        self._keys[connection_id, room] = profile.key

    def leave(self, connection_id: str, room: str, *, is_at_once: bool = False) -> None:
        key = self._keys.pop((connection_id, room), None)
        if key is None:
            return
        own = self._members[room, key]
        own.connections.discard(connection_id)
        if not own.connections:
            own.due_at = time.monotonic() + (0 if is_at_once else own.grace_ms / 1000)
            self._leaving.add((room, key))

    def set_profile(self, room: str, profile: Profile) -> None:
        if (own := self._members.get((room, profile.key))) is not None:
            own.profile = profile

    def set_state(self, room: str, key: str, state: str | None, set_ms: int, ends_ms: int) -> None:
        if (own := self._members.get((room, key))) is not None:
            own.state, own.set_ms, own.ends_ms = state, set_ms, ends_ms

    def forget(self, room: str, key: str) -> None:
        """Forget a member that has departed."""
        if (room, key) in self._leaving:
            self._leaving.remove((room, key))
            del self._members[room, key]

    def forget_left(self, seconds: float) -> None:
        """Forget members whose grace has been over for ``seconds``."""
        until = time.monotonic() - seconds
        for room, key in list(self._leaving):
            if (self._members[room, key].due_at or 0) <= until:
                self.forget(room, key)

    def clear(self) -> None:
        self._keys.clear()
        self._members.clear()
        self._leaving.clear()

    def find_stale(self, fields: dict[str, str]) -> list[int | str]:
        """Those of ``fields`` of Redis, with their keys, that are not here any more.

        Behind each are the ms until its grace is over, or an empty text if that is not known.
        """
        stale: list[int | str] = []
        for name, key in fields.items():
            connection_id, _, room = name.partition("\0")
            if self._keys.get((connection_id, room)) != key:
                own = self._members.get((room, key))
                is_known = own is not None and own.due_at is not None
                stale += name, self._left_ms(own) if own and is_known else ""
        return stale

    def for_redis(self, *, has_leaving: bool) -> list[bytes]:
        """The arguments of ``presence_restore.lua``: of each connection and, if asked for, of each
        member in its grace."""
        written: list[_Written] = []
        for (room, key), own in self._members.items():
            profile = own.profile
            about = (room, key, profile.text, own.grace_ms, own.since_ms, profile.user_id)
            state = (own.state, own.set_ms, own.ends_ms)
            written += (_Written(*about, *state, each) for each in own.connections)
            if not own.connections and has_leaving:
                written.append(_Written(*about, *state, left=self._left_ms(own)))
        return [msgspec.json.encode(each) for each in written]

    def _left_ms(self, own: OwnMember) -> int:
        return max(0, round(((own.due_at or 0) - time.monotonic()) * 1000))
