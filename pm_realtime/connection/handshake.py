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
from pm_realtime.hub import Hub, Joining, get_hub
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

    #: The client's last connection; empty if there is none.
    resume: str = ""
    #: Whether the client only asks for whom the server takes it.
    asks_who: bool = False


def read_query(query: bytes) -> Query:
    """The parts of a handshake's query that mean something here."""
    if b"resume=" not in query and b"who=" not in query:
        return Query()
    values = parse_qs(query.decode("latin1"), keep_blank_values=True)
    resume = values.get("resume")
    return Query(resume[-1].partition(",")[0] if resume else "", "who" in values)


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
            connection.send_connected(self._payload())
            connection.end(1000, "said who")
            return False
        self._hub = hub = get_hub()
        await hub.add(connection)
        control_position = gate.arrival() or hub.control.position
        try:
            await self._identify()
        except CloseConnection:
            # An anonymous client may be refused for good only if its cookie is not an old one.
            await self._check_cookie(hub)
            raise
        await self._check_cookie(hub)
        await self._join_own_groups(hub, control_position)
        await self._take_slot(query.resume)
        get_drain().check()
        connection.send_connected(self._payload())
        return True

    async def undo(self) -> None:
        """Let the connection out."""
        self._revocation.stop()
        try:
            if self._hub is not None:
                await self._hub.remove(self._connection)
        finally:
            await self._slot.leave()

    async def _identify(self) -> None:
        """Find the user, and accept the handshake if this user may connect now."""
        self._connection.identity = await authenticate(self._connection.scope)
        gate.check_user(self._connection.identity.user_id)
        check_penalty(self._connection)
        await self._connection.accept()

    async def _check_cookie(self, hub: Hub) -> None:
        """Close with 4013 if the browser is about to get another cookie than the one it sent."""
        connection = self._connection
        name = None if connection.identity.is_authenticated else session_name(connection.scope)
        seconds = connection.connection_timings.cookie_seconds
        if name is None:
            return
        expected = [kind(name) for kind in COOKIE_MESSAGES]
        if any(message in expected for message in await hub.control.find_recent(seconds)):
            raise CloseConnection(CloseCode.OVERLOADED, "the session has a new cookie")

    async def _join_own_groups(self, hub: Hub, control_position: str) -> None:
        """Receive pushes and control messages, also those since the handshake arrived.

        Pushes are held until the effect of those control messages is known.
        """
        connection = self._connection
        own_groups = groups_of(connection.identity, connection.connection_id)
        self._revocation.hold()
        await hub.join_all(connection, [Joining(group) for group in own_groups])
        # Not earlier: a role that is lost meanwhile could not leave a group that is still joined.
        self._revocation.start()
        await connection.catch_up(control_position, own_groups)
        if connection.connection_state >= State.CLOSING:
            raise StopConsumer
        self._revocation.release()

    async def _take_slot(self, former: str) -> None:
        """Count the connection in, and ``former``, the client's last one, out."""
        connection, identity = self._connection, self._connection.identity
        info = ConnectionInfo(
            connection_id=connection.connection_id,
            user_id=str(identity.user_id) if identity.is_authenticated else None,
            role=identity.role,
            connected_at=time.time(),
        )
        address = gate.address_of(connection.scope)
        await self._slot.take(info, instead_of=former or None, address=address)
        if connection.identity.role != info.role:
            await get_backend().set_role(connection.connection_id, connection.identity.role)

    def _payload(self) -> dict[str, Any]:
        identity = self._connection.identity
        return {
            "userId": identity.user_id,
            "connectionId": self._connection.connection_id,
            "role": identity.role,
            "heartbeatInterval": round(conf.HEARTBEAT_INTERVAL * 1000),
            "heartbeatTimeout": round(conf.HEARTBEAT_TIMEOUT * 1000),
        }
