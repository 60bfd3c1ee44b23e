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
    """A connection of redis-py that is cut while it writes finds None in place of its socket."""
    if not isinstance(error, AttributeError) or error.__traceback__ is None:
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("redis.")
