"""Names and numbers of the wire protocol: message types, error codes, close codes."""

from enum import IntEnum, StrEnum
from typing import Final

SUBPROTOCOL: Final = "pm-realtime.v1"
#: The same, but a frame to the client may also hold a JSON array of envelopes.
BATCH_SUBPROTOCOL: Final = f"{SUBPROTOCOL}.batch"

#: The message of ``ErrorCode.INTERNAL_ERROR``, for any fault or outage of the server.
INTERNAL_ERROR: Final = "Something went wrong on our side."

#: Bytes of JSON that the state of a member may have.
MAX_STATE_BYTES: Final = 1024
#: Seconds after which a state becomes null by itself, at most.
MAX_STATE_TTL_SECONDS: Final = 86_400


class MessageType(StrEnum):
    """The types that this package sends or understands. A site may push any other type."""

    PING = "ping"
    PONG = "pong"
    CONNECTED = "connected"
    SUBSCRIBE = "subscribe"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBE = "unsubscribe"
    UNSUBSCRIBED = "unsubscribed"
    MESSAGE = "message"
    NOTIFICATION = "notification"
    BROADCAST = "broadcast"
    ERROR = "error"
    #: The command was carried out before, under the same id and with the same content.
    ACK = "ack"
    #: Something of a stream was lost.
    GAP = "gap"
    #: The answer to a command of the site's own.
    RESULT = "result"
    #: The members of a room, or their changes. From a client: its question, or its own state.
    PRESENCE = "presence"


#: Types that a site does not push: those of the protocol, and those for which the client's own
#: events or later versions stand. Nor does it push types that begin with a colon.
RESERVED_TYPES: Final = frozenset(
    {
        *(
            set(MessageType)
            - {MessageType.MESSAGE, MessageType.NOTIFICATION, MessageType.BROADCAST}
        ),
        "*",
    }
)


class ErrorCode(StrEnum):
    """Why a command was refused. ``retry``: the same command may succeed later."""

    retry: bool

    def __new__(cls, code: str, retry: bool) -> "ErrorCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.retry = retry
        return member

    PARSE_ERROR = "PARSE_ERROR", False
    INVALID_MESSAGE = "INVALID_MESSAGE", False
    UNKNOWN_TYPE = "UNKNOWN_TYPE", False
    INVALID_PAYLOAD = "INVALID_PAYLOAD", False
    INVALID_ROOM = "INVALID_ROOM", False
    AUTH_REQUIRED = "AUTH_REQUIRED", False
    FORBIDDEN = "FORBIDDEN", False
    NOT_IN_ROOM = "NOT_IN_ROOM", False
    ROOM_LIMIT = "ROOM_LIMIT", False
    ROOM_FULL = "ROOM_FULL", True
    RATE_LIMITED = "RATE_LIMITED", True
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE", False
    #: A command of the site took longer than its ``timeout``.
    TIMEOUT = "TIMEOUT", True
    INTERNAL_ERROR = "INTERNAL_ERROR", True


class CloseCode(IntEnum):
    """Why the server closed a connection. See also :func:`may_reconnect`."""

    HEARTBEAT_LOST = 4001
    TOO_SLOW = 4002
    RATE_LIMITED = 4003
    RESTARTING = 4012
    OVERLOADED = 4013
    SESSION_ENDED = 4501
    REPLACED = 4502
    DISCONNECTED = 4503
    USER_GONE = 4504
    TOO_MANY_CONNECTIONS = 4505


def may_reconnect(code: int) -> bool:
    """Whether a client reconnects by itself after a close with ``code`` that it did not ask for."""
    return not (code in (1002, 1003) or 1007 <= code <= 1010 or 4500 <= code <= 4999)
