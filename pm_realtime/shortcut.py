"""From a text to the socket without a detour, where the server shows its own way there.

ASGI hands each connection a dict, of which the server makes a frame: for a broadcast the same one
a thousand times. A frame from a server is not masked, so without compression it is the same for
all, and is made once here. What cannot be seen, or looks otherwise than expected (other servers,
compression, a middleware around ``send``), goes by ASGI as before.
"""

from typing import Any, Final, Protocol

try:
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    from websockets.protocol import OPEN
except ImportError:
    is_installed = False
else:
    is_installed = True

#: First byte of a text frame that is the whole message.
TEXT: Final = b"\x81"

_made: tuple[str, bytes] = ("", b"\x81\x00")


def frame_of(text: str) -> bytes:
    """The frame that carries ``text``, made once for all who are given the same object in turn."""
    global _made
    made_for, frame = _made
    if made_for is not text:
        frame = _frame(text.encode())
        _made = (text, frame)
    return frame


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"%b%c%b" % (TEXT, size, payload)
    if size < 65536:
        return b"%b\x7e%b%b" % (TEXT, size.to_bytes(2, "big"), payload)
    return b"%b\x7f%b%b" % (TEXT, size.to_bytes(8, "big"), payload)


class Shortcut(Protocol):
    """The way to one socket."""

    def write(self, text: str) -> bool:
        """Send ``text`` as a frame; False, and nothing sent, where ASGI has to do it."""


class _Uvicorn:
    """``--ws websockets-sansio``, whose protocol is asked what its own ``send`` would ask it."""

    __slots__ = ("_connection", "_protocol", "_writable", "_write")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connection = protocol.conn
        self._writable = protocol.writable.is_set
        self._write = protocol.transport.write

    def write(self, text: str) -> bool:
        protocol = self._protocol
        if (
            not self._writable()
            or protocol.disconnected
            or protocol.close_sent
            or self._connection.state is not OPEN
        ):
            return False
        try:
            self._write(frame_of(text))
        except RuntimeError:  # uvloop, where the socket is gone already.
            return False
        return True


def find_shortcut(send: Any) -> Shortcut | None:
    """The way behind an ASGI ``send`` whose handshake is done, or None."""
    protocol = getattr(send, "__self__", None)
    if not is_installed or type(protocol) is not WebSocketsSansIOProtocol:
        return None
    try:
        is_plain = not protocol.conn.extensions and protocol.handshake_complete
        return _Uvicorn(protocol) if is_plain and protocol.initial_response is None else None
    except AttributeError:  # Another version, which keeps these things elsewhere.
        return None
