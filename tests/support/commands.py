"""Commands of the site in tests: frames of commands about rooms, and functions that wait."""

import json
import threading
from typing import Any

from pm_realtime import arefresh_user
from tests.support.helpers import EVENT_TIMEOUT_SECONDS


def in_room(type: str, room: str | None, payload: Any = None, id: str | None = None) -> str:
    """The frame of a command about ``room``."""
    fields = {"type": type, "payload": payload, "timestamp": 1}
    more = {"room": room, "id": id}
    return json.dumps(fields | {name: value for name, value in more.items() if value is not None})


class Gate:
    """Sync functions wait at it until the test opens it. ``came`` are the values they brought."""

    def __init__(self) -> None:
        self.came: list[Any] = []
        self._is_open = threading.Event()

    def wait(self, value: Any = None) -> None:
        self.came.append(value)
        self._is_open.wait(EVENT_TIMEOUT_SECONDS)

    def open(self) -> None:
        self._is_open.set()


async def lose_role(user: Any) -> None:
    """Make a ``master`` a user. Returns before that is known to the user's connections."""
    user.is_superuser = False
    await user.asave()
    await arefresh_user(user)
