"""The state of one event loop in Redis, under a lease that ends with its process."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from pm_realtime.backends.redis.client import CONNECTIONS_PER_LOOP, Client
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
    #: How long the lease of a node is missed before its members are counted out.
    burial_delay: float = 1.0
    #: How long a command stays claimed after its process has died. Less than the usual timeout of
    #: a command, so that one that is sent again is carried out within it.
    claim_lease: float = 8.0
    #: Between two renewals of the claims of commands that are carried out.
    claim_renew_interval: float = 2.0
    #: In which several reports of an outage lead to one look at Redis.
    debounce: float = 0.05


class Leased(ABC):
    """A part of the shared state that one event loop holds, which is the loop it was made in.

    All writes about one connection hold the same lock, which keeps them in order. A write of the
    whole state holds all locks.
    """

    def __init__(self, client: Client, timings: NodeTimings, keys: tuple[str, ...]) -> None:
        self._client = client
        self._timings = timings
        self._lease_ms = round(timings.lease * 1000)
        self._keys = keys
        self._generation = 0
        self._adding = 0
        self._locks = [asyncio.Lock() for _ in range(CONNECTIONS_PER_LOOP)]
        #: Pending while the state is written. Done with a result if Redis has the state, with an
        #: error if Redis is away.
        self._written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_away = self._was_written_before = False
        self._woken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @abstractmethod
    def _is_empty(self) -> bool:
        """Whether there is nothing that needs a lease."""

    @abstractmethod
    def _clear(self) -> None:
        """Forget the own copy of the state."""

    @abstractmethod
    async def _replace(self, *, is_rewrite: bool) -> bool:
        """Replace all that Redis has of this node; False if a later generation was written.

        ``is_rewrite``: it was there before. If Redis came back empty, others have lost theirs too.
        """

    @abstractmethod
    async def _renew(self) -> None:
        """Renew the lease. Raises nothing if Redis is away."""

    @abstractmethod
    async def _take_out(self, generation: int) -> None:
        """Delete in Redis what this node holds there."""

    @property
    def is_written(self) -> bool:
        """Whether Redis has the state of this node, as far as is known."""
        written = self._written
        return self._keeper is not None and written.done() and written.exception() is None

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
        self._clear()
        # Writes of the old generation that are under way find no lease, which is then no loss.
        generation, self._generation = self._generation, self._generation + 1
        if was_written:
            with suppress(BackendError):
                await self._take_out(generation)
        await self._client.close_idle()

    async def _write(
        self, name: str, apply: Callable[[Any], None], script: str, *arguments: Any
    ) -> Any:
        """The answer of a script that adds something; ``apply`` adds it to our copy.

        ``name`` is that of a connection, or of what else has its writes in order. If the caller is
        cancelled, a write that has begun still runs to its end.
        """
        losses, deadline = 0, time.monotonic() + 2 * self._timings.settling
        while losses < MAX_LOSSES:
            await self._until_written()
            write = self._write_locked(name, apply, script, arguments)
            answer = await asyncio.shield(write)
            if answer is None:
                losses += 1
            elif answer != IS_SETTLING:
                return answer
            else:
                await self._wait_for_others(deadline)
        raise self._losing()

    async def _write_locked(
        self, name: str, apply: Callable[[Any], None], script: str, arguments: Any
    ) -> Any:
        async with self._lock_of(name):
            if not self.is_written:
                return None
            answer = await self._call_own(script, *arguments)
            if answer not in (None, IS_SETTLING):
                apply(answer)
            return answer

    async def _wait_for_others(self, deadline: float) -> None:
        """Wait a moment while Redis is settling. Raises ``OutageError`` after ``deadline``."""
        if time.monotonic() >= deadline:
            raise OutageError(f"Redis at {self._client.address} waits for all processes.")
        await asyncio.sleep(SETTLING_POLL_SECONDS)

    def _losing(self) -> BackendError:
        return BackendError(f"Redis at {self._client.address} loses what is written.")

    async def _write_out(
        self, name: str, apply: Callable[[], object], script: str, *arguments: Any
    ) -> Any:
        """Change our copy now, and Redis now or with the next write of the whole state.

        Returns the answer of the script, None if it is written later.
        """

        async def write() -> Any:
            answer = None
            async with self._lock_of(name):
                apply()
                if self.is_written:
                    with suppress(BackendError):
                        answer = await self._call_own(script, name, *arguments)
            await self._end_if_empty()
            return answer

        return await asyncio.shield(write())

    def _lock_of(self, name: str) -> asyncio.Lock:
        return self._locks[hash(name) % len(self._locks)]

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
        if not self._adding and self._is_empty():
            await self.release()

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
            is_rewrite = self._was_written_before and not self._is_empty()
            try:
                if not await self._replace(is_rewrite=is_rewrite):
                    return
            except BackendError as error:
                self._mark_down(error)
                return
            self._was_written_before = True
            self._settle()
        self._is_away = False
        outage.end(self)
        outage.end(STATE)
