"""The connections of one event loop in Redis, with their users and rooms."""

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from pm_realtime.backends.base import Admission, ConnectionInfo, Policy
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import Client, keys_of_node
from pm_realtime.backends.redis.lease import Leased, NodeTimings
from pm_realtime.backends.redis.presence_node import PresenceNode
from pm_realtime.backends.redis.state import NodeState, record_of
from pm_realtime.exceptions import BackendError


class Node(Leased):
    """The connections of the running event loop."""

    def __init__(
        self, client: Client, timings: NodeTimings, on_evicted: Callable[[str], None]
    ) -> None:
        super().__init__(client, timings, keys_of_node(uuid.uuid4().hex))
        self._on_evicted = on_evicted
        self._state = NodeState()
        #: Over the same sockets, and under a lease of its own.
        self.presence = PresenceNode(client, timings)

    async def add(
        self, connection: ConnectionInfo, limit: int | None, policy: Policy, instead_of: str | None
    ) -> Admission:
        def apply(answer: list[Any]) -> None:
            for replaced in answer[2:]:
                self._state.remove(replaced)
            if answer[0]:
                self._state.add(connection, answer[1])

        connection_id, time = connection.connection_id, repr(connection.connected_at)
        about = (connection_id, record_of(connection), time)
        arguments = (*about, _number(limit), policy, instead_of or "")
        self._adding += 1
        try:
            answer = await self._write(connection_id, apply, scripts.ADD, *arguments)
        finally:
            self._adding -= 1
            await self._end_if_empty()
        return Admission(bool(answer[0]), tuple(answer[2:]))

    async def remove(self, connection_id: str) -> None:
        apply = partial(self._state.remove, connection_id)
        await self._write_out(connection_id, apply, scripts.REMOVE)

    async def set_role(self, connection_id: str, role: str | None) -> None:
        known = self._state.get(connection_id)
        if known is not None:
            apply = partial(self._state.change, connection_id, role=role)
            record = record_of(replace(known, role=role))
            await self._write_out(connection_id, apply, scripts.SET_RECORD, record)

    async def join(self, connection_id: str, room: str, capacity: int | None) -> bool:
        def apply(is_joined: int) -> None:
            if is_joined:
                self._state.join(connection_id, room)

        arguments = (self._lease_ms, connection_id, room, _number(capacity))
        return bool(await self._write(connection_id, apply, scripts.JOIN, *arguments))

    async def leave(self, connection_id: str, room: str) -> None:
        apply = partial(self._state.leave, connection_id, room)
        await self._write_out(connection_id, apply, scripts.LEAVE, room)

    async def close_with_loop(self) -> None:
        """Release the node when the loop ends, which shuts its asynchronous generators down."""
        self._closing = self._close_at_end()
        await anext(self._closing)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.presence.release()
            await self.release()
            await self._client.close()

    def _is_empty(self) -> bool:
        return not self._state

    def _clear(self) -> None:
        self._state.clear()

    async def _replace(self, *, is_rewrite: bool) -> bool:
        settling_ms = round(self._timings.settling * 1000) if is_rewrite else 0
        times, state = (self._lease_ms, settling_ms), self._state.for_redis(self._generation)
        answer = await self._call(scripts.WRITE, self._generation, *times, *state)
        return answer is not None

    async def _renew(self) -> None:
        """Renew the lease, and close the connections that other nodes counted out.

        Those nodes told this one at once; this is for a message that was lost while Redis was away.
        """
        with suppress(BackendError):
            for connection_id in await self._call_own(scripts.RENEW, self._lease_ms) or ():
                if self._state.remove(connection_id):
                    self._on_evicted(connection_id)

    async def _take_out(self, generation: int) -> None:
        await self._call(scripts.RELEASE, generation)


def _number(limit: int | None) -> int | str:
    """``limit`` for a script, which takes an empty text as no limit."""
    return "" if limit is None else limit
