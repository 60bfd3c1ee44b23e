"""The results of commands in Redis, beside the shared state.

Each command that is carried out has a key with a short lease, which its event loop renews. So a
command whose process died is free soon, and a process that was frozen for too long finds that
another has the key, and changes nothing.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import (
    CONNECTIONS_PER_LOOP,
    Client,
    ask,
    key_prefix,
    pattern_of,
)
from pm_realtime.backends.redis.lease import NodeTimings
from pm_realtime.backends.redis.publishing import to_ms
from pm_realtime.backends.results import Claim, ClaimState, Results
from pm_realtime.exceptions import BackendError, OutageError

logger = logging.getLogger("pm_realtime.commands")

#: Leases that one script renews: Redis does nothing else meanwhile.
CLAIMS_PER_SCRIPT: Final = 250
#: Seconds for which scripts are refused after one has waited in vain.
REFUSED_SECONDS: Final = 1.0


class RedisResults(Results):
    """While Redis is away, ``claim`` raises ``OutageError``, but ``keep`` and ``release`` raise
    nothing: the change is written when Redis is back."""

    def __init__(self, timings: NodeTimings) -> None:
        self._timings = timings
        self._claims: dict[tuple[int, asyncio.AbstractEventLoop], _Claims] = {}

    async def claim(self, key: str, owner: str, ttl_seconds: float) -> Claim:
        return await (await self._of_loop()).claim(_key(key), owner, ttl_seconds)

    def watch(self, key: str, owner: str) -> Callable[[], bool]:
        claims = self._claims[os.getpid(), asyncio.get_running_loop()]
        return partial(claims.may_be_lost, _key(key), owner)

    async def keep(self, key: str, owner: str, result: str, ttl_seconds: float) -> None:
        until = time.monotonic() + ttl_seconds
        ending = _Ending(scripts.KEEP, (owner, result, to_ms(ttl_seconds)), until)
        await (await self._of_loop()).end(_key(key), ending)

    async def release(self, key: str, owner: str) -> None:
        ending = _give_up(owner, self._timings.claim_lease)
        await (await self._of_loop()).end(_key(key), ending)

    async def forget_all(self) -> None:
        await (await self._of_loop()).forget_all()

    async def _of_loop(self) -> "_Claims":
        """Those of the running loop in this process. Those of closed loops go away, and what a fork
        inherited from its parent stays untouched."""
        pid, loop = os.getpid(), asyncio.get_running_loop()
        if (claims := self._claims.get((pid, loop))) is None:
            for key in [key for key in self._claims if key[0] == pid and key[1].is_closed()]:
                del self._claims[key]
            try:
                client = Client(self._timings.timeout)
            except ValueError as error:
                raise BackendError(f"The address of Redis could not be read: {error}") from error
            claims = self._claims[pid, loop] = _Claims(client, self._timings)
            await claims.close_with_loop()
        return claims


@dataclass(slots=True, eq=False)
class _Running:
    """A command that this loop carries out; at ``until`` (monotonic seconds) its claim ends.

    ``seen_at`` is when its lease was last renewed, or when Redis was found to be away.
    """

    owner: str
    until: float
    seen_at: float


@dataclass(frozen=True, slots=True, eq=False)
class _Ending:
    """The end of a claim that Redis may not know yet. The owner is the first of the arguments, and
    the result, if there is one, the second. At ``until`` it is of no more use."""

    script: str
    arguments: tuple[Any, ...]
    until: float


class _Claims:
    """Belongs to one event loop."""

    def __init__(self, client: Client, timings: NodeTimings) -> None:
        self._client = client
        self._timings = timings
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, _Running] = {}
        self._endings: dict[str, _Ending] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._is_closed = False
        self._slots = asyncio.Semaphore(CONNECTIONS_PER_LOOP)
        #: Until when (seconds of the loop) and why scripts are refused.
        self._refused: tuple[float, str] | None = None

    async def close_with_loop(self) -> None:
        """End when the loop ends, which shuts its asynchronous generators down."""
        self._closing = self._close_at_end()
        await anext(self._closing)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            if (renewal := self._renewal) is not None:
                renewal.cancel()
                await asyncio.wait({renewal})
            await self._client.close()

    async def claim(self, key: str, owner: str, ttl_seconds: float) -> Claim:
        # Redis may have come back empty.
        if (ending := self._endings.get(key)) is not None and ending.script == scripts.KEEP:
            return Claim(ClaimState.DONE, ending.arguments[1])
        if (running := self._running.get(key)) is not None and running.owner != owner:
            return Claim(ClaimState.RUNNING)
        lease_seconds, now = self._timings.claim_lease, time.monotonic()
        arguments = owner, to_ms(min(lease_seconds, ttl_seconds))
        try:
            answer = await self._ask(scripts.CLAIM, (key,), arguments)
        except BaseException:
            # Redis may have carried it out all the same.
            self._endings.setdefault(key, _give_up(owner, lease_seconds))
            self._look_in(self._timings.retry_interval)
            raise
        if isinstance(answer, str):
            return Claim(ClaimState.DONE, answer)
        if not answer:
            return Claim(ClaimState.RUNNING)
        if (ending := self._endings.get(key)) is not None and ending.arguments[0] == owner:
            del self._endings[key]
        self._running[key] = _Running(owner, now + ttl_seconds, now)
        self._look_in(self._timings.claim_renew_interval)
        return Claim(ClaimState.TAKEN)

    def may_be_lost(self, key: str, owner: str) -> bool:
        """Whether another may have ``key``, because this process was frozen. Any thread may ask."""
        running = self._running.get(key)
        if running is None or running.owner != owner:
            return True
        return time.monotonic() - running.seen_at > self._timings.claim_lease

    async def end(self, key: str, ending: _Ending) -> None:
        """Write ``ending``, now or when Redis is back."""
        if (running := self._running.get(key)) is not None:
            if running.owner != ending.arguments[0]:
                return
            del self._running[key]
        known = self._endings.get(key)
        if known is not None and known.script == scripts.KEEP and ending.script != scripts.KEEP:
            return  # The call that gives up has waited for that result.
        self._endings[key] = ending
        try:
            await self._write(key, ending)
        except BackendError:  # The log has it.
            pass
        finally:
            if self._endings:
                self._look_in(self._timings.retry_interval)

    async def forget_all(self) -> None:
        self._running.clear()
        self._endings.clear()
        pattern, position = pattern_of(_key("")), "0"
        while True:
            position, _ = await ask(self._client, scripts.FORGET, (), (position, pattern))
            if position == "0":
                return

    async def _write(self, key: str, ending: _Ending) -> None:
        await self._ask(ending.script, (key,), ending.arguments)
        if self._endings.get(key) is ending:
            del self._endings[key]

    async def _ask(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The answer of ``script``.

        If one has waited in vain, others are refused at once: a Redis that is silent would hold up
        a few at a time.
        """
        async with self._slots:
            began, refused = self._loop.time(), self._refused
            if refused is not None:
                if began < refused[0]:
                    raise OutageError(refused[1])
                self._refused = (began + self._timings.timeout, refused[1])
            try:
                answer = await ask(self._client, script, keys, arguments)
            except OutageError as error:
                is_silent = isinstance(error.__cause__, TimeoutError)
                until = self._loop.time() + REFUSED_SECONDS
                self._refused = (until, str(error)) if is_silent else None
                raise
            self._refused = None
            return answer

    def _look_in(self, seconds: float) -> None:
        """Renew claims and write endings in ``seconds`` at the latest, and from then on again."""
        if self._renewal is not None or self._is_closed:
            return
        at = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._running or self._endings:
            self._renewal = self._loop.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        timings, began = self._timings, time.monotonic()
        try:
            self._forget(began)
            await self._renew()
            for key, ending in list(self._endings.items()):
                if time.monotonic() - began > timings.claim_renew_interval:
                    break  # The leases are due again.
                if self._endings.get(key) is ending:
                    await self._write(key, ending)
        except BackendError:  # The log has it. Others cannot claim anything either.
            for running in self._running.values():
                running.seen_at = max(began, running.seen_at)
        except Exception:
            logger.exception("The claims of commands could not be renewed.")
        finally:
            self._renewal = None
            if self._endings:
                self._look_in(timings.retry_interval)
            elif self._running:
                self._look_in(timings.claim_renew_interval)

    async def _renew(self) -> None:
        lease, claims = self._timings.claim_lease, list(self._running.items())
        for start in range(0, len(claims), CLAIMS_PER_SCRIPT):
            now, keys, arguments = time.monotonic(), list[str](), list[str | int]()
            renewed: list[_Running] = []
            for key, running in claims[start : start + CLAIMS_PER_SCRIPT]:
                # One that has ended meanwhile would be taken again.
                if self._running.get(key) is running:
                    keys.append(key)
                    renewed.append(running)
                    arguments += running.owner, to_ms(min(lease, running.until - now))
            if not keys:
                continue
            answers = await self._ask(scripts.RENEW_CLAIMS, keys, arguments)
            for key, running, is_mine in zip(keys, renewed, answers, strict=True):
                running.seen_at = now
                if not is_mine and self._running.get(key) is running:
                    del self._running[key]

    def _forget(self, now: float) -> None:
        for held in (self._running, self._endings):
            for key in [key for key, each in held.items() if each.until <= now]:
                del held[key]


def _give_up(owner: str, seconds: float) -> _Ending:
    return _Ending(scripts.GIVE_UP, (owner,), time.monotonic() + seconds)


def _key(key: str) -> str:
    return f"{key_prefix()}result:{key}"
