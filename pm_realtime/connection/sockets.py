"""The socket behind an ASGI ``send``, for what ASGI has no words for.

Servers show it in different ways or, as daphne, not at all: then nothing here has an effect.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

#: Bytes that the kernel may hold of what a client has sent and nobody has read. With half of it a
#: burst of a few 2 KiB messages waits for the window to open, and takes five times as long.
UNREAD: Final = 16384
#: Bytes that asyncio reads at a time.
READ: Final = 8192
#: Seconds that a client has to read the close frame before its socket is gone.
GRACE: Final = 1.0

Send = Callable[..., Any]


def limit_read_buffer(send: Send) -> None:
    """Have little read at a time.

    Servers parse in one go all that they have read, 256 KiB at most: tens of thousands of frames
    where they are small, for which everybody else waits.
    """
    transport = _transport(send)
    found = transport and transport.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD)
    if hasattr(transport, "max_size"):  # asyncio's own: at once, whatever has come already.
        transport.max_size = READ


def abort(send: Send) -> None:
    """Read nothing more from a client that sends whatever it is told, and drop it soon.

    A server that has sent a close frame goes on reading and parsing until the client answers it;
    uvicorn does for 10 s, in which 200 of these clients keep it from everybody else.
    """
    transport = _transport(send)
    if transport is not None:
        with suppress(RuntimeError):  # It is closing already.
            transport.pause_reading()
        asyncio.get_running_loop().call_later(GRACE, transport.abort)


def _transport(send: Send) -> Any:
    """The :class:`asyncio.Transport` of the server's protocol; None where it is not to be seen."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "pause_reading") else None
