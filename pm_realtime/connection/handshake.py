"""The handshake of a connection, from the check of its origin to ``connected``."""

import logging
import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer

from pm_realtime import signals
from pm_realtime.auth import authenticate, session_name
from pm_realtime.backends import ConnectionInfo, get_backend
from pm_realtime.conf import conf
from pm_realtime.connection import gate
from pm_realtime.connection.drain import get_drain
from pm_realtime.connection.origins import describe, is_allowed_origin
from pm_realtime.connection.revocation import Revocation, groups_of
from pm_realtime.connection.senders import check_penalty
from pm_realtime.connection.slot import ConnectionSlot
from pm_realtime.connection.state import Connection, State
from pm_realtime.exceptions import CloseConnection, CommandError, OutageError
from pm_realtime.hub import Hub, Joining, Resumed, ResumePosition, get_hub
from pm_realtime.layer import CookieExpected, SessionRekeyed
from pm_realtime.observability import log_failure, throttle
from pm_realtime.protocol import CloseCode

logger = logging.getLogger("pm_realtime.connection")


#: After these a browser may still send the old cookie of a session.
COOKIE_MESSAGES: Final = (CookieExpected, SessionRekeyed)


def refusal_of(error: Exception) -> CloseConnection:
    """The close that answers a handshake which ``error`` has ended. Logs unexpected errors."""
    if isinstance(error, CloseConnection):
        return error
    if isinstance(error, OutageError):
        logger.debug("A connection could not be opened: %s", error)
    elif not isinstance(error, CommandError):
        log_failure(logger, "A connection could not be opened.", error)
    return CloseConnection(CloseCode.OVERLOADED)


class Query(NamedTuple):
    """The query of a handshake."""

    #: How far the client has read; None if its connections are not to be resumed.
    resume: ResumePosition | None = None
    #: Whether the client only asks for whom the server takes it.
    asks_who: bool = False


def read_query(query: bytes) -> Query:
    """The parts of a handshake's query that mean something here."""
    if b"resume=" not in query and b"who=" not in query:
        return Query()
    values = parse_qs(query.decode("latin1"), keep_blank_values=True)
    resume = values.get("resume")
    return Query(_read_position(resume[-1]) if resume else None, "who" in values)


def _read_position(text: str) -> ResumePosition:
    """The position in ``text``; without a connection if ``text`` is empty or malformed."""
    connection_id, _, seen = text.partition(",")
    if not (seen.isascii() and seen.isdigit() and len(seen) < 16):
        return ResumePosition("", 0)
    return ResumePosition(connection_id, int(seen))


