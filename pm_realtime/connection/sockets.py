"""The socket behind an ASGI ``send``, for what ASGI cannot do.

Servers show it in different ways. daphne does not: there, nothing here has an effect.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

#: Bytes from a client that the kernel may hold unread. With half of it, a burst of a few messages
#: of 2 KiB waits for the TCP window to open and takes five times as long.
RECEIVE_BUFFER_BYTES: Final = 16384
#: Bytes that asyncio reads at a time.
READ_BYTES: Final = 8192
#: Seconds that a client has to read the close frame before its socket is gone.
ABORT_SECONDS: Final = 1.0

Send = Callable[..., Any]


def limit_read_buffer(send: Send) -> None:
    """Have the server read little at a time.

    Servers parse all that they have read in one go, and that may be 256 KiB: tens of thousands of
    small frames, for which everybody else waits.
    """
    transport = _transport(send)
    with suppress(OSError):  # The client has gone: uvloop then has no socket to show.
        found = transport and transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    if hasattr(transport, "max_size"):  # asyncio's own: it also limits what has come already.
        transport.max_size = READ_BYTES


def abort(send: Send, *, after_seconds: float = ABORT_SECONDS) -> None:
    """Read nothing more from a client that does not stop sending, and drop its socket soon.

    A server that has sent a close frame goes on reading and parsing until the client answers it.
    uvicorn does so for 10 s, in which 200 such clients keep it from everybody else.
    """
    transport = _transport(send)
    if transport is not None:
        with suppress(RuntimeError):  # It is closing already.
            transport.pause_reading()
        asyncio.get_running_loop().call_later(after_seconds, transport.abort)


def _transport(send: Send) -> Any:
    """The :class:`asyncio.Transport` of the server's protocol; None if it is not to be seen."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "pause_reading") else None
