"""The clients of one event loop: few connections, answers in time, errors of this package only."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.core.checks import CheckMessage, Error

from pm_realtime.concurrency import BoundedCalls
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer import is_on_redis, is_probed, layer_name, layer_options, namespace_tag
from pm_realtime.observability import STATE, log_refusal, outage
from pm_realtime.redis import (
    HOST_FORMS,
    SERVER_ERRORS,
    SOCKET_LIFE_SECONDS,
    address_of,
    close_idle,
    describe,
    driver_for_asyncio,
    host_problems,
    is_broken_socket,
    is_demotion,
    is_installed,
    open_pools,
    read_hosts,
    run_script,
)

#: The name of the setting in messages.
LOCATION: Final = 'PM_REALTIME["LOCATION"]'
#: Connections of one event loop to Redis, and so the scripts that may run at once.
CONNECTIONS_PER_LOOP: Final = 4
POOL_OPTIONS: Final = {
    "decode_responses": True,
    "health_check_interval": 30,
    "max_connections": CONNECTIONS_PER_LOOP,
}
#: uvloop raises RuntimeError for a socket that was closed while it was in use.
CLIENT_ERRORS: Final[tuple[type[Exception], ...]] = (*SERVER_ERRORS, RuntimeError)


class Client:
    """Runs the scripts. ``timeout`` is in seconds, for each of them.

    ``host`` is by default that of the shared state; ``part`` names in the log what is there. Raises
    ``ValueError`` if the address of Redis cannot be read.
    """

    def __init__(
        self, timeout: float, host: Mapping[str, Any] | None = None, part: str = STATE
    ) -> None:
        if not is_installed:
            raise BackendError("The Redis backend needs the package redis.")
        setting, host = host_of_state() if host is None else (f"{_hosts_name()}", dict(host))
        try:
            self._pools = open_pools(host, timeout, driver_for_asyncio, **POOL_OPTIONS)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}") from None
        self._timeout, self._part = timeout, part
        self._calls = BoundedCalls(CONNECTIONS_PER_LOOP, timeout)
        self._closing = asyncio.Lock()
        self._running = 0
        #: When the oldest socket may have been opened (monotonic seconds).
        self._opened_at = time.monotonic()
        #: The number of suspicions that came before that.
        self._suspicions = outage.suspicions
        #: Whether Redis answered over the sockets that are kept now.
        self.has_answered = False

    @property
    def address(self) -> str:
        """The address of Redis, without its password."""
        return address_of(self._pools[0])

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The answer of ``script``.

        Raises ``OutageError`` if Redis does not answer within the timeout, which begins once a
        connection is free.
        """
        try:
            answer = await self._calls.run(partial(self._run, script, keys, arguments))
        except CLIENT_ERRORS as error:
            self.has_answered = False
            # The other sockets are probably as old, and lead to the same server.
            await close_idle(self._pools[0])
            what = describe(error, script) or f"no answer within {self._timeout:g} s"
            reason = f"Redis at {self.address}: {what}"
            log_refusal(self._part, reason)
            raise OutageError(reason) from error
        self.has_answered = True
        return answer

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        now, suspicions = time.monotonic(), outage.suspicions
        if now - self._opened_at > SOCKET_LIFE_SECONDS or suspicions != self._suspicions:
            self._opened_at, self._suspicions = now, suspicions
            await close_idle(self._pools[0])
        async with self._closing:
            self._running += 1
        try:
            return await run_script(self._pools[0], script, keys, arguments)
        finally:
            self._running -= 1

    async def close_idle(self) -> None:
        """Close all sockets, unless one is in use; the next script opens one again."""
        async with self._closing:
            if not self._running:
                await self._pools[0].disconnect()

    async def close_with_loop(self) -> None:
        """Close all sockets when the loop ends, which shuts its asynchronous generators down."""
        self._closer = self._close_at_end()
        await anext(self._closer)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Close all sockets, those of sentinels too."""
        for pool in self._pools:
            with suppress(Exception):  # As for a connection that is being garbage-collected.
                await pool.disconnect()


async def ask(client: Client, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """The answer of ``script``, once more over a new socket if the kept one was broken, or silent
    in a loop where nothing else would have noticed it."""
    try:
        return await client.run(script, keys, arguments)
    except OutageError as error:
        cause = error.__cause__
        if isinstance(cause, TimeoutError):
            may_be_stale = not is_probed()
        else:
            may_be_stale = is_broken_socket(cause) or is_demotion(cause)
        if not may_be_stale:
            raise named(error, keys) from cause
    return await client.run(script, keys, arguments)


def named(error: OutageError, keys: Sequence[str]) -> BackendError:
    """``error`` of a script, with its ``keys`` if another program's value is in one of them."""
    if "wrong kind of value" not in str(error):
        return error
    what = f"{error}. Another program has written one of these keys; delete it"
    return BackendError(f"{what}: {', '.join(keys)}")


def key_prefix() -> str:
    """The beginning of the keys of the shared state."""
    # The braces keep all keys in one slot of a cluster.
    prefix, tag = layer_options().get("prefix", "asgi"), namespace_tag()
    return f"pm_realtime:{{{prefix}}}:{tag}{':' if tag else ''}"


def pattern_of(prefix: str, names: str = "*") -> str:
    """The pattern of keys that begin with ``prefix``; ``names`` is that of the rest."""
    return re.sub(r"([][*?\\])", r"\\\1", prefix) + names


def keys_of_node(node: str) -> tuple[str, str, str]:
    """The keys that the scripts of the state get, called by ``node``."""
    prefix = key_prefix()
    key = f"{prefix}node:{node}"
    return f"{prefix}nodes", key, f"{key}:rooms"


def keys_of_presence(node: str) -> tuple[str, str, str]:
    """The keys that the scripts of presence get, called by ``node``."""
    prefix = f"{key_prefix()}presence:"
    return f"{prefix}nodes", f"{prefix}node:{node}", f"{prefix}lease:{node}"


def host_of_state() -> tuple[str, dict[str, Any]]:
    """The setting that names the server, and the host: ``LOCATION`` or the layer's first host."""
    if conf.LOCATION is not None:
        return LOCATION, {"address": conf.LOCATION}
    hosts = layer_options().get("hosts")
    if not hosts and not is_on_redis():
        raise ValueError(f"{LOCATION} is not set, and the channel layer has no hosts.")
    try:
        return f"{_hosts_name()}[0]", read_hosts(hosts)[0]
    except ValueError as error:
        raise ValueError(f"{_hosts_name()}: {error}") from None


def check_hosts() -> list[CheckMessage]:
    """A check error for each of the channel layer's hosts that cannot be used."""
    if not is_installed:
        return []
    try:
        problems = host_problems(layer_options().get("hosts"))
    except ValueError:
        return []  # CONFIG is no dict: the check of the layer reports it.
    hint = f"Write a list; each host is {HOST_FORMS}."
    return [wrong_address(f"{_hosts_name()}{where}: {what}", hint) for where, what in problems]


def wrong_address(what: str, hint: str) -> CheckMessage:
    return Error(what, hint=hint, id="pm_realtime.E016")


def _hosts_name() -> str:
    return f'{layer_name()}["CONFIG"]["hosts"]'
