"""The client of one event loop: few connections, every answer in time, only our own errors."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from pm_realtime.backends import redis_scripts as scripts
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError
from pm_realtime.layers import layer_config

try:
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.connection import parse_url
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ImportError:
    is_installed = False
else:
    is_installed = True

#: Connections of one event loop to Redis; no more operations are under way at once.
POOL_SIZE: Final = 4


class Client:
    """Runs the scripts. Raises ``ValueError`` where the address of Redis cannot be read."""

    def __init__(self, timeout: float) -> None:
        if not is_installed:
            raise BackendError("The Redis backend needs the package redis.")
        try:
            self._pools = _pools(_host(), timeout)
            self._pools[0].make_connection()  # type: ignore[no-untyped-call]
        except (TypeError, KeyError, IndexError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        self._redis: Redis = Redis(connection_pool=self._pools[0])
        self._timeout = timeout
        self._registered: dict[str, Any] = {}
        self._slots = asyncio.Semaphore(POOL_SIZE)
        self._closing = asyncio.Lock()
        self._running = 0

    @property
    def address(self) -> str:
        """Where Redis is, without its password."""
        options = self._pools[0].connection_kwargs
        if master := getattr(self._pools[0], "service_name", None):
            return str(master)
        if path := options.get("path"):
            return str(path)
        return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    async def run(self, script: str, node: str, arguments: Sequence[Any]) -> Any:
        """The answer of a script that ``node`` asks, within the timeout, waiting included."""
        registered = self._registered.get(script)
        if registered is None:
            registered = self._redis.register_script(scripts.COMMON + script)
            self._registered[script] = registered
        keys = (scripts.NODES, node, f"{node}:rooms")
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                async with self._closing:
                    self._running += 1
                try:
                    return await registered(keys=keys, args=arguments)
                finally:
                    self._running -= 1
        # RuntimeError: what uvloop raises for a socket that was closed under it.
        except (RedisError, OSError, EOFError, RuntimeError) as error:
            what = str(error) or f"no answer within {self._timeout:g} s"
            raise BackendError(f"Redis at {self.address}: {what}") from error

    async def close_idle(self) -> None:
        """Close all sockets unless one is in use; the next to come opens one again."""
        async with self._closing:
            if not self._running:
                await self._pools[0].disconnect()

    async def close(self) -> None:
        """Close all sockets, those of sentinels too."""
        for pool in self._pools:
            await pool.disconnect()


def _host() -> dict[str, Any]:
    """``LOCATION``, or the first host of the channel layer, as channels-redis reads it."""
    if conf.LOCATION is not None:
        return {"address": conf.LOCATION}
    config = layer_config() or {}
    hosts = (config.get("CONFIG") or {}).get("hosts")
    if not hosts:
        if not str(config.get("BACKEND")).startswith("channels_redis."):
            raise ValueError("LOCATION is not set, and the channel layer has no hosts.")
        return {"address": "redis://localhost:6379"}
    if isinstance(hosts, str | bytes):
        raise ValueError(f"expected a list of hosts, got {type(hosts).__name__}.")
    host = hosts[0]
    if isinstance(host, dict):
        return dict(host)
    if isinstance(host, tuple | list):
        return {"host": host[0], "port": host[1]}
    return {"address": host}


def _pools(host: dict[str, Any], timeout: float) -> "list[ConnectionPool]":
    """The pool of the server that ``host`` is about, and those of its sentinels."""
    bounds: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    bounds["retry"] = Retry(NoBackoff(), 0)
    ours = {**bounds, "decode_responses": True, "health_check_interval": 30}
    ours["max_connections"] = POOL_SIZE
    options = {**host}
    if (address := options.pop("address", None)) is not None:
        return [ConnectionPool(**{**options, **parse_url(address), **ours})]
    if (master := options.pop("master_name", None)) is None:
        return [ConnectionPool(**{**options, **ours})]
    sentinel_options = {**(options.pop("sentinel_kwargs", None) or {}), **bounds}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        options.pop("sentinels"), sentinel_kwargs=sentinel_options
    )
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        master, sentinel, **{**options, **ours}
    )
    return [pool, *(client.connection_pool for client in sentinel.sentinels)]
