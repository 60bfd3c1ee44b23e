"""The state of one process, in its memory."""

import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from pm_realtime.backends.base import Admission, Backend, ConnectionInfo, Policy, Stats

R = TypeVar("R")


class MemoryBackend(Backend):
    """Plain dicts under a lock, so that threads may read while the event loop writes.

    No method ever awaits anything.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: dict[str, ConnectionInfo] = {}
        self._users: dict[str, dict[str, None]] = {}
        self._authenticated = 0
        self._rooms: dict[str, dict[str, None]] = {}

    async def add(
        self,
        connection: ConnectionInfo,
        *,
        limit: int | None,
        policy: Policy,
        instead_of: str | None = None,
    ) -> Admission:
        with self._lock:
            self._remove(connection.connection_id)
            user_id = connection.user_id
            theirs = list(self._users.get(user_id, ())) if user_id is not None else []
            former = (instead_of,) if instead_of is not None and instead_of in theirs else ()
            for connection_id in former:
                theirs.remove(connection_id)
                self._remove(connection_id)
            anonymous = len(self._connections) - self._authenticated
            count = anonymous if user_id is None else len(theirs)
            excess = 0 if limit is None else max(0, count + 1 - limit)
            if excess and (user_id is None or policy == "refuse"):
                return Admission(False, former)
            for connection_id in theirs[:excess]:
                self._remove(connection_id)
            self._connections[connection.connection_id] = connection
            if user_id is not None:
                self._users.setdefault(user_id, {})[connection.connection_id] = None
                self._authenticated += 1
            return Admission(True, (*former, *theirs[:excess]))

    async def remove(self, connection_id: str) -> None:
        with self._lock:
            self._remove(connection_id)

    async def set_role(self, connection_id: str, role: str | None) -> None:
        with self._lock:
            connection = self._connections.get(connection_id)
            if connection is not None:
                self._connections[connection_id] = replace(connection, role=role)

    async def join(self, connection_id: str, room: str, *, capacity: int | None) -> bool:
        with self._lock:
            connection = self._connections.get(connection_id)
            if connection is None:
                return False
            members = self._rooms.get(room, {})
            if connection_id in members:
                return True
            if capacity is not None and len(members) >= capacity:
                return False
            self._rooms.setdefault(room, {})[connection_id] = None
            self._connections[connection_id] = replace(connection, rooms=(*connection.rooms, room))
            return True

    async def leave(self, connection_id: str, room: str) -> None:
        with self._lock:
            connection = self._connections.get(connection_id)
            if connection is not None and room in connection.rooms:
                rooms = tuple(name for name in connection.rooms if name != room)
                self._connections[connection_id] = replace(connection, rooms=rooms)
                _drop(self._rooms, room, connection_id)

    async def get_connection(self, connection_id: str) -> ConnectionInfo | None:
        with self._lock:
            return self._connections.get(connection_id)

    async def get_user_connections(self, user_id: str) -> list[ConnectionInfo]:
        with self._lock:
            return [self._connections[id] for id in self._users.get(user_id, ())]

    async def get_stats(self) -> Stats:
        with self._lock:
            return {
                "totalConnections": len(self._connections),
                "authenticatedConnections": self._authenticated,
                "totalRooms": len(self._rooms),
                "roomStats": {room: len(members) for room, members in self._rooms.items()},
            }

    async def get_role_counts(self) -> dict[str, int]:
        with self._lock:
            roles = [connection.role for connection in self._connections.values()]
        return dict(Counter(role for role in roles if role is not None))

    async def release(self) -> None:
        """Nothing to do: this state ends with its process."""

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        try:
            coroutine.send(None)
        except StopIteration as done:
            result: R = done.value
            return result
        raise RuntimeError("a method of MemoryBackend waited")

    def _remove(self, connection_id: str) -> None:
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        for room in connection.rooms:
            _drop(self._rooms, room, connection_id)
        if connection.user_id is not None:
            _drop(self._users, connection.user_id, connection_id)
            self._authenticated -= 1


def _drop(table: dict[str, dict[str, None]], key: str, connection_id: str) -> None:
    members = table[key]
    members.pop(connection_id, None)
    if not members:
        del table[key]
