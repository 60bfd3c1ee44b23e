"""The pace of a connection that catches up: as fast as its client reads.

Not every server says when a client has read something, so the waiting bytes are looked at again
and again.
"""

import asyncio
import math
import time
from typing import Final

from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.sockets import Socket

#: Seconds between two looks at what still waits; they get longer, so that many slow clients cost
#: little.
MIN_PAUSE_SECONDS: Final = 0.005
MAX_PAUSE_SECONDS: Final = 0.2


def waiting_bytes(outbox: Outbox, socket: Socket) -> int:
    """The bytes that wait for the client, here and in the server."""
    return outbox.waiting_bytes + socket.waiting_bytes


async def is_drained(outbox: Outbox, socket: Socket, unread_seconds: float) -> bool:
    """True when nothing waits any more, or no frame will be sent; False if none of the
    waiting bytes goes out for ``unread_seconds``."""
    outbox.flush()
    least, moved_at, pause = math.inf, time.monotonic(), MIN_PAUSE_SECONDS
    while (waiting := waiting_bytes(outbox, socket)) and not outbox.is_closed:
        now = time.monotonic()
        if waiting < least or outbox.is_held:
            least, moved_at = waiting, now
        elif now - moved_at >= unread_seconds:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE_SECONDS)
    return True
