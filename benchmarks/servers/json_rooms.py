"""The rooms of the Python hubs, which speak ``dialects.JSONRooms``."""

import json
import time
from collections import defaultdict
from typing import Generic, TypeVar

Connection = TypeVar("Connection")


class Rooms(Generic[Connection]):
    """The members of each room, by name."""

    def __init__(self) -> None:
        self.members: defaultdict[str, set[Connection]] = defaultdict(set)

    def leave(self, connection: Connection) -> None:
        """Take ``connection`` out of every room."""
        for room, members in list(self.members.items()):
            members.discard(connection)
            if not members:
                del self.members[room]

    def answer(self, connection: Connection, frame: str | bytes) -> tuple[set[Connection], str]:
        """The receivers and the text of the answer to ``frame``. The text is made once for all."""
        asked = json.loads(frame)
        payload = asked["payload"]
        members = self.members[payload["room"]]
        if asked["type"] == "subscribe":
            members.add(connection)
            return {connection}, json.dumps({"type": "subscribed", "payload": payload})
        told = {"type": "message", "payload": payload, "timestamp": time.time()}
        return members, json.dumps(told)
