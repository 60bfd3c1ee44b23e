"""The log of connections and rooms.

A record has its facts as fields of its own (``extra``), and never a session key, a cookie or the
content of a message.
"""

import logging
from typing import Any, Final

from django.dispatch import Signal

from pm_realtime import signals
from pm_realtime.protocol import CloseCode

_connections: Final = logging.getLogger("pm_realtime.connection")
_rooms: Final = logging.getLogger("pm_realtime.room")

#: Close codes that point to a fault of the client; they are logged as INFO.
CLIENT_FAULTS: Final = frozenset((CloseCode.TOO_SLOW, CloseCode.RATE_LIMITED))
#: Refusals that have a log line elsewhere or say nothing of the client; they are logged as DEBUG.
QUIET_REFUSALS: Final = frozenset((403, CloseCode.OVERLOADED, CloseCode.RESTARTING))

UserId = int | str | None


_LINES: Final = {
    signals.connected: (_connections, "%(connection_id)s connected."),
    signals.disconnected: (
        _connections,
        "%(connection_id)s ended with %(code)d after %(seconds).1f s.",
    ),
    signals.joined: (_rooms, "%(connection_id)s joined %(room)r."),
    signals.left: (_rooms, "%(connection_id)s left %(room)r."),
    signals.refused: (_rooms, "%(connection_id)s was refused %(room)r with %(code)s."),
}


def log_event(
    signal: Signal, connection_id: str, user_id: UserId, role: str | None, facts: dict[str, Any]
) -> None:
    """Log the event that ``signal`` stands for, with the ``facts`` that the signal carries."""
    logger, text = _LINES[signal]
    level = logging.DEBUG
    if signal is signals.disconnected and facts["code"] in CLIENT_FAULTS:
        level = logging.INFO
    elif signal is signals.refused and facts["room"] is None:
        logger, text = _connections, "A connection was refused with %(code)d."
        level = logging.DEBUG if facts["code"] in QUIET_REFUSALS else logging.INFO
    if logger.isEnabledFor(level):
        fields = {"connection_id": connection_id, "user_id": user_id, "role": role, **facts}
        logger.log(level, text, fields, extra=fields)


def log_rate_limit(connection_id: str, user_id: UserId) -> None:
    """Log that a message was refused because of ``RATE_LIMIT``."""
    if _connections.isEnabledFor(logging.DEBUG):
        fields = {"connection_id": connection_id, "user_id": user_id}
        _connections.debug("%(connection_id)s exceeds its rate limit.", fields, extra=fields)
