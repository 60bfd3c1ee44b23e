"""The members of rooms in the memory of one process."""

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import takewhile
from typing import Final

from pm_realtime.backends.presence import (
    LEFT_TTL_SECONDS,
    TELL_INTERVAL_SECONDS,
    Departure,
    Entry,
    Exit,
    Mark,
    PresenceStore,
    PresentMember,
    Profile,
    Reading,
    Sweep,
)
from pm_realtime.concurrency import after_fork

#: Members that one sweep looks at, so that it does not hold up the event loop.
MEMBERS_PER_SWEEP: Final = 1000
_US_PER_SECOND: Final = 1_000_000
_TELL_INTERVAL_US: Final = int(TELL_INTERVAL_SECONDS * _US_PER_SECOND)
_LEFT_TTL_US: Final = LEFT_TTL_SECONDS * _US_PER_SECOND


class _Member:
    """Times are in µs since the epoch."""

    __slots__ = (
        *("connection_ids", "grace_ends_at", "grace_us", "profile", "rev", "shown", "since"),
        *("state", "state_ends_at", "wakes_at"),
    )

    def __init__(self, profile: Profile, now: int) -> None:
        self.profile = profile
        self.since = now
        self.connection_ids: set[str] = set()
        self.shown = 0
        self.rev = 0
        self.grace_us = 0
        self.grace_ends_at: int | None = None
        self.state: str | None = None
        self.state_ends_at: int | None = None
        #: The time of its entry in the store's queue. Entries with other times are stale.
        self.wakes_at: int | None = None

    def as_present(self) -> PresentMember:
        return PresentMember(
            profile=self.profile,
            since_ms=self.since // 1000,
            connections=self.shown,
            state=self.state,
        )

    def ends_at(self) -> int | None:
        """When the first of its grace and its state ends."""
        times = [time for time in (self.grace_ends_at, self.state_ends_at) if time is not None]
        return min(times, default=None)


class _Room:
    """``members`` and ``left`` are in the order of their last changes."""

    __slots__ = (
        *("first_rev", "key_by_connection", "keys_by_user", "left", "members", "rev", "told_at"),
    )

    def __init__(self, first_rev: int) -> None:
        self.first_rev = first_rev
        self.rev = 0
        self.told_at: int | None = None
        self.members: dict[str, _Member] = {}
        #: By key: the ``rev`` of leaving.
        self.left: dict[str, int] = {}
        self.key_by_connection: dict[str, str] = {}
        self.keys_by_user: dict[str, dict[str, None]] = {}

    def add(self, member: _Member) -> None:
        profile = member.profile
        self.members[profile.key] = member
        self.left.pop(profile.key, None)
        if profile.user_id is not None:
            self.keys_by_user.setdefault(profile.user_id, {})[profile.key] = None

    def note_change(self, member: _Member, rev: int) -> None:
        self.rev = member.rev = rev
        key = member.profile.key
        self.members[key] = self.members.pop(key)

    def remove(self, member: _Member, rev: int) -> None:
        key, user_id = member.profile.key, member.profile.user_id
        del self.members[key]
        self.rev = self.left[key] = rev
        if user_id is not None:
            keys = self.keys_by_user[user_id]
            del keys[key]
            if not keys:
                del self.keys_by_user[user_id]

    def must_tell(self, now: int) -> bool:
        """Whether a change is the first one of the interval. The clock may have been set back."""
        if self.told_at is not None and 0 <= now - self.told_at < _TELL_INTERVAL_US:
            return False
        self.told_at = now
        return True

    def forget_left(self, now: int) -> None:
        expired = takewhile(lambda key: self.left[key] < now - _LEFT_TTL_US, self.left)
        for key in list(expired):
            del self.left[key]

    def knows_since(self, mark: Mark, now: int) -> bool:
        """Whether all that has changed after ``mark`` is known."""
        if mark.rev == self.rev:
            return True
        is_of_this_room = mark.rev == 0 or self.first_rev <= mark.rev < self.rev
        return is_of_this_room and now - _LEFT_TTL_US < mark.read_at_us <= now


