"""The state of many processes, in Redis or Valkey.

Each event loop with connections is a node. Its state is in two hashes of its own, which expire
together if the node does not renew its lease. So nothing has to be swept after a node was killed,
and the cost of a question grows with the number of nodes, not of connections.

A node keeps a copy of its state. If a write failed or the lease is gone (Redis came back empty), it
writes everything again under a higher ``generation``; late writes of a lower one change nothing.
"""

import asyncio
import json
import os
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.backends.base import Admission, Backend, ConnectionInfo, Policy, Stats
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import LOCATION, Client, check_hosts, wrong_address
from pm_realtime.backends.redis.eviction import check_eviction
from pm_realtime.backends.redis.lease import NodeTimings
from pm_realtime.backends.redis.node import Node
from pm_realtime.backends.redis.presence import RedisPresence
from pm_realtime.backends.redis.presence_node import PresenceNode
from pm_realtime.backends.redis.results import RedisResults
from pm_realtime.backends.redis.streams import RedisStreams
from pm_realtime.concurrency import run_in_background
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.redis import is_installed

R = TypeVar("R")


class RedisBackend(Backend):
    """The state of each node under a lease of its own.

    The event loop that added a connection also joins, leaves and removes it; any loop may ask.
    ``remove``, ``leave`` and ``set_role`` raise nothing while Redis is away: the change is written
    when Redis is back.
    """

    def __init__(self, timings: NodeTimings | None = None) -> None:
        self._timings = timings or NodeTimings()
        self._nodes: dict[tuple[int, asyncio.AbstractEventLoop], Node] = {}
        self._streams = RedisStreams(self._timings.timeout)
        self._results = RedisResults(self._timings)
        self._presence = RedisPresence(self._presence_node)

    @property
    def streams(self) -> RedisStreams:
        return self._streams

    @property
    def results(self) -> RedisResults:
        return self._results

    @property
    def presence(self) -> RedisPresence:
        return self._presence

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

    async def get_role_counts(self) -> dict[str, int]:
        return dict(await (await self._node()).ask(scripts.GET_ROLE_COUNTS))

    async def release(self) -> None:
        node = await self._node()
        await node.presence.release()
        await node.release()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        try:
            return run_in_background(coroutine)
        except TimeoutError as error:
            raise OutageError("The shared state did not answer in time.") from error

    def check(self) -> list[CheckMessage]:
        if not is_installed:
            what = "The Redis backend needs the package redis, which is not installed."
            return [Error(what, hint='pip install "pm-realtime[redis]"', id="pm_realtime.E015")]
        try:
            Client(self._timings.timeout)
        except ImproperlyConfigured:
            return []  # The check of the settings' types reports it.
        except ValueError as error:
            if str(error).startswith(LOCATION):
                return [wrong_address(str(error), _LOCATION_HINT), *check_hosts()]
        return check_hosts()

    def check_servers(self) -> list[CheckMessage]:
        return list(check_eviction(self._streams.hosts())) if is_installed else []

    async def _node(self) -> Node:
        """The node of the running loop in this process; those of closed loops are forgotten.

        Nodes that a fork inherited from its parent stay untouched: their sockets are the parent's.
        """
        pid, loop = os.getpid(), asyncio.get_running_loop()
        node = self._nodes.get((pid, loop))
        if node is None:
            for key in [key for key in self._nodes if key[0] == pid and key[1].is_closed()]:
                del self._nodes[key]
            try:
                client = Client(self._timings.timeout)
            except ValueError as error:
                raise BackendError(f"The address of Redis could not be read: {error}") from error
            node = self._nodes[pid, loop] = Node(client, self._timings, self._report_evicted)
            await node.close_with_loop()
        return node

    async def _presence_node(self) -> PresenceNode:
        return (await self._node()).presence

    def _report_evicted(self, connection_id: str) -> None:
        if self.on_evicted is not None:
            self.on_evicted(connection_id)


_LOCATION_HINT: Final = (
    'Set PM_REALTIME["LOCATION"] to a URL such as "redis://localhost:6379/0", or leave it out to '
    "have the first of the channel layer's hosts."
)


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
