"""The one import of redis-py, which is optional.

redis-py has each class twice, for threads and for asyncio; a :class:`Driver` is one set of them.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

try:
    import redis.asyncio
    import redis.asyncio.connection
    import redis.asyncio.retry
    import redis.asyncio.sentinel
    import redis.connection
    import redis.retry
    import redis.sentinel
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ImportError:
    is_installed = False
    #: The base of all errors of redis-py; empty without it.
    REDIS_ERRORS: tuple[type[Exception], ...] = ()
else:
    is_installed = True
    REDIS_ERRORS = (RedisError,)


class Driver(NamedTuple):
    """The classes of redis-py for one kind of caller."""

    client: Any
    parse_url: Callable[[str], Any]
    pool: Any
    sentinel: Any
    sentinel_pool: Any
    #: Makes a policy that tries nothing twice.
    no_retry: Callable[[], Any]


def driver_for_threads() -> Driver:
    """The classes that block. Needs redis-py."""
    return Driver(
        client=redis.Redis,
        parse_url=redis.connection.parse_url,
        pool=redis.ConnectionPool,
        sentinel=redis.sentinel.Sentinel,
        sentinel_pool=redis.sentinel.SentinelConnectionPool,
        no_retry=lambda: redis.retry.Retry(NoBackoff(), 0),
    )


def driver_for_asyncio() -> Driver:
    """The classes to await. Needs redis-py."""
    return Driver(
        client=redis.asyncio.Redis,
        parse_url=redis.asyncio.connection.parse_url,
        pool=redis.asyncio.ConnectionPool,
        sentinel=redis.asyncio.sentinel.Sentinel,
        sentinel_pool=redis.asyncio.sentinel.SentinelConnectionPool,
        no_retry=lambda: redis.asyncio.retry.Retry(NoBackoff(), 0),
    )


def default_socket_timeout() -> float | None:
    """The seconds after which the installed redis-py gives up on a silent socket, None if never.

    This is 5 s since its version 8.
    """
    if not is_installed:
        return None
    signature = inspect.signature(redis.asyncio.connection.AbstractConnection.__init__)
    default = signature.parameters["socket_timeout"].default
    return float(default) if isinstance(default, int | float) else None
