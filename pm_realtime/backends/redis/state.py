"""A node's own copy of its state, from which the state in Redis can be written again."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from pm_realtime.backends.base import ConnectionInfo


class NodeState:
    """The connections of one node. Ids that are not among them are ignored."""

    def __init__(self) -> None:
        #: Each connection with its arrival, as Redis told it.
        self._connections: dict[str, tuple[ConnectionInfo, str]] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def get(self, connection_id: str) -> ConnectionInfo | None:
        return self._connections.get(connection_id, (None, ""))[0]

    def add(self, connection: ConnectionInfo, arrival: str) -> None:
        self._connections[connection.connection_id] = (connection, arrival)

    def remove(self, connection_id: str) -> bool:
        """Whether the connection was there."""
        return self._connections.pop(connection_id, None) is not None

    def join(self, connection_id: str, room: str) -> None:
        if (known := self.get(connection_id)) is not None and room not in known.rooms:
            self.change(connection_id, rooms=(*known.rooms, room))

    def leave(self, connection_id: str, room: str) -> None:
        if (known := self.get(connection_id)) is not None:
            self.change(connection_id, rooms=tuple(name for name in known.rooms if name != room))

    def clear(self) -> None:
        self._connections.clear()

    def change(self, connection_id: str, **changes: Any) -> None:
        if connection_id in self._connections:
            connection, arrival = self._connections[connection_id]
            self._connections[connection_id] = (replace(connection, **changes), arrival)

    def for_redis(self, generation: int) -> list[Any]:
        """The arguments of ``write.lua`` about the two hashes of the node.

        They are the number of arguments for the first hash, then fields and values of both.
        """
        users: dict[str, list[tuple[str, str, str]]] = {}
        rooms: Counter[str] = Counter()
        fields: dict[str, Any] = {"generation": generation}
        for connection_id, (connection, arrival) in self._connections.items():
            fields[f"c:{connection_id}"] = record_of(connection)
            if connection.rooms:
                fields[f"r:{connection_id}"] = json.dumps(connection.rooms)
                rooms.update(connection.rooms)
            if connection.user_id is not None:
                entry = (connection_id, repr(connection.connected_at), arrival)
                users.setdefault(connection.user_id, []).append(entry)
        fields |= {f"u:{user}": json.dumps(entries) for user, entries in users.items()}
        fields["connections"] = len(self._connections)
        fields["authenticated"] = sum(map(len, users.values()))
        pairs = [*fields.items(), *rooms.items()]
        return [2 * len(fields), *(part for pair in pairs for part in pair)]


def record_of(connection: ConnectionInfo) -> str:
    """The record of a connection, as the scripts read it."""
    return json.dumps([connection.user_id, connection.role, connection.connected_at])