class MemoryPresence(PresenceStore):
    """Dicts under a lock. No method ever awaits anything.

    ``clock`` returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last_rev = 0
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        """Begin anew; in a forked child too, as another thread may have held the lock."""
        self._lock = threading.Lock()
        self._forget_all()

    def _forget_all(self) -> None:
        self._rooms: dict[str, _Room] = {}
        #: When each room that is empty became so, the earliest first.
        self._emptied: OrderedDict[str, int] = OrderedDict()
        #: A heap of times with rooms and keys.
        self._queue: list[tuple[int, str, str]] = []

    async def enter(
        self,
        connection_id: str,
        room: str,
        profile: Profile,
        *,
        grace_seconds: float,
        former_ids: Collection[str] = (),
    ) -> Entry:
        with self._lock:
            now = self._now()
            known = self._rooms.get(room)
            if known is None:
                known = self._rooms[room] = _Room(self._next_rev(now))
            self._emptied.pop(room, None)
            member = known.members.get(profile.key)
            has_arrived = member is None
            if member is None:
                member = _Member(profile, now)
                known.add(member)
            elif not profile.has_info:
                profile = member.profile
            for former_id in former_ids:
                if former_id in member.connection_ids:
                    member.connection_ids.remove(former_id)
                    del known.key_by_connection[former_id]
            self._connect(connection_id, room, known, member, now)
            member.grace_us = int(grace_seconds * _US_PER_SECOND)
            shown = max(member.shown, len(member.connection_ids))
            has_changed = shown != member.shown or profile != member.profile
            if has_changed:
                member.shown, member.profile = shown, profile
                known.note_change(member, self._next_rev(now))
            must_tell = has_changed and known.must_tell(now)
            return Entry(member.as_present(), has_arrived, must_tell)

    async def leave(self, connection_id: str, room: str, *, is_at_once: bool) -> Exit:
        with self._lock:
            known = self._rooms.get(room)
            if known is None or (key := known.key_by_connection.pop(connection_id, None)) is None:
                return Exit()
            now, member = self._now(), known.members[key]
            member.connection_ids.remove(connection_id)
            if not (is_at_once or member.grace_us == 0):
                self._begin_grace(room, member, now)
                return Exit()
            actual = len(member.connection_ids)
            if actual == 0:
                departure = self._depart(room, known, member, now)
                return Exit(known.must_tell(now), departure)
            has_changed = self._show(known, member, max(actual, member.shown - 1), now)
            return Exit(has_changed and known.must_tell(now))

    async def set_profile(self, connection_id: str, room: str, profile: Profile) -> bool:
        with self._lock:
            known = self._rooms.get(room)
            if known is None or known.key_by_connection.get(connection_id) != profile.key:
                return False
            member = known.members[profile.key]
            if profile == member.profile:
                return False
            now = self._now()
            member.profile = profile
            known.note_change(member, self._next_rev(now))
            return known.must_tell(now)

    async def set_state(
        self, room: str, key: str, state: str | None, ttl_seconds: float | None
    ) -> bool | None:
        with self._lock:
            known = self._rooms.get(room)
            if known is None or (member := known.members.get(key)) is None:
                return None
            now = self._now()
            member.state_ends_at = None
            if state is not None and ttl_seconds is not None:
                member.state_ends_at = now + int(ttl_seconds * _US_PER_SECOND)
                self._wake(room, member)
            return self._set_state(known, member, state, now) and known.must_tell(now)

    async def read(self, room: str, since: Mark | None, limit: int) -> Reading:
        with self._lock:
            now = self._now()
            known = self._rooms.get(room)
            if known is None:
                return Reading(Mark(0, now), 0, since is None or since.rev != 0, ())
            known.forget_left(now)
            mark, total = Mark(known.rev, now), len(known.members)
            if total > limit:
                return Reading(mark, total, True, None)
            if since is None or not known.knows_since(since, now):
                return Reading(mark, total, True, _as_present(known.members.values()))
            rev = since.rev
            changed = takewhile(lambda each: each.rev > rev, reversed(known.members.values()))
            left = takewhile(lambda key: known.left[key] > rev, reversed(known.left))
            return Reading(mark, total, False, _as_present(changed), list(left))

    async def check(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        with self._lock:
            now = self._now()
            return {
                room: Mark(mark.rev, now)
                for room, mark in marks.items()
                if mark.rev == (self._rooms[room].rev if room in self._rooms else 0)
            }

    async def find_keys(self, room: str, user_id: str) -> list[str]:
        with self._lock:
            known = self._rooms.get(room)
            return [] if known is None else list(known.keys_by_user.get(user_id, ()))

    async def find_key(self, room: str, connection_id: str) -> str | None:
        with self._lock:
            known = self._rooms.get(room)
            return None if known is None else known.key_by_connection.get(connection_id)

    async def sweep(self) -> Sweep:
        with self._lock:
            now = self._now()
            departures: list[Departure] = []
            rooms: list[str] = []
            for room, known, member in self._find_due(now):
                has_changed = False
                if (ends_at := member.state_ends_at) is not None and ends_at <= now:
                    member.state_ends_at = None
                    has_changed = self._set_state(known, member, None, now)
                if (ends_at := member.grace_ends_at) is not None and ends_at <= now:
                    member.grace_ends_at = None
                    if actual := len(member.connection_ids):
                        has_changed |= self._show(known, member, actual, now)
                    else:
                        departures.append(self._depart(room, known, member, now))
                        has_changed = True
                self._wake(room, member)
                if has_changed and known.must_tell(now):
                    rooms.append(room)
            self._forget_empty(now)
            next_seconds = max(0, self._queue[0][0] - now) / _US_PER_SECOND if self._queue else None
            return Sweep(departures, rooms, next_seconds)

    async def forget_all(self) -> None:
        with self._lock:
            self._forget_all()

    def _connect(
        self, connection_id: str, room: str, known: _Room, member: _Member, now: int
    ) -> None:
        """Make a connection one of ``member``, and no more of another one."""
        other = known.key_by_connection.get(connection_id)
        if other not in (None, member.profile.key):
            known.members[other].connection_ids.remove(connection_id)
            self._begin_grace(room, known.members[other], now)
        known.key_by_connection[connection_id] = member.profile.key
        member.connection_ids.add(connection_id)

    def _show(self, known: _Room, member: _Member, shown: int, now: int) -> bool:
        """Show a number of connections; whether it is another one."""
        if shown == member.shown:
            return False
        member.shown = shown
        known.note_change(member, self._next_rev(now))
        return True

    def _set_state(self, known: _Room, member: _Member, state: str | None, now: int) -> bool:
        """Set a state; whether it is another one."""
        if state == member.state:
            return False
        member.state = state
        known.note_change(member, self._next_rev(now))
        return True

    def _depart(self, room: str, known: _Room, member: _Member, now: int) -> Departure:
        known.remove(member, self._next_rev(now))
        known.forget_left(now)
        member.grace_ends_at = member.state_ends_at = member.wakes_at = None
        if not known.members:
            self._emptied[room] = now
        seconds = max(0, now - member.since) / _US_PER_SECOND
        return Departure(room, member.profile.key, member.profile.user_id, seconds)

    def _forget_empty(self, now: int) -> None:
        while self._emptied and next(iter(self._emptied.values())) < now - _LEFT_TTL_US:
            del self._rooms[self._emptied.popitem(last=False)[0]]

    def _begin_grace(self, room: str, member: _Member, now: int) -> None:
        member.grace_ends_at = max(member.grace_ends_at or 0, now + member.grace_us)
        self._wake(room, member)

    def _wake(self, room: str, member: _Member) -> None:
        """Queue a member for the time when something of it ends."""
        ends_at = member.ends_at()
        if ends_at is not None and (member.wakes_at is None or ends_at < member.wakes_at):
            member.wakes_at = ends_at
            heappush(self._queue, (ends_at, room, member.profile.key))

    def _find_due(self, now: int) -> Iterator[tuple[str, _Room, _Member]]:
        """Take the members that are due from the queue, and stale entries before the next one."""
        count = 0
        while self._queue:
            time, room, key = self._queue[0]
            known = self._rooms.get(room)
            member = known.members.get(key) if known is not None else None
            is_stale = member is None or member.wakes_at != time
            if not is_stale and (time > now or count == MEMBERS_PER_SWEEP):
                break
            heappop(self._queue)
            if known is not None and member is not None and not is_stale:
                count += 1
                member.wakes_at = None
                yield room, known, member

    def _next_rev(self, now: int) -> int:
        self._last_rev = max(self._last_rev + 1, now)
        return self._last_rev

    def _now(self) -> int:
        return int(self._clock() * _US_PER_SECOND)


def _as_present(members: Iterable[_Member]) -> list[PresentMember]:
    return [member.as_present() for member in members]


_all: Final[weakref.WeakSet[MemoryPresence]] = weakref.WeakSet()


def _reset_all() -> None:
    for store in list(_all):
        store._reset()


after_fork(_reset_all)
