"""What the hubs in Python have in common: what a message of ``dialects.JSONRooms`` asks for."""

import json
import time
from collections import defaultdict
from typing import Generic, TypeVar

Connection = TypeVar("Connection")


class Rooms(Generic[Connection]):
    """Who is in which room, by name."""

    def __init__(self) -> None:
        self.members: defaultdict[str, set[Connection]] = defaultdict(set)

    def leave(self, connection: Connection) -> None:
        """Take ``connection`` out of every room."""
        for room, members in list(self.members.items()):
            members.discard(connection)
            if not members:
                del self.members[room]

    def answer(self, connection: Connection, frame: str | bytes) -> tuple[set[Connection], str]:
        """Who gets what once ``connection`` has sent ``frame``; the text is made only once."""
        asked = json.loads(frame)
        payload = asked["payload"]
        members = self.members[payload["room"]]
        if asked["type"] == "subscribe":
            members.add(connection)
            return {connection}, json.dumps({"type": "subscribed", "payload": payload})
        told = {"type": "message", "payload": payload, "timestamp": time.time()}
        return members, json.dumps(told)
