"""What the state shared between processes must offer: the contract of a backend."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar

from django.core.checks import CheckMessage

R = TypeVar("R")

Policy = Literal["close_oldest", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """What all processes know of one connection.

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
    """Whether a new connection was let in, and which of the user's older ones it pushed out."""

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

    #: Called in the loop of a connection that was counted out elsewhere, with its id, where it may
    #: not have been told.
    on_evicted: Callable[[str], None] | None = None

    @abstractmethod
    async def add(
        self,
        connection: ConnectionInfo,
        *,
        limit: int | None,
        policy: Policy,
        instead_of: str | None = None,
    ) -> Admission:
        """Count ``connection`` in, atomically against a ``limit``, None being none.

        The connection called ``instead_of``, where it is one of the same user, is counted out
        before: its client comes back, perhaps from a process that has died.

        It is for the connections of its user or, where it is anonymous, for all anonymous ones
        together. Over it, ``refuse`` leaves the connection out, and ``close_oldest`` counts it in
        and the oldest of its user out. Whatever the policy, no anonymous one goes for another: it
        is left out.
        """

    @abstractmethod
    async def remove(self, connection_id: str) -> None:
        """Count a connection out, of its rooms too. Unknown ones are fine."""

    @abstractmethod
    async def set_role(self, connection_id: str, role: str | None) -> None:
        """The user of a connection has another role. Unknown connections are fine."""

    @abstractmethod
    async def join(self, connection_id: str, room: str, *, capacity: int | None) -> bool:
        """Count a connection into ``room``; False where it holds ``capacity`` others already."""

    @abstractmethod
    async def leave(self, connection_id: str, room: str) -> None:
        """Count a connection out of ``room``. Unknown ones are fine."""

    @abstractmethod
    async def get_connection(self, connection_id: str) -> ConnectionInfo | None:
        """What is known of a connection, None where it is not open."""

    @abstractmethod
    async def get_user_connections(self, user_id: str) -> list[ConnectionInfo]:
        """The open connections of a user, the oldest first."""

    @abstractmethod
    async def get_stats(self) -> Stats:
        """The counts of :class:`Stats`."""

    @abstractmethod
    async def release(self) -> None:
        """Forget all that the running loop holds here: its process ends."""

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The result of one of this backend's coroutines, from a thread without an event loop."""

    def check(self) -> list[CheckMessage]:
        """The system checks of this backend."""
        return []
