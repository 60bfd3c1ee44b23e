"""The site with receivers of ``arrived`` and ``departed``, each call of which is a line of JSON in
the file ``TEST_PRESENCE_LOG``."""

import json
import os
import time
from typing import Any

from pm_realtime.signals import arrived, departed
from tests.site.asgi import application

__all__ = ["application"]

_log = os.open(os.environ["TEST_PRESENCE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _write(kind: str, room: str, key: str, user: Any, **more: Any) -> None:
    line = {
        "kind": kind,
        "room": room,
        "key": key,
        "user": None if user is None or user.pk is None else str(user.pk),
        "process": os.getpid(),
        "at": time.time(),
        **more,
    }
    os.write(_log, f"{json.dumps(line)}\n".encode())


async def note_arrival(sender: Any, room: str, key: str, user: Any, **_: Any) -> None:
    _write("arrived", room, key, user)


async def note_departure(
    sender: Any, room: str, key: str, user: Any, seconds: float, **_: Any
) -> None:
    _write("departed", room, key, user, seconds=seconds)


arrived.connect(note_arrival)
departed.connect(note_departure)
