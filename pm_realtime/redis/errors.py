"""Which exceptions mean that a server is away."""

import traceback
from typing import Final

from pm_realtime.redis.driver import REDIS_ERRORS

#: The errors of redis-py, and of the sockets below it.
SERVER_ERRORS: Final[tuple[type[Exception], ...]] = (OSError, EOFError, *REDIS_ERRORS)


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
