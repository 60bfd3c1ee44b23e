"""Connections to the Redis servers that ``hosts`` and ``LOCATION`` name, as channels-redis does.

redis-py has each class twice, for threads and for asyncio; a :class:`Flavour` is one set of them.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

try:
    import redis.asyncio
    import redis.asyncio.connection
    import redis.asyncio.retry
    import redis.asyncio.sentinel
    import redis.connection
    import redis.retry
    import redis.sentinel
    from redis.backoff import NoBackoff
except ImportError:
    is_installed = False
else:
    is_installed = True


class Flavour(NamedTuple):
    """The classes of redis-py for one kind of caller."""

    parse_url: Callable[[str], Any]
    pool: Any
    sentinel: Any
    sentinel_pool: Any
    retry: Any


def for_threads() -> Flavour:
    """The classes that block."""
    return Flavour(
        redis.connection.parse_url,
        redis.ConnectionPool,
        redis.sentinel.Sentinel,
        redis.sentinel.SentinelConnectionPool,
        redis.retry.Retry,
    )


def for_asyncio() -> Flavour:
    """The classes to await."""
    return Flavour(
        redis.asyncio.connection.parse_url,
        redis.asyncio.ConnectionPool,
        redis.asyncio.sentinel.Sentinel,
        redis.asyncio.sentinel.SentinelConnectionPool,
        redis.asyncio.retry.Retry,
    )


#: What channels-redis connects to where a layer names no hosts.
DEFAULT_HOST: Final = {"address": "redis://localhost:6379"}


def read_hosts(hosts: Any) -> list[dict[str, Any]]:
    """The entries of ``hosts`` as dicts. Raises ``ValueError`` for what cannot be hosts."""
    if not hosts:
        return [DEFAULT_HOST]
    if isinstance(hosts, str | bytes):
        raise ValueError(f"expected a list of hosts, got {type(hosts).__name__}.")
    return [_read_host(host) for host in hosts]


def _read_host(host: Any) -> dict[str, Any]:
    if isinstance(host, dict):
        return dict(host)
    if isinstance(host, tuple | list):
        return {"host": host[0], "port": host[1]}
    return {"address": host}


def make_pools(host: dict[str, Any], timeout: float, flavour: Flavour, **ours: Any) -> list[Any]:
    """The pool of the server that ``host`` is about, and those of its sentinels.

    ``timeout`` is in seconds, for connecting and for each answer; nothing is tried twice, as what
    was asked may have been done. ``ours`` are further options of the pool.
    """
    ours = {**_bounds(timeout, flavour), **ours}
    options = {**host}
    if (address := options.pop("address", None)) is not None:
        return [flavour.pool(**{**options, **flavour.parse_url(address), **ours})]
    if (master := options.pop("master_name", None)) is None:
        return [flavour.pool(**{**options, **ours})]
    sentinel = _make_sentinel(options, timeout, flavour)
    pool = flavour.sentinel_pool(master, sentinel, **{**options, **ours})
    return [pool, *(client.connection_pool for client in sentinel.sentinels)]


def _make_sentinel(options: dict[str, Any], timeout: float, flavour: Flavour) -> Any:
    """Take what is about the sentinels out of ``options``.

    They are asked in turn, so each has a part of the time: one that says nothing must not use up
    what the others and the server need.
    """
    sentinels = options.pop("sentinels")
    bounds = _bounds(timeout / (len(sentinels) + 1), flavour)
    given = options.pop("sentinel_kwargs", None) or {}
    return flavour.sentinel(sentinels, sentinel_kwargs={**given, **bounds})


def _bounds(timeout: float, flavour: Flavour) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": flavour.retry(NoBackoff(), 0),
    }


def address_of(pool: Any) -> str:
    """Where the server of ``pool`` is, without its password."""
    if master := getattr(pool, "service_name", None):
        return str(master)
    options = pool.connection_kwargs
    if path := options.get("path"):
        return str(path)
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
