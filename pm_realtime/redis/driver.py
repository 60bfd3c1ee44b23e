"""The one import of redis-py, which is optional, and the errors that mean that a server is away.

redis-py has each class twice, in modules of the same form: the drivers for threads and asyncio.
"""

import inspect
import traceback
from typing import Any, Final

try:
    import redis.asyncio.connection
    import redis.asyncio.retry
    import redis.asyncio.sentinel
    import redis.backoff
    import redis.connection
    import redis.retry
    import redis.sentinel
except ImportError:
    is_installed = False
    driver_for_threads: Any = None
    driver_for_asyncio: Any = None
    _REDIS_ERRORS: tuple[type[Exception], ...] = ()
else:
    is_installed = True
    driver_for_threads, driver_for_asyncio = redis, redis.asyncio
    _REDIS_ERRORS = (redis.RedisError,)

#: The errors of redis-py, and of the sockets below it.
SERVER_ERRORS: Final[tuple[type[Exception], ...]] = (OSError, EOFError, *_REDIS_ERRORS)


def no_retry(driver: Any) -> Any:
    """A policy of ``driver`` that tries nothing twice."""
    return driver.retry.Retry(redis.backoff.NoBackoff(), 0)


def default_socket_timeout() -> float | None:
    """The seconds after which the installed redis-py gives up on a silent socket, None if never.

    This is 5 s since its version 8.
    """
    if not is_installed:
        return None
    signature = inspect.signature(redis.asyncio.connection.AbstractConnection.__init__)
    default = signature.parameters["socket_timeout"].default
    return float(default) if isinstance(default, int | float) else None


def is_demotion(error: object) -> bool:
    """Whether the server says that it is a replica, which takes no writes.

    Before Redis 7, an error inside of a script has only the text.
    """
    if not is_installed or not isinstance(error, redis.RedisError):
        return False
    text = str(error)
    is_said_by_redis_py = text == "The previous master is now a slave"  # With Sentinel.
    is_told = isinstance(error, redis.ReadOnlyError | redis.exceptions.MasterDownError)
    return is_told or is_said_by_redis_py or "READONLY" in text or "MASTERDOWN" in text


def is_broken_socket(error: object) -> bool:
    """Whether ``error`` is that of a socket, so that a new one may work."""
    if not is_installed or isinstance(error, redis.AuthenticationError):
        return False
    kinds = (OSError, EOFError, redis.ConnectionError, redis.TimeoutError)
    return isinstance(error, kinds) or _is_raised_in_redis_py(error)


def is_lost_connection(error: object) -> bool:
    """Whether ``error`` means that a server is away, rather than a mistake in the code."""
    return isinstance(error, SERVER_ERRORS) or _is_raised_in_redis_py(error)


def _is_raised_in_redis_py(error: object) -> bool:
    """Whether ``error`` comes from a connection of redis-py that was cut while it was in use.

    A write then finds None in place of its socket, in some releases of Python 3.12 and 3.13 inside
    asyncio. A task that reads may reconnect at the same time as one that writes, and asyncio raises
    ``RuntimeError`` for the second of them.
    """
    kinds = (AttributeError, RuntimeError, TypeError)
    if not isinstance(error, kinds) or error.__traceback__ is None:
        return False
    modules = [
        str(frame.f_globals["__name__"]) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    if isinstance(error, AttributeError) and modules[-1].startswith("redis."):
        return True
    is_in_redis_py = any(module.startswith("redis.") for module in modules)
    return is_in_redis_py and modules[-1].startswith("asyncio.")
