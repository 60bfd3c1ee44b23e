"""Letting a connection in: the places there are, and telling those who lose theirs to it."""

import asyncio
from collections.abc import Iterable
from typing import Final, cast

from pm_realtime.backends import Admission, ConnectionInfo, Policy, get_backend
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, CloseConnection
from pm_realtime.protocol import CloseCode
from pm_realtime.push import adisconnect_connection

#: Seconds between two tries to push out a connection, and how many there are.
PAUSE: Final = 0.5
TRIES: Final = 120
#: Seconds for which a newcomer waits until they are told.
PATIENCE: Final = 0.05
#: Seconds that counting a connection in may take on after the connection has ended.
LATE: Final = 3

_evictions: Final[set[asyncio.Task[None]]] = set()


class ConnectionSlot:
    """One connection's place among those of its user, or of the anonymous ones."""

    __slots__ = ("_connection_id", "_counting")

    def __init__(self) -> None:
        self._connection_id = ""
        self._counting: asyncio.Task[Admission] | None = None

    async def take(self, info: ConnectionInfo, *, former: str | None, claimed: str | None) -> None:
        """Count a connection in, and out that of which its client says that it goes on.

        That is ``former`` where it is known to be so, and ``claimed`` where it may be in another
        process, perhaps one that has died: then it is gone if it was of the same user. Raises
        ``CloseConnection`` where there is no place: a user knows which of their connections to
        close; who is anonymous may come again later.
        """
        if former is not None:
            # Or it would take a place of its user's from this one, or from another tab.
            await get_backend().remove(former)
        self._connection_id = info.connection_id
        self._counting = asyncio.get_running_loop().create_task(admit(info, claimed))
        # To its end, even where this connection is pushed out itself: it may have to push out more.
        admission = await asyncio.shield(self._counting)
        if admission.admitted:
            return
        if info.user_id is None:
            raise CloseConnection(CloseCode.OVERLOADED, "too many anonymous connections")
        raise CloseConnection(CloseCode.TOO_MANY_CONNECTIONS, "too many connections")

    async def leave(self) -> None:
        """Count it out, if it was ever to be counted in."""
        if self._counting is not None:
            await asyncio.wait({self._counting}, timeout=LATE)
            self._counting.cancel()
            await get_backend().remove(self._connection_id)


async def admit(info: ConnectionInfo, instead_of: str | None) -> Admission:
    """Count a connection in, and begin to push out those that it replaces."""
    backend = get_backend()
    backend.on_evicted = _evict_late
    is_anonymous = info.user_id is None
    admission = await backend.add(
        info,
        limit=conf.MAX_ANONYMOUS_CONNECTIONS if is_anonymous else conf.MAX_CONNECTIONS_PER_USER,
        policy=cast("Policy", conf.CONNECTION_LIMIT_POLICY),
        instead_of=instead_of,
    )
    if admission.replaced:
        await asyncio.wait({_evict(admission.replaced)}, timeout=PATIENCE)
    return admission


def _evict_late(connection_id: str) -> None:
    _evict([connection_id])


def _evict(connection_ids: Iterable[str]) -> asyncio.Task[None]:
    eviction = asyncio.get_running_loop().create_task(_evict_all(connection_ids))
    _evictions.add(eviction)
    eviction.add_done_callback(_evictions.discard)
    return eviction


async def _evict_all(connection_ids: Iterable[str]) -> None:
    """Close connections that are counted out already, as soon as they can be told."""
    for connection_id in connection_ids:
        for _ in range(TRIES):
            try:
                await adisconnect_connection(
                    connection_id, code=CloseCode.REPLACED, reason="replaced by a newer connection"
                )
            except BackendError:
                await asyncio.sleep(PAUSE)
            else:
                break
