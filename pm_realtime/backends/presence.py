"""Presence: the members of each room over all processes, and the contract of the stores.

A member is a user, or a connection, with at least one connection in the room, or with one that was
lost within the room's grace. A room's ``rev`` grows with each visible change. It is a time in µs,
so it also grows if a store has lost its last writes, or everything.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: Changes of a room within this time are told together.
TELL_INTERVAL_SECONDS: Final = 0.25
#: For how long a store knows who has left. A reader that was away for longer reads all members.
LEFT_TTL_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A member as its process describes it.

    ``key`` is unique in the room. ``user_id`` is the user's primary key as text, None for an
    anonymous connection. ``text`` is the JSON text of the object
    ``{"userId": ..., "info": {...}}``, which the store keeps as it is. If ``has_info`` is false, it
    could not be found: a member that is there keeps its text.
    """

    key: str
    user_id: str | None
    text: str
    has_info: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentMember:
    """A member as all processes see it.

    ``since_ms`` is its arrival in ms since the epoch. ``connections`` is the number that is shown:
    a connection that was lost counts until its grace is over. ``state`` is a JSON text.
    """

    profile: Profile
    since_ms: int
    connections: int
    state: str | None = None


class Departure(NamedTuple):
    """A member has left ``room`` after ``seconds``. Of all processes, one gets it."""

    room: str
    key: str
    user_id: str | None
    seconds: float


class Arrival(NamedTuple):
    """A member is in ``room`` again, whose departure was found while its process was frozen."""

    room: str
    key: str
    user_id: str | None


class Entry(NamedTuple):
    """A connection has entered. ``must_tell``: see :class:`PresenceStore`."""

    member: PresentMember
    #: Whether the member was not there before, nor within its grace.
    has_arrived: bool
    must_tell: bool


class Exit(NamedTuple):
    """A connection has left. There is a ``departure`` if that was at once and the last one."""

    must_tell: bool = False
    departure: Departure | None = None


class Mark(NamedTuple):
    """The ``rev`` of a room as a reader got it at ``read_at_us``, a time of the store in µs since
    the epoch. It is 0 if nobody was there and the store knows of nobody who was: in a room that has
    been empty for long, or in all rooms if it lost everything."""

    rev: int
    read_at_us: int


class Reading(NamedTuple):
    """The members of a room, or what has changed since an earlier reading.

    ``members`` are in no order. They are None, and ``is_whole`` is true, if there are more than the
    reader wants: when there are fewer, it has to read them all. ``left`` are keys of members that
    are not there any more; always empty if ``is_whole``.
    """

    mark: Mark
    total: int
    is_whole: bool
    members: Sequence[PresentMember] | None
    left: Sequence[str] = ()


class Sweep(NamedTuple):
    """The result of a sweep. ``rooms`` must be told to all processes.

    ``next_seconds`` is the time until something is due, or may be as other processes hold members,
    which are left behind if they die. None: nothing is, in any process.
    ``arrivals`` are of this event loop; each is later than the departure of the same member.
    """

    departures: Sequence[Departure] = ()
    rooms: Sequence[str] = ()
    next_seconds: float | None = None
    arrivals: Sequence[Arrival] = ()


class PresenceStore(ABC):
    """Atomic over all processes. Every method may raise :exc:`BackendError`.

    An answer that ``must_tell`` asks its caller to tell all processes that the room has changed, by
    :func:`pm_realtime.push.atell_presence`. Of the changes within ``TELL_INTERVAL_SECONDS`` the
    first one does, so a process that is told reads at once, and once more after that time.

    The event loop that has entered a connection also leaves for it. ``leave`` raises nothing while
    Redis is away: it is written when Redis is back.
    """

    @abstractmethod
    async def enter(
        self,
        connection_id: str,
        room: str,
        profile: Profile,
        *,
        grace_seconds: float,
        former_ids: Collection[str] = (),
    ) -> Entry:
        """Count a connection in as one of the member ``profile.key``.

        A connection among ``former_ids`` that is still counted for the same member, perhaps by a
        process that died, is counted out without a trace. ``grace_seconds`` is that of the room.
        Again for the same connection, it changes nothing but the profile.
        """

    @abstractmethod
    async def leave(self, connection_id: str, room: str, *, is_at_once: bool) -> Exit:
        """Count a connection out, at once or with the room's grace. It may be unknown.

        With grace nothing changes that others see, until it is over: then :meth:`sweep` shows the
        number of connections that are left, or the member departs. At once, it departs if this was
        its last connection. A grace of 0 is at once.
        """

    @abstractmethod
    async def set_profile(self, connection_id: str, room: str, profile: Profile) -> bool:
        """Replace the profile of the member of a connection; whether that must be told."""

    @abstractmethod
    async def set_state(
        self, room: str, key: str, state: str | None, ttl_seconds: float | None
    ) -> bool | None:
        """Replace the state of a member; whether that must be told, None if it is not there.

        After ``ttl_seconds`` it becomes None by itself.
        """

    @abstractmethod
    async def read(self, room: str, since: Mark | None, limit: int) -> Reading:
        """The members of ``room``, if they are ``limit`` at most, or what has changed ``since``."""

    @abstractmethod
    async def check(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        """By room, the later mark of each of ``marks`` after which nothing has changed.

        Rooms that have changed are left out.
        """

    @abstractmethod
    async def find_keys(self, room: str, user_id: str) -> list[str]:
        """The keys of the members of a user in ``room``."""

    @abstractmethod
    async def find_key(self, room: str, connection_id: str) -> str | None:
        """The key of the member for which a connection counts in ``room``."""

    @abstractmethod
    async def sweep(self) -> Sweep:
        """Carry out what is due: graces, states, and the members of nodes that died.

        Called by every process about once a second, and when something is due.
        """

    @abstractmethod
    async def forget_all(self) -> None:
        """Forget all rooms. For tests."""
