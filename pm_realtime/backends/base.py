"""The contract of a backend, which holds the state that processes share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict, TypeVar

from django.core.checks import CheckMessage

from pm_realtime.backends.memory_presence import MemoryPresence
from pm_realtime.backends.memory_results import MemoryResults
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.backends.presence import PresenceStore
from pm_realtime.backends.results import Results
from pm_realtime.backends.streams import Streams

R = TypeVar("R")

Policy = Literal["close_oldest", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One connection, as all processes know it.

    ``user_id`` is the user's primary key as text, None for an anonymous connection;
    ``connected_at`` is in seconds since the epoch; ``rooms`` are in the order of joining.
    """

    connection_id: str
    user_id: str | None
    role: str | None
    connected_at: float
    rooms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a new connection was admitted, and which older ones of its user were counted out."""

    admitted: bool
    replaced: tuple[str, ...] = ()


class Stats(TypedDict):
    """Counts over all nodes."""

    totalConnections: int
    authenticatedConnections: int
    totalRooms: int
    roomStats: dict[str, int]


class Backend(ABC):
    """Connections, their users and rooms, and the limits that must be exact.

    Every method may raise :exc:`~pm_realtime.exceptions.BackendError`.
    """

    #: Called with the id of a connection that another process counted out, in the connection's
    #: loop, if the message about it may have been lost.
    on_evicted: Callable[[str], None] | None = None

    @cached_property
    def streams(self) -> Streams:
        """The streams of all groups. By default they are in the memory of each process."""
        return MemoryStreams()

    @cached_property
    def results(self) -> Results:
        """The results of commands. By default they are in the memory of each process."""
        return MemoryResults()

    @cached_property
    def presence(self) -> PresenceStore:
        """The members of rooms. By default they are in the memory of each process."""
        return MemoryPresence()

    @abstractmethod
    async def add(
        self,
        connection: ConnectionInfo,
        *,
        limit: int | None,
        policy: Policy,
        instead_of: str | None = None,
    ) -> Admission:
        """Count ``connection`` in, atomically against ``limit``; None means no limit.

        The limit is for the connections of one user, or for all anonymous connections together.
        Over it, ``refuse`` leaves the connection out; ``close_oldest`` counts it in, and the oldest
        of its user out. An anonymous connection over the limit is left out under both policies.

        The connection with the id ``instead_of`` is counted out first, if it is of the same user:
        its client reconnects, perhaps because the process of that connection died.
        """

    @abstractmethod
    async def remove(self, connection_id: str) -> None:
        """Count a connection out, of its rooms too. Its id may be unknown."""

    @abstractmethod
    async def set_role(self, connection_id: str, role: str | None) -> None:
        """Change the role of a connection. Its id may be unknown."""

    @abstractmethod
    async def join(self, connection_id: str, room: str, *, capacity: int | None) -> bool:
        """Count a connection into ``room``; False if ``capacity`` others are in it already."""

    @abstractmethod
    async def leave(self, connection_id: str, room: str) -> None:
        """Count a connection out of ``room``. Both may be unknown."""

    @abstractmethod
    async def get_connection(self, connection_id: str) -> ConnectionInfo | None:
        """The connection with this id, None if it is not open."""

    @abstractmethod
    async def get_user_connections(self, user_id: str) -> list[ConnectionInfo]:
        """The open connections of a user, the oldest first."""

    @abstractmethod
    async def get_stats(self) -> Stats:
        """The counts of :class:`Stats`."""

    async def get_role_counts(self) -> dict[str, int] | None:
        """The connections of each role. None if it is not known, as in backends of before."""
        return None

    @abstractmethod
    async def release(self) -> None:
        """Forget the connections of the running loop, whose process ends."""

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The result of one of this backend's coroutines, from a thread without an event loop."""

    def check(self) -> list[CheckMessage]:
        """The system checks of this backend."""
        return []

    def check_servers(self) -> list[CheckMessage]:
        """The checks that ask servers, for ``manage.py check --deploy``. None if they are away."""
        return []
