"""Direct writes: texts go to the socket past ASGI, if the server is one that is known here.

Each ASGI ``send`` makes a frame of a dict: for a broadcast the same frame a thousand times. A frame
from a server is not masked, so without compression it is the same for all, and is made once here.
Other servers, compression or a middleware around ``send`` are served through ASGI.
"""

from functools import partial
from types import MethodType
from typing import Any, Final

#: The first byte of a text frame that is a whole message.
TEXT_FRAME: Final = b"\x81"

#: A text, or several that go out together, each in a frame of its own.
Texts = str | tuple[str, ...]

_made: tuple[Texts, bytes] = ("", b"\x81\x00")


def frame_of(texts: Texts) -> bytes:
    """The frames of ``texts``, made once for connections that get the same object in turn."""
    global _made
    made_for, frame = _made
    if made_for is not texts:
        each = (texts,) if isinstance(texts, str) else texts
        frame = b"".join([_frame(text.encode()) for text in each])
        _made = (texts, frame)
    return frame


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"%b%c%b" % (TEXT_FRAME, size, payload)
    if size < 65536:
        return b"%b\x7e%b%b" % (TEXT_FRAME, size.to_bytes(2, "big"), payload)
    return b"%b\x7f%b%b" % (TEXT_FRAME, size.to_bytes(8, "big"), payload)


class _Uvicorn:
    """``--ws websockets-sansio``. It is asked what its own ``send`` would ask."""

    __slots__ = ("_connection", "_open", "_protocol", "_writable", "_write")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connection = protocol.conn
        self._open = type(protocol.conn.state).OPEN
        self._writable = protocol.writable.is_set
        self._write = protocol.transport.write

    def is_free(self) -> bool:
        protocol = self._protocol
        return bool(
            self._writable()
            and not protocol.disconnected
            and not protocol.close_sent
            and self._connection.state is self._open
        )

    def write(self, texts: Texts) -> bool:
        """Send a text, or several in one go. False, and nothing is sent, if ASGI has to do it."""
        if not self.is_free():
            return False
        try:
            self._write(frame_of(texts))
        except RuntimeError:  # From uvloop, if the socket is gone.
            return False
        return True


class _Daphne:
    """daphne. Its own ``send`` does much work in itself and in autobahn for each frame."""

    __slots__ = ("_connections", "_is_tcp", "_limit", "_protocol", "_transport")

    def __init__(self, server: Any, protocol: Any) -> None:
        self._connections = server.connections
        self._limit = protocol.maxMessagePayloadSize
        self._protocol = protocol
        self._transport = protocol.transport
        # TLS is another class around this one.
        self._is_tcp = _is_exactly(self._transport, "twisted", "Server")
        if self._is_tcp:
            _is_waiting(self._transport)

    def is_free(self) -> bool:
        protocol = self._protocol
        details = self._connections.get(protocol)
        return bool(
            details is not None
            and not details.get("disconnected")
            and protocol.state == protocol.STATE_OPEN
            and protocol.send_state == protocol.SEND_STATE_GROUND
            and not protocol.send_queue
        )

    def write(self, texts: Texts) -> bool:
        if not self.is_free():
            return False
        frame = frame_of(texts)
        if 0 < self._limit < len(frame):
            return False
        self._write(frame)
        return True

    def _write(self, frame: bytes) -> None:
        """Write at once if nothing waits to be written and the socket takes all of it."""
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


DirectWriter = _Uvicorn | _Daphne


def find_direct_writer(send: Any) -> DirectWriter | None:
    """The direct writer behind an ASGI ``send`` after its handshake, or None."""
    try:
        return _find_daphne(send) if isinstance(send, partial) else _find_uvicorn(send)
    except AttributeError:  # Another version of the server.
        return None


def _find_uvicorn(send: Any) -> DirectWriter | None:
    protocol: Any = getattr(send, "__self__", None)
    if not _is_exactly(protocol, "uvicorn", "WebSocketsSansIOProtocol"):
        return None
    is_plain = protocol.handshake_complete and protocol.initial_response is None
    if not is_plain or protocol.conn.extensions or not _is_own(send, "send"):
        return None
    writer = _Uvicorn(protocol)
    return writer if writer.is_free() else None  # This also reads all attributes once.


def _find_daphne(send: "partial[Any]") -> DirectWriter | None:
    server: Any = getattr(send.func, "__self__", None)
    protocol: Any = send.args[0] if len(send.args) == 1 and not send.keywords else None
    if not (
        _is_exactly(server, "daphne", "Server")
        and _is_exactly(protocol, "daphne", "WebSocketProtocol")
    ):
        return None
    is_plain = protocol.state == protocol.STATE_OPEN and protocol._perMessageCompress is None
    if not is_plain or not _is_own(send.func, "handle_reply"):
        return None
    writer = _Daphne(server, protocol)
    return writer if writer.is_free() else None


def _is_own(method: Any, name: str) -> bool:
    """Whether ``method`` is the one of that name in the source of its object's class.

    Tracing may have replaced it, and has to see every frame.
    """
    if type(method) is not MethodType:
        return False
    code = getattr(method.__func__, "__code__", None)
    return code is not None and code.co_qualname == f"{type(method.__self__).__name__}.{name}"


def _is_exactly(thing: object, package: str, name: str) -> bool:
    """Whether ``thing`` is of exactly that class. Servers are not imported for that."""
    kind = type(thing)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == package
