"""From a text to the socket without a detour, where the server shows its own way there.

ASGI hands each connection a dict, of which the server makes a frame: for a broadcast the same one
a thousand times. A frame from a server is not masked, so without compression it is the same for
all, and is made once here. What cannot be seen, or looks otherwise than expected (other servers,
compression, a middleware around ``send``), goes by ASGI as before.
"""

from functools import partial
from typing import Any, Final, Protocol

#: First byte of a text frame that is the whole message.
TEXT: Final = b"\x81"
PROTOCOL: Final = "WebSocketProtocol"

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

    __slots__ = ("_connection", "_open", "_protocol", "_writable", "_write")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connection = protocol.conn
        self._open = type(protocol.conn.state).OPEN
        self._writable = protocol.writable.is_set
        self._write = protocol.transport.write

    def write(self, text: str) -> bool:
        protocol = self._protocol
        if (
            not self._writable()
            or protocol.disconnected
            or protocol.close_sent
            or self._connection.state is not self._open
        ):
            return False
        try:
            self._write(frame_of(text))
        except RuntimeError:  # uvloop, where the socket is gone already.
            return False
        return True


class _Daphne:
    """daphne, which asks much of itself and then autobahn for each frame."""

    __slots__ = ("_connections", "_is_tcp", "_protocol", "_transport")

    def __init__(self, server: Any, protocol: Any) -> None:
        self._connections = server.connections
        self._protocol = protocol
        self._transport = protocol.transport
        # Not TLS, which is another class around this one.
        self._is_tcp = _is_exactly(self._transport, "twisted", "Server")

    def write(self, text: str) -> bool:
        protocol = self._protocol
        details = self._connections.get(protocol)
        if (
            details is None
            or details.get("disconnected")
            or protocol.state != protocol.STATE_OPEN
            or protocol.send_state != protocol.SEND_STATE_GROUND
            or protocol.send_queue
        ):
            return False
        frame = frame_of(text)
        if 0 < protocol.maxMessagePayloadSize < len(frame):
            return False
        self._write(frame)
        return True

    def _write(self, frame: bytes) -> None:
        """At once, where nothing waits to be written and the socket takes all of it."""
        transport = self._transport
        if self._is_tcp and transport.connected and not _is_waiting(transport):
            written = transport.writeSomeData(frame)
            if written == len(frame):
                return
            if isinstance(written, int):
                frame = frame[written:]
        transport.write(frame)


def _is_waiting(transport: Any) -> bool:
    return bool(
        transport.TLS
        or transport.disconnecting
        or transport.dataBuffer
        or transport._tempDataBuffer
        or transport._writeDisconnecting
    )


def find_shortcut(send: Any) -> Shortcut | None:
    """The way behind an ASGI ``send`` whose handshake is done, or None."""
    try:
        if isinstance(send, partial):
            return _find_daphne(send)
        return _find_uvicorn(getattr(send, "__self__", None))
    except AttributeError:  # Another version, which keeps these things elsewhere.
        return None


def _find_uvicorn(protocol: Any) -> Shortcut | None:
    if not _is_exactly(protocol, "uvicorn", "WebSocketsSansIOProtocol"):
        return None
    is_plain = protocol.handshake_complete and protocol.initial_response is None
    return _Uvicorn(protocol) if is_plain and not protocol.conn.extensions else None


def _find_daphne(send: "partial[Any]") -> Shortcut | None:
    server, (protocol, *_) = send.func.__self__, send.args  # type: ignore[attr-defined]
    if not (_is_exactly(server, "daphne", "Server") and _is_exactly(protocol, "daphne", PROTOCOL)):
        return None
    is_plain = protocol.state == protocol.STATE_OPEN and protocol._perMessageCompress is None
    return _Daphne(server, protocol) if is_plain else None


def _is_exactly(thing: object, package: str, name: str) -> bool:
    """Whether ``thing`` is of that class, none derived from it. Servers are not imported for it."""
    kind = type(thing)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == package
