"""The log of connections and rooms.

A record has its facts as fields of its own (``extra``), and never a session key, a cookie or the
content of a message.
"""

import logging
from typing import Any, Final, NamedTuple

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


class Line(NamedTuple):
    logger: logging.Logger
    level: int
    text: str


def log_event(
    signal: Signal, connection_id: str, user_id: UserId, role: str | None, facts: dict[str, Any]
) -> None:
    """Log the event that ``signal`` stands for, with the ``facts`` that the signal carries."""
    line = _line(signal, facts)
    if not line.logger.isEnabledFor(line.level):
        return
    fields = {"connection_id": connection_id, "user_id": user_id, "role": role, **facts}
    line.logger.log(line.level, line.text, fields, extra=fields)


def log_rate_limit(connection_id: str, user_id: UserId) -> None:
    """Log that a message was refused because of ``RATE_LIMIT``."""
    if _connections.isEnabledFor(logging.DEBUG):
        fields = {"connection_id": connection_id, "user_id": user_id}
        _connections.debug("%(connection_id)s exceeds its rate limit.", fields, extra=fields)


def _line(signal: Signal, facts: dict[str, Any]) -> Line:
    if signal is signals.disconnected:
        level = logging.INFO if facts["code"] in CLIENT_FAULTS else logging.DEBUG
        text = "%(connection_id)s ended with %(code)d after %(seconds).1f s."
        return Line(_connections, level, text)
    if signal is signals.refused and facts["room"] is None:
        level = logging.DEBUG if facts["code"] in QUIET_REFUSALS else logging.INFO
        return Line(_connections, level, "A connection was refused with %(code)d.")
    return _LINES[signal]


_LINES: Final = {
    signals.connected: Line(_connections, logging.DEBUG, "%(connection_id)s connected."),
    signals.joined: Line(_rooms, logging.DEBUG, "%(connection_id)s joined %(room)r."),
    signals.left: Line(_rooms, logging.DEBUG, "%(connection_id)s left %(room)r."),
    signals.refused: Line(
        _rooms, logging.DEBUG, "%(connection_id)s was refused %(room)r with %(code)s."
    ),
}
