"""The state of a connection, and the connection as its parts know it."""

import enum
from typing import Any, Protocol

from pm_realtime.connection.timings import ConnectionTimings
from pm_realtime.hub import Member
from pm_realtime.protocol import CloseCode
from pm_realtime.rooms import Connection as RoomConnection


class State(enum.IntEnum):
    """A connection goes through these upward, and may leave some out."""

    #: The handshake has no answer yet.
    HANDSHAKE = 1
    #: The handshake was accepted.
    ACCEPTED = 2
    #: ``connected`` was sent.
    OPEN = 3
    #: Server or client have asked for the end.
    CLOSING = 4
    #: Nothing more is done for the connection.
    CLOSED = 5


def is_for_good(code: int) -> bool:
    """Whether a close with ``code`` ends the presence of a client at once.

    Its client does not come back by itself, and no newer connection takes its place.
    """
    return 4500 <= code <= 4999 and code != CloseCode.REPLACED


class Connection(RoomConnection, Member, Protocol):
    scope: Any
    connection_state: State
    connection_timings: ConnectionTimings
    #: The ids of the client's earlier connections.
    former_ids: frozenset[str]

    async def accept(self) -> None: ...

    def send_reply(self, type: str, payload: Any, id: str | None) -> None: ...

    def end(self, code: int, reason: str = "") -> None: ...

    def end_flood(self, reason: str) -> None:
        """Close with 4003 a client that sends far too much, and read nothing more."""

    def go_away(self, command_seconds: float, site_seconds: float) -> None:
        """Close with 4012 after the running commands: the built-in ones have ``command_seconds``,
        the site's own ``site_seconds``. A handshake closes by itself."""

    def abort(self) -> None:
        """End at once, although code of the site is running: it may be stuck."""

    def send_connected(self, payload: dict[str, Any]) -> None:
        """Send ``connected`` with ``payload``, and then the frames that wait for it."""
