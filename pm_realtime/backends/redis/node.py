"""The state of one event loop in Redis, under a lease that ends with its process."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

from pm_realtime.backends.base import Admission, ConnectionInfo, Policy
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import CONNECTIONS_PER_LOOP, Client, keys_of_node
from pm_realtime.backends.redis.state import NodeState, record_of
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.observability import STATE, outage

logger = logging.getLogger("pm_realtime.connection")

#: The answer of a script while Redis, which came back empty, waits for all nodes to write.
IS_SETTLING: Final = -1
#: Seconds between two tries meanwhile.
SETTLING_POLL_SECONDS: Final = 0.1
#: Losses of the lease after which one write is given up.
MAX_LOSSES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTimings:
    """The timing of a node, all in seconds."""

    #: How long the state of a node outlives its process.
    lease: float = 12.0
    #: Between two renewals of the lease.
    renew_interval: float = 4.0
    #: Between two tries of a node that lost Redis.
    retry_interval: float = 0.5
    #: For each script.
    timeout: float = 1.5
    #: For all nodes to write into a Redis that came back empty, before limits are applied again.
    settling: float = 2.0
    #: How long a command stays claimed after its process has died. Less than the usual timeout of
    #: a command, so that one that is sent again is carried out within it.
    claim_lease: float = 8.0
    #: Between two renewals of the claims of commands that are carried out.
    claim_renew_interval: float = 2.0
    #: In which several reports of an outage lead to one look at Redis.
    debounce: float = 0.05


class Node:
    """Belongs to the event loop it was made in.

    All writes about one connection hold the same lock, which keeps them in order. A write of the
    whole state holds all locks.
    """

    def __init__(
        self, client: Client, timings: NodeTimings, on_evicted: Callable[[str], None]
    ) -> None:
        self._client = client
        self._timings = timings
        self._lease_ms = round(timings.lease * 1000)
        self._on_evicted = on_evicted
        self._keys = keys_of_node(uuid.uuid4().hex)
        self._generation = 0
        self._state = NodeState()
        self._adding = 0
        self._locks = [asyncio.Lock() for _ in range(CONNECTIONS_PER_LOOP)]
        #: Pending while the state is written. Done with a result if Redis has the state, with an
        #: error if Redis is away.
        self._written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_away = self._was_written_before = False
        self._woken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

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

    async def ask(self, script: str, *arguments: Any) -> Any:
        """The answer of a script that reads all nodes."""
        if self._keeper is not None and self._is_away:
            await self._until_written()
        has_answered = self._client.has_answered
        try:
            return await self._call(script, *arguments)
        except OutageError:
            if self._keeper is not None or not has_answered:
                raise
            # Without a keeper these sockets are not watched: Redis may have been restarted, or the
            # network may have forgotten them.
            await self._client.close_idle()
            return await self._call(script, *arguments)

    async def close_with_loop(self) -> None:
        """Release the node when the loop ends, which shuts its asynchronous generators down."""
        self._closing = self._close_at_end()
        await anext(self._closing)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.release()
            await self._client.close()

    @property
    def is_written(self) -> bool:
        """Whether Redis has the state of this node, as far as is known."""
        written = self._written
        return self._keeper is not None and written.done() and written.exception() is None

    async def _write(
        self, connection_id: str, apply: Callable[[Any], None], script: str, *arguments: Any
    ) -> Any:
        """The answer of a script that adds something; ``apply`` adds it to our copy.

        If the caller is cancelled, a write that has begun still runs to its end.
        """
        losses, deadline = 0, time.monotonic() + 2 * self._timings.settling
        while losses < MAX_LOSSES:
            await self._until_written()
            write = self._write_locked(connection_id, apply, script, arguments)
            answer = await asyncio.shield(write)
            if answer is None:
                losses += 1
            elif answer != IS_SETTLING:
                return answer
            elif time.monotonic() < deadline:
                await asyncio.sleep(SETTLING_POLL_SECONDS)
            else:
                raise OutageError(f"Redis at {self._client.address} waits for all processes.")
        raise BackendError(f"Redis at {self._client.address} loses what is written.")

    async def _write_locked(
        self, connection_id: str, apply: Callable[[Any], None], script: str, arguments: Any
    ) -> Any:
        async with self._lock_of(connection_id):
            if not self.is_written:
                return None
            answer = await self._call_own(script, *arguments)
            if answer not in (None, IS_SETTLING):
                apply(answer)
            return answer

    async def _write_out(
        self, connection_id: str, apply: Callable[[], object], script: str, *arguments: Any
    ) -> None:
        """Change our copy now, and Redis now or with the next write of the whole state."""

        async def write() -> None:
            async with self._lock_of(connection_id):
                apply()
                if self.is_written:
                    with suppress(BackendError):
                        await self._call_own(script, connection_id, *arguments)
            await self._end_if_empty()

        await asyncio.shield(write())

    def _lock_of(self, connection_id: str) -> asyncio.Lock:
        return self._locks[hash(connection_id) % len(self._locks)]

    async def _call_own(self, script: str, *arguments: Any) -> Any:
        """The answer of a script that writes; None if the lease is gone, which wakes the keeper."""
        generation = self._generation
        try:
            answer = await self._call(script, generation, *arguments)
        except BackendError as error:
            if generation == self._generation:
                self._mark_down(error)
            raise
        if answer is None and generation == self._generation:
            self._mark_down(None)
        return answer

    async def _call(self, script: str, *arguments: Any) -> Any:
        return await self._client.run(script, self._keys, arguments)

    async def _until_written(self) -> None:
        """Return when Redis has the state of this node. Raises ``OutageError`` if it is away."""
        if self.is_written:
            return
        if self._keeper is None:
            loop = asyncio.get_running_loop()
            self._written = loop.create_future()
            self._keeper = loop.create_task(self._keep_lease())
            outage.watch(self, self._woken.set)
        try:
            await asyncio.shield(self._written)
        except BackendError as error:
            raise OutageError(str(error)) from None

    async def _end_if_empty(self) -> None:
        if not self._state and not self._adding:
            await self.release()

    async def release(self) -> None:
        """Forget the state, here and in Redis, and close idle sockets."""
        if self._keeper is None:
            return
        was_written = self.is_written
        self._keeper.cancel()
        self._keeper = None
        outage.unwatch(self)
        self._is_away = self._was_written_before = False
        if not self._written.done():
            self._settle(OutageError("The last connection of this process has left."))
        self._state.clear()
        # Writes of the old generation that are under way find no lease, which is then no loss.
        generation, self._generation = self._generation, self._generation + 1
        if was_written:
            with suppress(BackendError):
                await self._call(scripts.RELEASE, generation)
        await self._client.close_idle()

    async def _keep_lease(self) -> None:
        """Write the whole state whenever Redis does not have it, and renew the lease in between.

        Older versions of redis-py sometimes swallow a cancellation, so it is asked for as well.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())
        timings = self._timings
        while not task.cancelling():
            try:
                if not self.is_written:
                    await self._write_state()
                if not self.is_written:
                    await asyncio.sleep(timings.retry_interval)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(timings.renew_interval):
                        await self._woken.wait()
                        await asyncio.sleep(timings.debounce)
                self._woken.clear()
                if self.is_written:
                    await self._renew()
            except Exception:
                logger.exception("The lease of this process could not be kept.")
                await asyncio.sleep(timings.retry_interval)

    async def _renew(self) -> None:
        """Renew the lease, and close the connections that other nodes counted out.

        Those nodes told this one at once; this is for a message that was lost while Redis was away.
        """
        with suppress(BackendError):
            for connection_id in await self._call_own(scripts.RENEW, self._lease_ms) or ():
                if self._state.remove(connection_id):
                    self._on_evicted(connection_id)

    def _mark_down(self, error: BackendError | None) -> None:
        """Note that Redis is away with ``error`` or, if that is None, that the lease is gone."""
        if self._keeper is None:
            return
        self._woken.set()
        self._settle(error, is_pending=error is None)
        self._is_away = True
        what = error or f"Redis at {self._client.address}: our lease is gone"
        outage.begin(self, STATE, what)

    def _settle(self, error: BackendError | None = None, *, is_pending: bool = False) -> None:
        if self._written.done():
            self._written = asyncio.get_running_loop().create_future()
        if error is not None:
            self._written.set_exception(error)
            self._written.exception()  # Retrieved, so that asyncio does not log it.
        elif not is_pending:
            self._written.set_result(None)

    async def _write_state(self) -> None:
        """Replace all that Redis has of this node, while no other write of it is under way."""
        async with AsyncExitStack() as stack:
            for lock in self._locks:
                await stack.enter_async_context(lock)
            # A socket that broke unnoticed would look like the next outage.
            await self._client.close_idle()
            self._generation += 1
            is_rewrite = self._was_written_before and bool(self._state)
            settling_ms = round(self._timings.settling * 1000) if is_rewrite else 0
            times, state = (self._lease_ms, settling_ms), self._state.for_redis(self._generation)
            try:
                answer = await self._call(scripts.WRITE, self._generation, *times, *state)
            except BackendError as error:
                self._mark_down(error)
                return
            if answer is None:
                return
            self._was_written_before = True
            self._settle()
        self._is_away = False
        outage.end(self)
        outage.end(STATE)


def _number(limit: int | None) -> int | str:
    """``limit`` for a script, which takes an empty text as no limit."""
    return "" if limit is None else limit
