"""Threads for code that uses the database, so that it holds up neither the event loop nor others.

Channels and Django send all sync code of a process through one shared thread. A query of three
seconds there would hold up every handshake; so connecting and re-checking each have a pool.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pm_realtime.concurrency import is_loop_of_a_caller

P = ParamSpec("P")
R = TypeVar("R")

#: A handshake is one short hop, so a few threads do.
_handshakes: Final = ThreadPoolExecutor(8, thread_name_prefix="pm_realtime-handshake")
#: A re-check is for many connections at once.
_checks: Final = ThreadPoolExecutor(2, thread_name_prefix="pm_realtime-check")


async def run_handshake(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run the one database hop of a handshake; its database connections are returned."""
    return await run_in_pool(_handshakes, function, *args, **kwargs)


async def run_check(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a re-check of many connections; its database connections are returned."""
    return await run_in_pool(_checks, function, *args, **kwargs)


async def run_in_pool(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run ``function``, which may use the database, in a thread of ``pool``."""
    if is_loop_of_a_caller():
        return await database_sync_to_async(function)(*args, **kwargs)
    hop = database_sync_to_async(_outlive_cut, thread_sensitive=False, executor=pool)
    return await hop(function, *args, **kwargs)


def _outlive_cut(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function``, and once more if a database connection kept from before has been cut.

    Under ``CONN_MAX_AGE`` each thread keeps one, and a restart of the database cuts them all. A
    request of Django's would fail once in each thread; here an honest client would be refused.
    """
    kept = [each for each in connections.all(initialized_only=True) if each.connection is not None]
    try:
        return function(*args, **kwargs)
    except DatabaseError:
        if not _close_cut(kept):
            raise
    return function(*args, **kwargs)


def _close_cut(kept: list[BaseDatabaseWrapper]) -> bool:
    cut = [each for each in kept if each.connection is None or not each.is_usable()]
    for connection in cut:
        connection.close()
    return bool(cut)
