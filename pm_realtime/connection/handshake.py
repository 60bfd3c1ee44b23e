"""The handshake of a connection, from the check of its origin to ``connected``."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from channels.exceptions import StopConsumer

from pm_realtime import signals
from pm_realtime.auth import authenticate, session_name
from pm_realtime.backends import ConnectionInfo, get_backend
from pm_realtime.conf import conf
from pm_realtime.connection import gate
from pm_realtime.connection.drain import get_drain
from pm_realtime.connection.origins import describe, is_allowed_origin
from pm_realtime.connection.own_streams import own_streams
from pm_realtime.connection.query import Query, read_query
from pm_realtime.connection.revocation import Revocation
from pm_realtime.connection.senders import check_penalty
from pm_realtime.connection.slot import ConnectionSlot
from pm_realtime.connection.state import Connection, State
from pm_realtime.exceptions import CloseConnection, CommandError, OutageError
from pm_realtime.hub import Hub, Joining, Start, get_hub
from pm_realtime.layer import CookieExpected, SessionRekeyed
from pm_realtime.observability import log_failure, throttle
from pm_realtime.protocol import CloseCode, MessageType, encode, make_envelope
from pm_realtime.rooms import close_presence, open_presence

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


@dataclass(slots=True, eq=False, repr=False)
class Handshake:
    """One connection's way in and, once it ends, out again."""

    _connection: Connection
    _revocation: Revocation
    _hub: Hub | None = None
    _has_presence: bool = False
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
            connection.send_connected(self._payload({}))
            connection.end(1000, "said who")
            return False
        self._hub = hub = get_hub()
        await hub.add(connection)
        self._has_presence = open_presence()
        control_position = gate.arrival() or hub.control.position
        try:
            await self._identify()
        except CloseConnection:
            # An anonymous client may be refused for good only if its cookie is not an old one.
            await self._check_cookie(hub)
            raise
        await self._check_cookie(hub)
        query = query.of(connection.identity)
        if query.resume:
            connection.former_ids = frozenset(query.resume)
            connection.last_id, connection.client_id = query.resume[0], query.resume[-1]
        payload = await self._join_own_groups(hub, query, control_position)
        await self._take_slot(connection.last_id)
        get_drain().check()
        connection.send_connected(self._payload(payload))
        return True

    async def undo(self) -> None:
        """Let the connection out."""
        self._revocation.stop()
        try:
            if self._hub is not None:
                await self._hub.remove(self._connection)
        finally:
            if self._has_presence:
                close_presence()
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

    async def _join_own_groups(
        self, hub: Hub, query: Query, control_position: str
    ) -> dict[str, Any]:
        """Receive pushes and control messages, also those since the handshake arrived.

        Pushes are held until the effect of those control messages is known. Returns what
        ``connected`` tells of the connection's streams.
        """
        connection = self._connection
        joinings = own_streams(connection.identity, connection.connection_id, query.since or {})
        self._revocation.hold()
        starts = await hub.join_all(connection, joinings, excluded=connection.former_ids)
        # Not earlier: a role that is lost meanwhile could not leave a group that is still joined.
        self._revocation.start()
        groups = [joining.group for joining in joinings]
        await hub.control.hand_missed(connection, control_position, groups)
        if connection.connection_state >= State.CLOSING:
            raise StopConsumer
        self._revocation.release()
        return self._tell_of(joinings, starts, query)

    def _tell_of(
        self, joinings: Sequence[Joining], starts: Mapping[str, Start], query: Query
    ) -> dict[str, Any]:
        """The positions of the own streams, and whether the client has missed nothing for good."""
        cursors, is_whole = {}, not query.is_unusable
        for joining in joinings:
            start = starts[joining.group]
            if start.cursor is not None:
                cursors[joining.to] = start.cursor
            if joining.since is not None:
                is_whole = is_whole and start.is_whole is True
                if start.cursor is None:  # The stream does not keep messages any more.
                    gap = make_envelope(MessageType.GAP, {}, to=joining.to)
                    self._connection.deliver(encode(gap))
        recovered = {"recovered": is_whole} if query.wants_recovery else {}
        return {"cursors": cursors, **recovered}

    async def _take_slot(self, former: str | None) -> None:
        """Count the connection in, and ``former``, the client's last one, out."""
        connection, identity = self._connection, self._connection.identity
        info = ConnectionInfo(
            connection_id=connection.connection_id,
            user_id=str(identity.user_id) if identity.is_authenticated else None,
            role=identity.role,
            connected_at=time.time(),
        )
        address = gate.address_of(connection.scope)
        await self._slot.take(info, instead_of=former, address=address)
        if connection.identity.role != info.role:
            await get_backend().set_role(connection.connection_id, connection.identity.role)

    def _payload(self, streams: Mapping[str, Any]) -> dict[str, Any]:
        identity = self._connection.identity
        return {
            "userId": identity.user_id,
            "connectionId": self._connection.connection_id,
            "role": identity.role,
            "heartbeatInterval": round(conf.HEARTBEAT_INTERVAL * 1000),
            "heartbeatTimeout": round(conf.HEARTBEAT_TIMEOUT * 1000),
            "idempotencyPeriod": round(conf.IDEMPOTENCY_PERIOD * 1000),
            "cursors": {},
            **streams,
        }
