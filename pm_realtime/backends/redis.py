"""The state of many processes, in Redis or Valkey.

Each event loop that holds connections is a node. All that a node holds stands in two hashes of its
own: ``node:<id>``, which is the lease too, and ``node:<id>:rooms``. One script renews the expiry of
both, whatever they hold; a node that is killed stops doing so, and its hashes, with every count in
them, are gone when the lease runs out: nothing is left that anybody would have to sweep. The one
key that nodes share, the set of their ids, expires with the last lease; ids of dead nodes are taken
out of it by whoever meets them. In return a question looks at one hash of each node, within one
script and so at one moment: it costs with the number of nodes, never of connections.

A node keeps a copy of what it holds. Where a write failed, or the lease is gone (Redis came back
empty), it writes all of it anew under a higher ``generation``; what was sent under a lower one and
arrives late changes nothing.
"""

import asyncio
import json
import os
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, TypeVar

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.backends import redis_client
from pm_realtime.backends import redis_scripts as scripts
from pm_realtime.backends.base import Admission, Backend, ConnectionInfo, Policy, Stats
from pm_realtime.backends.redis_client import Client
from pm_realtime.backends.redis_node import Node
from pm_realtime.background import run_in_background
from pm_realtime.exceptions import BackendError, OutageError

R = TypeVar("R")


class RedisBackend(Backend):
    """Every node's state under a lease of its own; see the head of this file.

    A connection is joined, left and removed by the event loop that added it; everybody may ask.
    ``remove``, ``leave`` and ``set_role`` raise nothing while Redis is away: it learns of them when
    it is back.
    """

    #: Seconds: how long a node outlives its process; how often it says that it lives; how often a
    #: node that lost Redis looks for it; how long one command may take.
    LEASE: ClassVar[float] = 12.0
    RENEW_INTERVAL: ClassVar[float] = 4.0
    RETRY_INTERVAL: ClassVar[float] = 0.5
    TIMEOUT: ClassVar[float] = 1.5
    #: Seconds for which a Redis that came back empty lets nobody in, so that all may write first.
    SETTLING: ClassVar[float] = 2.0

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, asyncio.AbstractEventLoop], Node] = {}

    async def add(
        self,
        connection: ConnectionInfo,
        *,
        limit: int | None,
        policy: Policy,
        instead_of: str | None = None,
    ) -> Admission:
        return await (await self._node()).add(connection, limit, policy, instead_of)

    async def remove(self, connection_id: str) -> None:
        await (await self._node()).remove(connection_id)

    async def set_role(self, connection_id: str, role: str | None) -> None:
        await (await self._node()).set_role(connection_id, role)

    async def join(self, connection_id: str, room: str, *, capacity: int | None) -> bool:
        return await (await self._node()).join(connection_id, room, capacity)

    async def leave(self, connection_id: str, room: str) -> None:
        await (await self._node()).leave(connection_id, room)

    async def get_connection(self, connection_id: str) -> ConnectionInfo | None:
        found = await (await self._node()).ask(scripts.GET_CONNECTION, connection_id)
        return _info(found) if found else None

    async def get_user_connections(self, user_id: str) -> list[ConnectionInfo]:
        found = await (await self._node()).ask(scripts.GET_USER_CONNECTIONS, user_id)
        return [_info(each) for each in found]

    async def get_stats(self) -> Stats:
        connections, authenticated, rooms = await (await self._node()).ask(scripts.GET_STATS)
        return {
            "totalConnections": connections,
            "authenticatedConnections": authenticated,
            "totalRooms": len(rooms),
            "roomStats": dict(rooms),
        }

    async def release(self) -> None:
        await (await self._node()).release()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        try:
            return run_in_background(coroutine)
        except TimeoutError as error:
            raise OutageError("The shared state did not answer in time.") from error

    def check(self) -> list[CheckMessage]:
        if not redis_client.is_installed:
            return [
                Error(
                    "The Redis backend needs the package redis, which is not installed.",
                    hint="pip install pm-realtime[redis]",
                    id="pm_realtime.E015",
                )
            ]
        try:
            Client(self.TIMEOUT)
        except ImproperlyConfigured:
            return []  # The check of the settings' types says it.
        except ValueError as error:
            if str(error).startswith(redis_client.LOCATION):
                return [_address_error(str(error), _LOCATION_HINT), *check_hosts()]
        return check_hosts()

    async def _node(self) -> Node:
        """The node of the running loop in this process; ended loops of this process go.

        What a fork brought along from its parent stays untouched: those sockets are not ours.
        """
        pid, loop = os.getpid(), asyncio.get_running_loop()
        node = self._nodes.get((pid, loop))
        if node is None:
            for key in [key for key in self._nodes if key[0] == pid and key[1].is_closed()]:
                del self._nodes[key]
            node = self._nodes[pid, loop] = self._make_node()
            await node.close_with_loop()
        return node

    def _tell_evicted(self, connection_id: str) -> None:
        if self.on_evicted is not None:
            self.on_evicted(connection_id)

    def _make_node(self) -> Node:
        try:
            client = Client(self.TIMEOUT)
        except ValueError as error:
            raise BackendError(f"The address of Redis could not be read: {error}") from error
        return Node(
            client,
            lease=self.LEASE,
            renew_interval=self.RENEW_INTERVAL,
            retry_interval=self.RETRY_INTERVAL,
            settling=self.SETTLING,
            on_evicted=self._tell_evicted,
        )


_LOCATION_HINT: Final = (
    'Set PM_REALTIME["LOCATION"] to a URL such as "redis://localhost:6379/0", or leave it out to '
    "have the first of the channel layer's hosts."
)


def check_hosts() -> list[CheckMessage]:
    """An error for each of the channel layer's hosts that cannot be used."""
    try:
        wrong = redis_client.wrong_hosts()
    except ValueError:
        return []  # CONFIG is no dict: the check of the layer says it.
    return [_address_error(each, redis_client.HOSTS_HINT) for each in wrong]


def _address_error(what: str, hint: str) -> CheckMessage:
    return Error(what, hint=hint, id="pm_realtime.E016")


def _info(found: list[str]) -> ConnectionInfo:
    connection_id, record, rooms = found
    user_id, role, connected_at = json.loads(record)
    return ConnectionInfo(
        connection_id=connection_id,
        user_id=user_id,
        role=role,
        connected_at=connected_at,
        rooms=tuple(json.loads(rooms)),
    )
