"""The socket behind an ASGI ``send``, for what ASGI cannot do.

Servers show it in different ways, or not at all: there, nothing here has an effect.
"""

import asyncio
import inspect
import socket
import struct
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

#: Bytes from a client that the kernel may hold unread. With half of it, a burst of a few messages
#: of 2 KiB waits for the TCP window to open and takes five times as long.
RECEIVE_BUFFER_BYTES: Final = 16384
#: Bytes that asyncio reads at a time.
READ_BYTES: Final = 8192
#: Has the kernel forget what it has not sent. By default it keeps that, up to 4 MB, for minutes.
DISCARD_UNSENT: Final = struct.pack("ii", 1, 0)
#: A name that only Linux has.
TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)


class Socket:
    """A socket that cannot be seen."""

    __slots__ = ()
    #: The server's object for this connection; None if it is gone, or not to be seen.
    protocol: Any = None
    #: Bytes that the server keeps until the client reads. The kernel's are not among them.
    waiting_bytes: int = 0
    #: Whether the server closes it once those are sent.
    is_closing: bool = False

    def limit_read_buffer(self) -> None:
        """Have the server read little at a time.

        Servers parse all that they have read in one go, and that may be 256 KiB: tens of thousands
        of small frames, for which everybody else waits.
        """

    def limit_unread(self, seconds: float) -> None:
        """Have the kernel drop the socket if the client takes nothing for ``seconds``, although
        something is to be sent; also once the server has closed it."""

    def pause_reading(self) -> None:
        """Read nothing more.

        A server that has sent a close frame goes on reading and parsing until the client answers
        it. uvicorn does so for 10 s, in which 200 such clients keep it from everybody else.
        """

    def abort(self) -> None:
        """Drop the socket and all that waits to be sent."""

    def abort_after(self, seconds: float) -> None:
        """Abort in ``seconds``, unless the server has dropped the socket by then."""


class _VisibleSocket(Socket):
    __slots__ = ("_protocol",)

    def __init__(self, protocol: Any) -> None:
        # Weak: the protocol has references to what uses this.
        self._protocol = weakref.ref(protocol)

    @property
    def protocol(self) -> Any:
        return self._protocol()

    @property
    def _transport(self) -> Any:
        return getattr(self._protocol(), "transport", None)

    def limit_unread(self, seconds: float) -> None:
        if TCP_USER_TIMEOUT is not None:
            milliseconds = round(seconds * 1000)
            self._set_option(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds)

    def abort_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.abort)

    def _set_option(self, level: int, option: int, value: int | bytes) -> None:
        """Nothing if it has no such option, or if the client has gone: then uvloop raises any of
        the two other errors, and Twisted has no socket."""
        with suppress(OSError, ValueError, AttributeError):
            if (found := self._find_socket()) is not None:
                found.setsockopt(level, option, value)

    def _find_socket(self) -> Any:
        raise NotImplementedError


class AsyncioSocket(_VisibleSocket):
    """That of an :class:`asyncio.Protocol`, such as uvicorn's."""

    __slots__ = ()

    @property
    def waiting_bytes(self) -> int:  # type: ignore[override]
        transport = self._transport
        return 0 if transport is None else int(transport.get_write_buffer_size())

    @property
    def is_closing(self) -> bool:  # type: ignore[override]
        transport = self._transport
        return transport is None or bool(transport.is_closing())

    def limit_read_buffer(self) -> None:
        self._set_option(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        transport = self._transport
        if hasattr(transport, "max_size"):  # asyncio's own: it also limits what has come already.
            transport.max_size = READ_BYTES

    def pause_reading(self) -> None:
        if (transport := self._transport) is not None:
            with suppress(RuntimeError):  # It is closing already.
                transport.pause_reading()

    def abort(self) -> None:
        if (transport := self._transport) is not None:
            self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD_UNSENT)
            transport.abort()

    def _find_socket(self) -> Any:
        transport = self._transport
        return transport and transport.get_extra_info("socket")


class TwistedSocket(_VisibleSocket):
    """That of daphne."""

    __slots__ = ()

    @property
    def waiting_bytes(self) -> int:  # type: ignore[override]
        if (transport := self._plain_transport) is None:
            return 0
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)

    @property
    def is_closing(self) -> bool:  # type: ignore[override]
        protocol = self._protocol()
        return protocol is None or protocol.state == protocol.STATE_CLOSED

    @property
    def _plain_transport(self) -> Any:
        """The one below TLS, which passes on the attributes of this one."""
        transport = self._transport
        while transport is not None and "_tempDataLen" not in vars(transport):
            transport = vars(transport).get("transport")
        return transport

    def limit_read_buffer(self) -> None:
        self._set_option(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if (transport := self._plain_transport) is not None:
            transport.bufferSize = READ_BYTES

    def pause_reading(self) -> None:
        if (transport := self._plain_transport) is not None:
            transport.pauseProducing()

    def abort(self) -> None:
        if (transport := self._plain_transport) is not None:
            transport.abortConnection()  # This also discards what the kernel has not sent.

    def _find_socket(self) -> Any:
        transport = self._plain_transport
        return transport and transport.getHandle()


def find_socket(send: Callable[..., Any], receive: Callable[..., Any] | None = None) -> Socket:
    """The socket behind the ``send`` of an ASGI application, or its ``receive``.

    A middleware mostly replaces only one of them, or shows what it has replaced.
    """
    send = inspect.unwrap(send)
    if isinstance(send, partial) and len(send.args) == 1:
        protocol = send.args[0]
        if hasattr(getattr(protocol, "transport", None), "abortConnection"):
            return TwistedSocket(protocol)
    for each in (send, receive):
        protocol = getattr(each and inspect.unwrap(each), "__self__", None)
        if hasattr(getattr(protocol, "transport", None), "pause_reading"):
            return AsyncioSocket(protocol)
    return Socket()
