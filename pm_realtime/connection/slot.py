"""Connection slots: how many connections a user, or all anonymous visitors, may have."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from pm_realtime.backends import Admission, ConnectionInfo, Policy, get_backend
from pm_realtime.concurrency import PerLoop
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, CloseConnection
from pm_realtime.hub import receive_control
from pm_realtime.layer import Close
from pm_realtime.observability import throttle
from pm_realtime.protocol import CloseCode
from pm_realtime.push import aevict

logger = logging.getLogger("pm_realtime.connection")

REPLACED: Final = Close(int(CloseCode.REPLACED), "replaced by a newer connection")
#: Seconds for which a new connection waits until those that it replaces are sent their close.
EVICTION_SECONDS: Final = 0.05
#: Seconds for which the counting of a connection may go on after its end.
LATE_COUNT_SECONDS: Final = 3
#: One address may have so much of ``MAX_ANONYMOUS_CONNECTIONS`` in an event loop: a quarter.
ADDRESSES_THAT_FILL: Final = 4

#: Closes an evicted connection if it is one of the running event loop.
_close_here: Final = partial(receive_control, message=REPLACED)
_evictions: Final[set[asyncio.Task[None]]] = set()
#: The anonymous connections of each address.
_anonymous: Final = PerLoop[Counter[str]](Counter)


@dataclass(slots=True, eq=False, repr=False)
class ConnectionSlot:
    """The slot of one connection."""

    _connection_id: str = ""
    _address: str | None = None
    _counting: asyncio.Task[Admission] | None = None

    async def take(
        self, info: ConnectionInfo, *, instead_of: str | None, address: str | None
    ) -> None:
        """Count a connection in; raise ``CloseConnection`` if no slot is left.

        ``instead_of`` is the client's last connection, perhaps of a process that has died: it is
        counted out if it was of the same user. ``address`` is the client's; None if it is unknown.
        """
        if info.user_id is None and address is not None:
            self._take_share(address)
        self._connection_id = info.connection_id
        self._counting = asyncio.get_running_loop().create_task(admit(info, instead_of))
        # Not cancelled if this connection is evicted itself: it may have to evict others.
        admission = await asyncio.shield(self._counting)
        if admission.admitted:
            return
        if info.user_id is None:
            raise CloseConnection(CloseCode.OVERLOADED, "too many anonymous connections")
        raise CloseConnection(CloseCode.TOO_MANY_CONNECTIONS, "too many connections")

    def _take_share(self, address: str) -> None:
        """Count an anonymous connection for its address. One fits, however low the limit is."""
        limit, counts = conf.MAX_ANONYMOUS_CONNECTIONS, _anonymous.get()
        if limit is not None and counts[address] >= max(1, limit // ADDRESSES_THAT_FILL):
            if count := throttle.note("anonymous connections of one address"):
                text = "Refused %d anonymous connections: over the share of one address, lately %s."
                logger.warning(text, count, address)
            raise CloseConnection(CloseCode.OVERLOADED, "too many of one address")
        counts[address] += 1
        self._address = address

    def _leave_share(self) -> None:
        if self._address is not None:
            counts = _anonymous.get()
            counts[self._address] -= 1
            if not counts[self._address]:
                del counts[self._address]
            self._address = None

    async def leave(self) -> None:
        """Count the connection out, if it was counted in or still is about to be."""
        self._leave_share()
        if self._counting is not None:
            await asyncio.wait({self._counting}, timeout=LATE_COUNT_SECONDS)
            self._counting.cancel()
            await get_backend().remove(self._connection_id)


async def admit(info: ConnectionInfo, instead_of: str | None) -> Admission:
    """Count a connection in, and begin to evict those that it replaces."""
    backend = get_backend()
    backend.on_evicted = _close_here
    is_anonymous = info.user_id is None
    admission = await backend.add(
        info,
        limit=conf.MAX_ANONYMOUS_CONNECTIONS if is_anonymous else conf.MAX_CONNECTIONS_PER_USER,
        policy=cast("Policy", conf.CONNECTION_LIMIT_POLICY),
        instead_of=instead_of,
    )
    if admission.replaced:
        eviction = asyncio.get_running_loop().create_task(_evict(admission.replaced))
        _evictions.add(eviction)
        eviction.add_done_callback(_evictions.discard)
        await asyncio.wait({eviction}, timeout=EVICTION_SECONDS)
    return admission


async def _evict(connection_ids: Iterable[str]) -> None:
    """Close connections that are counted out already. If the layer is away, other processes find
    theirs in the backend's list of evicted connections."""
    for connection_id in connection_ids:
        try:
            await aevict(connection_id, REPLACED)
        except BackendError:
            _close_here(connection_id)
