"""The limit of handshakes that wait for the database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pm_realtime.concurrency import PerLoop
from pm_realtime.exceptions import CloseConnection
from pm_realtime.protocol import CloseCode

#: Handshakes of an event loop that may wait for their threads.
MAX_HANDSHAKES: Final = 1000
_under_way: Final = PerLoop[set[Any]](set)


@contextmanager
def waiting_handshake() -> Iterator[None]:
    """Around all that a handshake waits for the database.

    Raises ``CloseConnection`` with 4013 where too many do.
    """
    under_way, task = _under_way.get(), asyncio.current_task()
    if len(under_way) >= MAX_HANDSHAKES:
        raise CloseConnection(CloseCode.OVERLOADED, "too many handshakes")
    under_way.add(task)
    try:
        yield
    finally:
        under_way.discard(task)
