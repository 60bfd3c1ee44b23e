"""The client of one event loop: few connections, every answer in time, only our own errors."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pm_realtime.backends import redis_scripts as scripts
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer_config import is_on_redis, layer_name, layer_options
from pm_realtime.redis_pools import (
    FORMS,
    address_of,
    for_asyncio,
    open_pools,
    problems_of,
    read_hosts,
)
from pm_realtime.turns import Turns

try:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError
except ImportError:
    is_installed = False
else:
    is_installed = True

#: How messages call the setting.
LOCATION: Final = 'PM_REALTIME["LOCATION"]'
HOSTS_HINT: Final = f"Write a list; each host is {FORMS}."
#: Connections of one event loop to Redis; no more operations are under way at once.
POOL_SIZE: Final = 4
OPTIONS: Final = {
    "decode_responses": True,
    "health_check_interval": 30,
    "max_connections": POOL_SIZE,
}


class Client:
    """Runs the scripts. Raises ``ValueError`` where the address of Redis cannot be read."""

    def __init__(self, timeout: float) -> None:
        if not is_installed:
            raise BackendError("The Redis backend needs the package redis.")
        prefix = layer_options().get("prefix", "asgi")
        where, host = _host()
        try:
            self._pools = open_pools(host, timeout, for_asyncio(), **OPTIONS)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        # The braces keep all keys in one slot of a cluster. Sites that share a Redis have layers of
        # different prefixes, or would get each other's messages.
        self._prefix = f"pm_realtime:{{{prefix}}}:"
        self._redis: Redis = Redis(connection_pool=self._pools[0])
        self._timeout = timeout
        self._registered: dict[str, Any] = {}
        self._turns = Turns(POOL_SIZE, timeout)
        self._closing = asyncio.Lock()
        self._running = 0

    @property
    def address(self) -> str:
        """Where Redis is, without its password."""
        return address_of(self._pools[0])

    async def run(self, script: str, node: str, arguments: Sequence[Any]) -> Any:
        """The answer of a script that ``node`` asks, within the timeout from its turn on."""
        registered = self._registered.get(script)
        if registered is None:
            registered = self._redis.register_script(scripts.COMMON + script)
            self._registered[script] = registered
        key = f"{self._prefix}node:{node}"
        keys = (f"{self._prefix}nodes", key, f"{key}:rooms")
        try:
            return await self._turns.take(partial(self._run, registered, keys, arguments))
        # RuntimeError: what uvloop raises for a socket that was closed under it.
        except (RedisError, OSError, EOFError, RuntimeError) as error:
            what = str(error) or f"no answer within {self._timeout:g} s"
            raise OutageError(f"Redis at {self.address}: {what}") from error

    async def _run(self, script: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        async with self._closing:
            self._running += 1
        try:
            return await script(keys=keys, args=arguments)
        finally:
            self._running -= 1

    async def close_idle(self) -> None:
        """Close all sockets unless one is in use; the next to come opens one again."""
        async with self._closing:
            if not self._running:
                await self._pools[0].disconnect()

    async def close(self) -> None:
        """Close all sockets, those of sentinels too, whatever happens to one of them.

        A client that nobody holds any more is closed while its connections are collected: what
        redis-py finds gone half-way, it raises.
        """
        for pool in self._pools:
            with suppress(Exception):
                await pool.disconnect()


def _host() -> tuple[str, dict[str, Any]]:
    """``LOCATION``, or the first host of the channel layer, and what it is called."""
    if conf.LOCATION is not None:
        return LOCATION, {"address": conf.LOCATION}
    hosts = layer_options().get("hosts")
    if not hosts and not is_on_redis():
        raise ValueError(f"{LOCATION} is not set, and the channel layer has no hosts.")
    try:
        return f"{_hosts_name()}[0]", read_hosts(hosts)[0]
    except ValueError as error:
        raise ValueError(f"{_hosts_name()}: {error}") from None


def wrong_hosts() -> list[str]:
    """What is wrong with the hosts of the channel layer, all of them, a sentence each."""
    hosts = layer_options().get("hosts")
    return [f"{_hosts_name()}{where}: {problem}" for where, problem in problems_of(hosts)]


def _hosts_name() -> str:
    return f'{layer_name()}["CONFIG"]["hosts"]'
