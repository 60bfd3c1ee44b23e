"""The exceptions that pm_realtime raises.

RealtimeError
├── CommandError        answers one command of a client with an ``error`` envelope
│   └── TimedOut        a command of the site took longer than its ``timeout``
├── CloseConnection     ends a connection with a close code
├── HandshakeRefused    answers a handshake by HTTP, before any work was done for it
├── PayloadError        a payload that is not JSON or not of its type (a ``ValueError``)
├── InvalidPayload      a value that does not fit its type (a ``ValueError``)
└── BackendError        the state or the channel layer that processes share is unreachable
    └── OutageError     the same, and it is logged already
"""

from typing import Any


class RealtimeError(Exception):
    """The base class of all exceptions of this package."""


class CommandError(RealtimeError):
    """A client's command was refused. The connection stays open.

    ``code`` is one of :class:`pm_realtime.protocol.ErrorCode`, or one of the site's own.
    ``message`` is for people and must not reveal internals. ``room`` and ``details``, such as
    ``data={"endedAt": …}``, are added to the payload of the reply.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        room: str | None = None,
        id: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.room = room
        self.id = id
        self.details = details


class CloseConnection(RealtimeError):
    """The connection ends with ``code``, one of :class:`pm_realtime.protocol.CloseCode`."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{int(code)} {reason}".strip())
        self.code = code
        self.reason = reason


class HandshakeRefused(RealtimeError):
    """A handshake is answered with the HTTP ``status``, and with ``retry_after`` in seconds."""

    def __init__(self, status: int, retry_after: int) -> None:
        super().__init__(f"{status}, retry after {retry_after} s")
        self.status = status
        self.retry_after = retry_after


class PayloadError(RealtimeError, ValueError):
    """A payload cannot be JSON: it holds an object, a lone surrogate or a circular reference.

    Or it does not fit the type that the site has declared for it; ``path`` is where, as in
    ``items[0].price``.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class BackendError(RealtimeError):
    """The shared state or the channel layer is unreachable. Clients get ``INTERNAL_ERROR``."""


class OutageError(BackendError):
    """Redis is unreachable. Its loss is logged once, and its return will be."""
