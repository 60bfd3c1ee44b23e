"""Everything pm_realtime raises.

RealtimeError
├── CommandError        answers one command of a client with an ``error`` envelope
├── CloseConnection     ends a connection with a close code
├── HandshakeRefused    answers a handshake by HTTP, before anything was done for it
├── PayloadError        a payload that JSON cannot hold (also a ``ValueError``)
└── BackendError        what processes share, state or channel layer, cannot be reached
    └── OutageError     the same, and the log says so already
"""

from typing import Any


class RealtimeError(Exception):
    """The root of the tree: catch this to catch whatever this package raises of its own."""


class CommandError(RealtimeError):
    """A client's command was refused; the connection goes on.

    ``code`` is one of :class:`pm_realtime.protocol.ErrorCode`, ``message`` is read by people and
    says nothing of the inside. ``room`` and ``details`` are added to the payload of the reply.
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
    """A handshake is answered with the HTTP ``status``; come again in ``retry_after`` seconds."""

    def __init__(self, status: int, retry_after: int) -> None:
        super().__init__(f"{status}, retry after {retry_after} s")
        self.status = status
        self.retry_after = retry_after


class PayloadError(RealtimeError, ValueError):
    """A payload holds something that JSON cannot: an object, a lone surrogate, a circle."""


class BackendError(RealtimeError):
    """What processes share cannot be reached; clients see ``INTERNAL_ERROR``."""


class OutageError(BackendError):
    """Redis is away; the log has when it was lost, and will have when it is back."""
