"""The handshake of a connection, from the check of its origin to ``connected``."""

import logging
import time
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer

from pm_realtime import signals
from pm_realtime.auth import authenticate, session_name
from pm_realtime.backends import ConnectionInfo, get_backend
from pm_realtime.conf import conf
from pm_realtime.connection import gate, revocation
from pm_realtime.connection.drain import get_drain
from pm_realtime.connection.origins import describe, is_allowed_origin
from pm_realtime.connection.revocation import Revocation, groups_of
from pm_realtime.connection.slot import ConnectionSlot
from pm_realtime.connection.state import State
from pm_realtime.connection.timings import ConnectionTimings
from pm_realtime.exceptions import CloseConnection, CommandError, OutageError
from pm_realtime.hub import Hub, ResumePosition, get_hub
from pm_realtime.layer import SessionRekeyed
from pm_realtime.observability import throttle
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.connection")


def refusal_of(error: Exception) -> CloseConnection:
    """The close that answers a handshake which ``error`` has ended. Logs unexpected errors."""
    if isinstance(error, CloseConnection):
        return error
    if isinstance(error, OutageError):
        logger.debug("A connection could not be opened: %s", error)
    elif not isinstance(error, CommandError) and throttle.note_error(error):
        logger.error("A connection could not be opened.", exc_info=error)
    return CloseConnection(CloseCode.OVERLOADED)


class Query(NamedTuple):
    """The query of a handshake.

    ``resume`` is how far the client has read; None if it does not want its connections to be
    resumed. ``asks_who`` means that the client only asks for whom the server takes it.
    """

    resume: ResumePosition | None = None
    asks_who: bool = False


NO_QUERY: Final = Query()


def read_query(query: bytes) -> Query:
    """The parts of a handshake's query that mean something here."""
    if b"resume=" not in query and b"who=" not in query:
        return NO_QUERY
    values = parse_qs(query.decode("latin1"), keep_blank_values=True)
    resume = values.get("resume")
    return Query(_read_position(resume[-1]) if resume else None, "who" in values)


def _read_position(text: str) -> ResumePosition:
    """The position in ``text``; without a connection if ``text`` is empty or malformed."""
    connection_id, _, seen = text.partition(",")
    if not (seen.isascii() and seen.isdigit() and len(seen) < 16):
        return ResumePosition("", 0)
    return ResumePosition(connection_id, int(seen))


class Former(NamedTuple):
    """The last connection of a client that comes back.

    ``resumed`` if this one goes on where it stopped; ``here`` if it was counted in this process;
    ``elsewhere`` if this process does not know it, and it may be counted in another.
    """

    resumed: str | None = None
    here: str | None = None
    elsewhere: str | None = None


NO_FORMER: Final = Former()


class Connection(revocation.Connection, Protocol):
    """The connection, as its handshake knows it."""

    scope: Any
    state: State
    timings: ConnectionTimings

    async def accept(self) -> None: ...

    def welcome(self, payload: dict[str, Any]) -> None:
        """Send ``connected`` with ``payload``, and then the frames that wait for it."""


