"""The memory of a client of a test, over all its connections."""

from typing import Any, Final
from urllib.parse import urlencode

from msgspec.json import encode

from pm_realtime.protocol import MessageType

#: The earlier connections of a client that a handshake names.
MAX_FORMER_CONNECTIONS: Final = 8


class ClientPositions:
    """The memory of a client over its connections: its rooms, and how far it has read.

    Positions are cursors by stream: by ``to``, and by the names of the rooms that it asked for.
    """

    def __init__(self) -> None:
        #: The ids of its connections, the newest first.
        self.connection_ids: list[str] = []
        self.user_id: str = ""
        self.own: dict[str, str] = {}
        self.rooms: dict[str, str | None] = {}
        self._subscribes: set[str] = set()

    def note_command(self, type: str, id: str) -> None:
        if type == MessageType.SUBSCRIBE:
            self._subscribes.add(id)

    def note(self, envelope: dict[str, Any]) -> None:
        """Move on as ``envelope`` says, which was just read."""
        payload: Any = envelope.get("payload")
        cursor: str | None = envelope.get("cursor")
        match envelope["type"]:
            case MessageType.CONNECTED:
                user_id = "" if payload["userId"] is None else str(payload["userId"])
                if user_id != self.user_id:
                    self.connection_ids.clear()
                    self.user_id = user_id
                if len(self.connection_ids) == MAX_FORMER_CONNECTIONS:
                    del self.connection_ids[-2]  # The first one stands for the client.
                self.connection_ids.insert(0, payload["connectionId"])
                self.own = dict(payload.get("cursors", {}))
            case MessageType.SUBSCRIBED if envelope.get("id") in self._subscribes:
                self.rooms[payload["room"]] = payload.get("cursor")
            case MessageType.UNSUBSCRIBED:
                self.rooms.pop(payload["room"], None)
            case _ if cursor is not None:
                self._move(envelope.get("room"), envelope.get("to"), cursor)

    def _move(self, room: str | None, to: str | None, cursor: str) -> None:
        if room is not None:
            if room in self.rooms:
                self.rooms[room] = max(cursor, self.rooms[room] or "")
        elif to is not None:
            self.own[to] = max(cursor, self.own.get(to, ""))

    def query(self) -> bytes:
        """The query of the handshake with which the client comes back; empty for a new client."""
        if not self.connection_ids:
            return b""
        parts = {"resume": ",".join(self.connection_ids), "user": self.user_id}
        if self.own:
            parts["since"] = encode(self.own).decode()
        return urlencode(parts).encode()
