"""Where blocking code runs, so that it holds up neither the event loop nor other connections.

Channels and Django send all sync code of a process through one shared thread. A query of three
seconds there would hold up every handshake; so connecting and the site's own rules each have a
pool of their own.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, sync_to_async
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pm_realtime.exceptions import CloseConnection
from pm_realtime.loops import PerLoop
from pm_realtime.protocol import CloseCode

P = ParamSpec("P")
R = TypeVar("R")

#: A handshake is one short hop, so a few threads do; re-checks are for many at once; rules of the
#: site may be slow, and no one of them takes more than a few.
_handshakes: Final = ThreadPoolExecutor(8, thread_name_prefix="pm_realtime-handshake")
_checks: Final = ThreadPoolExecutor(2, thread_name_prefix="pm_realtime-check")
_site_code: Final = ThreadPoolExecutor(128, thread_name_prefix="pm_realtime-site")


#: Handshakes of an event loop that may wait for their threads.
MAX_HANDSHAKES: Final = 1000
_under_way: Final = PerLoop[set[Any]](set)


@contextmanager
def waiting_handshake() -> Iterator[None]:
    """Around all that a handshake waits for the database.

    Raises ``CloseConnection`` with 4013 where too many do.
    """
    under_way, task = _under_way.get(), asyncio.current_task()
    if len(under_way) >= MAX_HANDSHAKES:
        raise CloseConnection(CloseCode.OVERLOADED, "too many handshakes")
    under_way.add(task)
    try:
        yield
    finally:
        under_way.discard(task)


async def run_handshake(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run the one database hop of a connect; database connections are returned after it."""
    return await _run_in(_handshakes, function, *args, **kwargs)


async def run_check(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a re-check of many connections; database connections are returned after it."""
    return await _run_in(_checks, function, *args, **kwargs)


async def run_site_code(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a callable of the site, sync or async; it may use the ORM either way."""
    if not inspect.iscoroutinefunction(function):
        result = await _run_in(_site_code, function, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result
    if is_loop_of_a_caller():
        return await function(*args, **kwargs)
    async with ThreadSensitiveContext() as context:
        try:
            return await function(*args, **kwargs)
        finally:
            if context in SyncToAsync.context_to_thread_executor:
                await sync_to_async(connections.close_all)()


def may_have_waiting_caller() -> bool:
    """Whether a thread may be waiting in ``async_to_sync`` for this code.

    It may also have gone by now: tasks inherit what says so.
    """
    return getattr(AsyncToSync.executors, "current", None) is not None or is_loop_of_a_caller()


def is_loop_of_a_caller() -> bool:
    """Whether this loop runs for one ``async_to_sync`` only, as in Django's ``TestCase``.

    Sync code belongs into the thread that waits for it, where the test's transaction is.
    """
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


async def _run_in(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    if is_loop_of_a_caller():
        return await database_sync_to_async(function)(*args, **kwargs)
    hop = database_sync_to_async(_outlive_cut, thread_sensitive=False, executor=pool)
    return await hop(function, *args, **kwargs)


def _outlive_cut(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function``; once more where a database connection kept from before has been cut.

    Under ``CONN_MAX_AGE`` each thread keeps one, and a restart of the database cuts them all. A
    request of Django's would fail once in each thread; here an honest client would be turned away.
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