class Handshake:
    """One connection's way in and, once it ends, out again."""

    __slots__ = ("_connection", "_hub", "_revocation", "_slot")

    def __init__(self, connection: Connection, revocation: Revocation) -> None:
        self._connection = connection
        self._revocation = revocation
        self._hub: Hub | None = None
        self._slot = ConnectionSlot()

    async def run(self) -> bool:
        """Let the connection in. False if it was answered, but does not stay.

        Control messages reach the connection before it is counted. Pushes wait until ``connected``
        was sent. Raises ``CloseConnection``, ``CommandError`` or ``BackendError`` if the connection
        cannot come in.
        """
        try:
            return await self._run()
        finally:
            gate.end_handshake()

    async def _run(self) -> bool:
        connection = self._connection
        if not is_allowed_origin(connection.scope):
            await self._refuse_origin()
            return False
        get_drain().check()
        query = read_query(connection.scope.get("query_string", b""))
        if query.asks_who:
            await self._identify()
            connection.welcome(self._payload(None))
            connection.end(1000, "said who")
            return False
        began = time.monotonic()
        self._hub = hub = get_hub()
        await hub.add(connection)
        await self._identify()
        self._check_cookie(hub)
        former = self._resume(hub, query.resume)
        await self._join_own_groups(hub, began)
        await self._take_slot(former)
        get_drain().check()
        connection.welcome(self._payload(former.resumed))
        return True

    async def undo(self) -> None:
        """Let the connection out. If it was dropped, its resume buffer stays."""
        self._revocation.stop()
        if self._hub is not None:
            is_dropped = self._connection.state is State.DROPPED
            await self._hub.remove(self._connection, is_dropped=is_dropped)
        await self._slot.leave()

    async def _refuse_origin(self) -> None:
        """Close before the handshake is accepted, which servers turn into a 403."""
        about = describe(self._connection.scope)
        logger.warning("A page that is not of this site was refused: %s.", about)
        await self._connection.notify(signals.refused, room=None, code=403)
        self._connection.end(1000)

    async def _identify(self) -> None:
        """Find the user, and accept the handshake if this user may connect now."""
        self._connection.identity = await authenticate(self._connection.scope)
        gate.check_user(self._connection.identity.user_id)
        await self._connection.accept()

    def _check_cookie(self, hub: Hub) -> None:
        """Close with 4013 if the browser is about to get another cookie than the one it sent."""
        connection = self._connection
        name = None if connection.identity.is_authenticated else session_name(connection.scope)
        seconds = connection.timings.cookie_seconds
        if name is not None and hub.control_log.has(SessionRekeyed(name), seconds):
            raise CloseConnection(CloseCode.OVERLOADED, "the session has a new cookie")

    def _resume(self, hub: Hub, position: ResumePosition | None) -> Former:
        """Go on after the client's last connection, and from now on let this one be resumed."""
        if position is None:
            return NO_FORMER
        is_resumed, here = False, None
        if conf.RESUME_PERIOD:
            hub.missed.begin(self._connection)
            is_resumed, here = hub.missed.resume(self._connection, position)
        is_known = hub.find(position.connection_id) is not None
        return Former(
            resumed=position.connection_id if is_resumed else None,
            here=here,
            elsewhere=None if is_known else position.connection_id or None,
        )

    async def _join_own_groups(self, hub: Hub, began: float) -> None:
        """Receive pushes and control messages, also those since the user was read."""
        connection = self._connection
        own_groups = groups_of(connection.identity, connection.connection_id)
        await hub.join_all(connection, own_groups)
        # Not earlier: a role that is lost meanwhile could not leave a group that is still joined.
        self._revocation.start()
        connection.catch_up(began, own_groups)
        if connection.state >= State.CLOSING:
            raise StopConsumer

    async def _take_slot(self, former: Former) -> None:
        """Count the connection in; raise ``CloseConnection`` if there are too many."""
        connection, identity = self._connection, self._connection.identity
        info = ConnectionInfo(
            connection_id=connection.connection_id,
            user_id=str(identity.user_id) if identity.is_authenticated else None,
            role=identity.role,
            connected_at=time.time(),
        )
        if former.here is not None:
            # It would take a slot of its user from this connection, or from another tab.
            await get_backend().remove(former.here)
        await self._slot.take(info, instead_of=former.elsewhere)
        if connection.identity.role != info.role:
            await get_backend().set_role(connection.connection_id, connection.identity.role)

    def _payload(self, resumed: str | None) -> dict[str, Any]:
        identity = self._connection.identity
        payload = {
            "userId": identity.user_id,
            "connectionId": self._connection.connection_id,
            "role": identity.role,
            "heartbeatInterval": round(conf.HEARTBEAT_INTERVAL * 1000),
            "heartbeatTimeout": round(conf.HEARTBEAT_TIMEOUT * 1000),
        }
        return payload | ({"resumed": resumed} if resumed else {})
