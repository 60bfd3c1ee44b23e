"""What one event loop holds in Redis, under a lease that ends with its process."""

import asyncio
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any, Final, cast

from pm_realtime.backends import redis_scripts as scripts
from pm_realtime.backends.base import Admission, ConnectionInfo, Policy
from pm_realtime.backends.redis_client import POOL_SIZE, Client
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.outage import STATE, outage

logger = logging.getLogger("pm_realtime.connection")

#: Seconds in which doubts that come in are looked into together.
SETTLING: Final = 0.05
#: What the scripts answer while a Redis that came back empty fills; seconds until the next look.
WAIT: Final = -1
LOOK: Final = 0.1
#: Seconds within which a broken socket fails; what takes longer is not tried again.
QUICK: Final = 0.5


class Node:
    """Belongs to the event loop it was made in.

    ``lease``, ``renew_interval``, ``retry_interval`` and ``settling`` are in seconds. What is
    written about one connection takes one lane and so keeps its order; all is written anew with all
    lanes in hand.
    """

    def __init__(
        self,
        client: Client,
        *,
        lease: float,
        renew_interval: float,
        retry_interval: float,
        settling: float,
        on_evicted: Callable[[str], None],
    ) -> None:
        self._client = client
        self._lease_ms = round(lease * 1000)
        self._renew_interval = renew_interval
        self._retry_interval = retry_interval
        self._settling = settling
        self._on_evicted = on_evicted
        self._id = uuid.uuid4().hex
        self._generation = 0
        #: What this node holds: each connection and its arrival, as Redis told it.
        self._connections: dict[str, tuple[ConnectionInfo, str]] = {}
        self._adding = 0
        self._lanes = [asyncio.Lock() for _ in range(POOL_SIZE)]
        #: Pending: is being written. Done: Redis has what this node holds, or is away.
        self._lease: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_away = self._has_written = False
        self._woken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def add(
        self, connection: ConnectionInfo, limit: int | None, policy: Policy, instead_of: str | None
    ) -> Admission:
        def take_in(answer: list[Any]) -> None:
            for replaced in answer[2:]:
                self._connections.pop(replaced, None)
            if answer[0]:
                self._connections[connection.connection_id] = (connection, answer[1])

        connection_id, time = connection.connection_id, repr(connection.connected_at)
        about = (connection_id, _record(connection), time)
        arguments = (*about, _number(limit), policy, instead_of or "")
        self._adding += 1
        try:
            answer = await self._write(connection_id, take_in, scripts.ADD, *arguments)
        finally:
            self._adding -= 1
            await self._end_if_empty()
        return Admission(bool(answer[0]), tuple(answer[2:]))

    async def remove(self, connection_id: str) -> None:
        def forget() -> None:
            self._connections.pop(connection_id, None)

        await self._write_out(connection_id, forget, scripts.REMOVE)

    async def set_role(self, connection_id: str, role: str | None) -> None:
        known = self._connections.get(connection_id)
        if known is None:
            return

        def change() -> None:
            connection, arrival = self._connections.get(connection_id, (None, ""))
            if connection is not None:
                self._connections[connection_id] = (replace(connection, role=role), arrival)

        record = _record(replace(known[0], role=role))
        await self._write_out(connection_id, change, scripts.SET_RECORD, record)

    async def join(self, connection_id: str, room: str, capacity: int | None) -> bool:
        def count_in(is_joined: int) -> None:
            connection, arrival = self._connections.get(connection_id, (None, ""))
            if is_joined and connection is not None and room not in connection.rooms:
                joined = replace(connection, rooms=(*connection.rooms, room))
                self._connections[connection_id] = (joined, arrival)

        arguments = (self._lease_ms, connection_id, room, _number(capacity))
        return bool(await self._write(connection_id, count_in, scripts.JOIN, *arguments))

    async def leave(self, connection_id: str, room: str) -> None:
        def count_out() -> None:
            connection, arrival = self._connections.get(connection_id, (None, ""))
            if connection is not None:
                rooms = tuple(name for name in connection.rooms if name != room)
                self._connections[connection_id] = (replace(connection, rooms=rooms), arrival)

        await self._write_out(connection_id, count_out, scripts.LEAVE, room)

    async def ask(self, script: str, *arguments: Any) -> Any:
        """The answer of a script that is about all nodes."""
        if self._keeper is not None and self._is_away:
            await self._until_held()
        started = time.monotonic()
        try:
            return await self._call(script, *arguments)
        except OutageError:
            if self._keeper is not None or time.monotonic() - started > QUICK:
                raise
            # Nobody watches these sockets: after a restart of Redis each of them fails once.
            await self._client.close_idle()
            return await self._call(script, *arguments)

    async def close_with_loop(self) -> None:
        """End when the loop shuts its asynchronous generators down, as its own end does."""
        self._closing = self._close_at_end()
        await anext(self._closing)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.release()
            await self._client.close()

    @property
    def _is_held(self) -> bool:
        """Whether what Redis has of this node is what this node holds."""
        lease = self._lease
        return self._keeper is not None and lease.done() and lease.exception() is None

    async def _write(
        self, connection_id: str, apply: Callable[[Any], None], script: str, *arguments: Any
    ) -> Any:
        """The answer of a script that takes something in; ``apply`` notes it in our copy.

        Once it is on its way it goes on to its end, whoever cancels the caller.
        """
        losses, deadline = 0, time.monotonic() + 2 * self._settling
        while losses < 3:
            await self._until_held()
            answer = await asyncio.shield(
                asyncio.ensure_future(self._write_in_lane(connection_id, apply, script, arguments))
            )
            if answer is None:
                losses += 1
            elif answer != WAIT:
                return answer
            elif time.monotonic() < deadline:
                await asyncio.sleep(LOOK)
            else:
                raise OutageError(f"Redis at {self._client.address} waits for all processes.")
        raise BackendError(f"Redis at {self._client.address} loses what is written.")

    async def _write_in_lane(
        self, connection_id: str, apply: Callable[[Any], None], script: str, arguments: Any
    ) -> Any:
        async with self._lane_of(connection_id):
            if not self._is_held:
                return None
            answer = await self._call_own(script, *arguments)
            if answer not in (None, WAIT):
                apply(answer)
            return answer

    async def _write_out(
        self, connection_id: str, apply: Callable[[], None], script: str, *arguments: Any
    ) -> None:
        """Change our copy, and Redis now or when all is written anew."""

        async def write() -> None:
            async with self._lane_of(connection_id):
                apply()
                if self._is_held:
                    with suppress(BackendError):
                        await self._call_own(script, connection_id, *arguments)
            await self._end_if_empty()

        await asyncio.shield(asyncio.ensure_future(write()))

    def _lane_of(self, connection_id: str) -> asyncio.Lock:
        return self._lanes[hash(connection_id) % len(self._lanes)]

    async def _call_own(self, script: str, *arguments: Any) -> Any:
        """The answer of one of the node's own scripts; None, and the alarm, without a lease."""
        generation = self._generation
        try:
            answer = await self._call(script, generation, *arguments)
        except BackendError as error:
            if generation == self._generation:
                self._lose(error)
            raise
        if answer is None and generation == self._generation:
            self._lose(None)
        return answer

    async def _call(self, script: str, *arguments: Any) -> Any:
        return await self._client.run(script, self._id, arguments)

    async def _until_held(self) -> None:
        """Return when Redis has what this node holds; raise while it is away."""
        if self._is_held:
            return
        if self._keeper is None:
            self._start()
        try:
            await asyncio.shield(self._lease)
        except BackendError as error:
            raise OutageError(str(error)) from None

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._lease = loop.create_future()
        self._keeper = loop.create_task(self._keep())
        outage.watch(self, self._woken.set)

    async def _end_if_empty(self) -> None:
        if not self._connections and not self._adding:
            await self.release()

    async def release(self) -> None:
        """Hold nothing any more, here and in Redis, and keep no idle socket."""
        if self._keeper is None:
            return
        was_held = self._is_held
        self._keeper.cancel()
        self._keeper = None
        outage.unwatch(self)
        self._is_away = self._has_written = False
        if not self._lease.done():
            self._settle(OutageError("The last connection of this process has left."))
        self._connections.clear()
        # What is under way of the same generation finds no lease, and nobody is alarmed by that.
        generation, self._generation = self._generation, self._generation + 1
        if was_held:
            with suppress(BackendError):
                await self._call(scripts.RELEASE, generation)
        await self._client.close_idle()

    async def _keep(self) -> None:
        """Write what this node holds whenever it must be, and say in between that it lives.

        Older versions of redis-py now and then swallow a cancellation: it is asked for as well.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())
        while not task.cancelling():
            try:
                if not self._is_held:
                    await self._write_anew()
                if not self._is_held:
                    await asyncio.sleep(self._retry_interval)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._renew_interval):
                        await self._woken.wait()
                        await asyncio.sleep(SETTLING)
                self._woken.clear()
                if self._is_held:
                    with suppress(BackendError):
                        await self._renew()
            except Exception:
                logger.exception("The lease of this process could not be kept.")
                await asyncio.sleep(self._retry_interval)

    async def _renew(self) -> None:
        """Say that this node lives, and close those that other nodes counted out.

        They were told at once; who did not hear it, because Redis was away, is told now.
        """
        for connection_id in await self._call_own(scripts.RENEW, self._lease_ms) or ():
            if self._connections.pop(connection_id, None) is not None:
                self._on_evicted(connection_id)

    def _lose(self, error: BackendError | None) -> None:
        """Redis does not have what this node holds, or is away with ``error``."""
        if self._keeper is None:
            return
        self._woken.set()
        self._settle(error, is_pending=error is None)
        self._is_away = True
        what = error or f"Redis at {self._client.address}: our lease is gone"
        outage.begin(self, STATE, what)

    def _settle(self, error: BackendError | None = None, *, is_pending: bool = False) -> None:
        if self._lease.done():
            self._lease = asyncio.get_running_loop().create_future()
        if error is not None:
            self._lease.set_exception(error)
            self._lease.exception()  # Known to be looked at, even where nobody waits.
        elif not is_pending:
            self._lease.set_result(None)

    async def _write_anew(self) -> None:
        """Replace what Redis has of this node, while no other write of it is under way."""
        async with AsyncExitStack() as stack:
            for lane in self._lanes:
                await stack.enter_async_context(lane)
            # Sockets that broke unnoticed would be taken for the next outage.
            await self._client.close_idle()
            self._generation += 1
            settling = self._settling if self._has_written and self._connections else 0
            times = (self._lease_ms, round(settling * 1000))
            state = (self._generation, *times, *self._state())
            try:
                answer = await self._call(scripts.WRITE, *state)
            except BackendError as error:
                self._lose(error)
                return
            if answer is None:
                return
            self._has_written = True
            self._settle()
        self._is_away = False
        outage.end(self)
        outage.reach(STATE)

    def _state(self) -> list[Any]:
        """The fields and values of both hashes, after how many of them are for the first."""
        users: dict[str, list[tuple[str, str, str]]] = {}
        rooms: Counter[str] = Counter()
        fields: dict[str, Any] = {"generation": self._generation}
        for connection_id, (connection, arrival) in self._connections.items():
            fields[f"c:{connection_id}"] = _record(connection)
            if connection.rooms:
                fields[f"r:{connection_id}"] = json.dumps(connection.rooms)
                rooms.update(connection.rooms)
            if connection.user_id is not None:
                entry = (connection_id, repr(connection.connected_at), arrival)
                users.setdefault(connection.user_id, []).append(entry)
        fields |= {f"u:{user}": json.dumps(entries) for user, entries in users.items()}
        fields["connections"] = len(self._connections)
        fields["authenticated"] = sum(map(len, users.values()))
        pairs = [*fields.items(), *rooms.items()]
        return [2 * len(fields), *(part for pair in pairs for part in pair)]


def _number(limit: int | None) -> int | str:
    """``limit`` for a script; what is no number there is no limit."""
    return "" if limit is None else limit


def _record(connection: ConnectionInfo) -> str:
    return json.dumps([connection.user_id, connection.role, connection.connected_at])