@dataclass(slots=True, eq=False, repr=False)
class Handshake:
    """One connection's way in and, once it ends, out again."""

    _connection: Connection
    _revocation: Revocation
    _hub: Hub | None = None
    _slot: ConnectionSlot = field(default_factory=ConnectionSlot)

    async def run(self) -> bool:
        """Let the connection in. False if it was answered, but does not stay.

        Control messages reach it before it is counted; pushes wait until ``connected`` was sent.
        Raises ``CloseConnection``, ``CommandError`` or ``BackendError`` if it is refused.
        """
        try:
            return await self._run()
        finally:
            gate.end_handshake()

    async def _run(self) -> bool:
        connection = self._connection
        if not is_allowed_origin(connection.scope):
            about = describe(connection.scope)
            logger.warning("A page that is not of this site was refused: %s.", about)
            await connection.notify(signals.refused, room=None, code=403)
            connection.end(1000)  # Before the handshake is accepted: servers make a 403 of it.
            return False
        for key in conf.find_unknown_keys():
            if throttle.note((read_query, key)):
                logger.error("PM_REALTIME[%r] is not a setting of pm_realtime.", key)
        get_drain().check()
        query = read_query(connection.scope.get("query_string", b""))
        if query.asks_who:
            await self._identify()
            connection.send_connected(self._payload(""))
            connection.end(1000, "said who")
            return False
        self._hub = hub = get_hub()
        await hub.add(connection)
        try:
            await self._identify()
        except CloseConnection:
            # An anonymous client may be refused for good only if its cookie is not an old one.
            self._check_cookie(hub)
            raise
        self._check_cookie(hub)
        resumed = self._resume(hub, query.resume)
        await self._join_own_groups(hub)
        last_id = query.resume.connection_id if query.resume is not None else ""
        await self._take_slot(resumed.former, last_id if hub.registry.find(last_id) is None else "")
        get_drain().check()
        connection.send_connected(self._payload(last_id if resumed.is_whole else ""))
        return True

    async def undo(self) -> None:
        """Let the connection out. If it was dropped, its resume buffer stays."""
        self._revocation.stop()
        try:
            if self._hub is not None:
                is_dropped = self._connection.connection_state is State.DROPPED
                await self._hub.remove(self._connection, is_dropped=is_dropped)
        finally:
            await self._slot.leave()

    async def _identify(self) -> None:
        """Find the user, and accept the handshake if this user may connect now."""
        self._connection.identity = await authenticate(self._connection.scope)
        gate.check_user(self._connection.identity.user_id)
        check_penalty(self._connection)
        await self._connection.accept()

    def _check_cookie(self, hub: Hub) -> None:
        """Close with 4013 if the browser is about to get another cookie than the one it sent."""
        connection = self._connection
        name = None if connection.identity.is_authenticated else session_name(connection.scope)
        seconds = connection.connection_timings.cookie_seconds
        log = hub.control_log
        if name is not None and any(log.has(kind(name), seconds) for kind in COOKIE_MESSAGES):
            raise CloseConnection(CloseCode.OVERLOADED, "the session has a new cookie")

    def _resume(self, hub: Hub, position: ResumePosition | None) -> Resumed:
        """Go on after the client's last connection, and from now on let this one be resumed."""
        if position is None or not conf.RESUME_PERIOD:
            return Resumed(is_whole=False, former=None)
        hub.missed.begin(self._connection)
        return hub.missed.resume(self._connection, position)

    async def _join_own_groups(self, hub: Hub) -> None:
        """Receive pushes and control messages, also those since the handshake arrived.

        Pushes are held until the effect of those control messages is known.
        """
        connection = self._connection
        own_groups = groups_of(connection.identity, connection.connection_id)
        self._revocation.hold()
        await hub.join_all(connection, [Joining(group) for group in own_groups])
        # Not earlier: a role that is lost meanwhile could not leave a group that is still joined.
        self._revocation.start()
        connection.catch_up(gate.arrival(), own_groups)
        if connection.connection_state >= State.CLOSING:
            raise StopConsumer
        self._revocation.release()

    async def _take_slot(self, former: str | None, elsewhere: str) -> None:
        """Count the connection in, and the client's last one out: ``former`` if it was open in this
        process, ``elsewhere`` if it may be in another."""
        connection, identity = self._connection, self._connection.identity
        info = ConnectionInfo(
            connection_id=connection.connection_id,
            user_id=str(identity.user_id) if identity.is_authenticated else None,
            role=identity.role,
            connected_at=time.time(),
        )
        if former is not None:
            # It would take a slot of its user from this connection, or from another tab.
            await get_backend().remove(former)
        address = gate.address_of(connection.scope)
        await self._slot.take(info, instead_of=elsewhere or None, address=address)
        if connection.identity.role != info.role:
            await get_backend().set_role(connection.connection_id, connection.identity.role)

    def _payload(self, resumed: str) -> dict[str, Any]:
        identity = self._connection.identity
        payload = {
            "userId": identity.user_id,
            "connectionId": self._connection.connection_id,
            "role": identity.role,
            "heartbeatInterval": round(conf.HEARTBEAT_INTERVAL * 1000),
            "heartbeatTimeout": round(conf.HEARTBEAT_TIMEOUT * 1000),
        }
        return payload | ({"resumed": resumed} if resumed else {})
