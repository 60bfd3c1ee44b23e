"""Thread pools for code that uses the database, and the database that rights are read from.

Channels and Django run all sync code of a process in one shared thread. A query of three seconds
there would delay every handshake, so handshakes and rechecks have a pool each.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Final, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from pm_realtime.concurrency import DaemonThreads, is_loop_of_a_caller

P = ParamSpec("P")
R = TypeVar("R")

#: A handshake takes a few short queries.
_handshake_threads: Final = DaemonThreads(8, "pm_realtime-handshake")
#: A recheck is for many connections at once.
_recheck_threads: Final = DaemonThreads(2, "pm_realtime-recheck")
_thread: Final = threading.local()
_reads_primary: Final = ContextVar("pm_realtime_reads_primary", default=False)


class _PrimaryRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return _written_database(model, hints) if _reads_primary.get() else None


def _written_database(model: Any, hints: dict[str, Any]) -> str | None:
    """The database that ``model`` is written to; None if the site only reads it.

    Then its table is in no other place than where its routers read it, as a legacy database.
    """
    try:
        for each in router.routers:
            if hasattr(each, "db_for_write") and (found := each.db_for_write(model, **hints)):
                return str(found)
    except Exception:
        return None
    database: str = router.db_for_write(model, **hints)
    return database if router.allow_migrate_model(database, model) else None


_primary_router: Final = _PrimaryRouter()


@contextmanager
def reading_primary() -> Iterator[None]:
    """Have the block, and sync or async code that it calls, read from the databases written to.

    A replica may not know yet that a right has ended. This holds for a site's own session engine,
    authentication backend, role resolver and rules too, so a database router decides, as for all
    queries that name no database.
    """
    if settings.DATABASE_ROUTERS and _primary_router not in router.routers:
        router.routers.insert(0, _primary_router)
    token = _reads_primary.set(True)
    try:
        yield
    finally:
        _reads_primary.reset(token)


async def run_handshake(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run the queries of a handshake, then release their database connections."""
    return await run_in_pool(_handshake_threads, function, *args, **kwargs)


async def run_recheck(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a recheck of many connections, then release their database connections."""
    return await run_in_pool(_recheck_threads, function, *args, **kwargs)


async def run_in_pool(
    pool: Executor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run ``function``, which may use the database, in a thread of ``pool``.

    It is run again if a database connection from before was lost.
    """
    if is_loop_of_a_caller():
        return await _run_once(pool, function, *args, **kwargs)
    return await _run_once(pool, partial(_retry_if_lost, function, *args, **kwargs))


async def _run_once(
    pool: Executor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """As :func:`run_in_pool`, but the caller gets the error if a connection was lost."""
    if is_loop_of_a_caller():
        return await sync_to_async(_call)(True, function, *args, **kwargs)
    return await _run(pool, _call, False, function, *args, **kwargs)


@lru_cache(maxsize=16)
def _in_thread_of(pool: Executor, call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    # Kept, as to make one takes longer than to use it.
    return sync_to_async(call, thread_sensitive=False, executor=cast("Any", pool))


async def _run(pool: Executor, call: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Run ``call`` in a thread of ``pool``."""
    try:
        result: R = await _in_thread_of(pool, call)(*args, **kwargs)
        return result
    except RuntimeError as error:
        # A cancellation of this task goes through async code that ``function`` waits for.
        task = asyncio.current_task()
        if isinstance(error.__cause__, asyncio.CancelledError) and task and task.cancelling():
            raise error.__cause__ from None
        raise


def _call(has_transactions: bool, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Call ``function`` in this thread, then release its database connections.

    ``has_transactions``: the thread is that of a caller, as of a ``TestCase``, and its transaction
    stays open.
    """
    _close_old_connections(has_transactions)
    try:
        return _call_for_task(function, *args, **kwargs)
    finally:
        _close_old_connections(has_transactions)


def _call_for_task(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Call ``function`` of the site for a task that waits for it.

    The task would wait for good for a call that raised ``StopIteration``. Errors that are no
    ``Exception`` would end the task or its event loop without a word.
    """
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise RuntimeError(f"A call in a thread raised {error!r}.") from error


async def run_once_keeping_connections(
    pool: Executor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """As :func:`run_in_pool`, but once, and a connection is left open for the thread's next call.

    Under ``CONN_MAX_AGE`` of 0, to open one takes longer than most calls. The threads of ``pool``
    call :func:`release_connections` when they are idle.
    """
    if is_loop_of_a_caller():
        return await _run_once(pool, function, *args, **kwargs)
    return await _run(pool, _call_keeping, function, *args, **kwargs)


def _call_keeping(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    if getattr(_thread, "was_idle", True):
        _close_old_connections(False)
        _thread.was_idle = False
    try:
        return _call_for_task(function, *args, **kwargs)
    finally:
        for each in connections.all(initialized_only=True):
            if not each.allow_thread_sharing:
                if _is_left_open(each):
                    each.close_at = None
                each.close_if_unusable_or_obsolete()
                if each.in_atomic_block:  # Which nothing can end any more.
                    each.close()
                    del connections[each.alias]


def release_connections() -> None:
    """Close the connections that were left open in this thread, which is idle."""
    _thread.was_idle = True
    for each in connections.all(initialized_only=True):
        if _is_left_open(each) and not each.allow_thread_sharing:
            with suppress(DatabaseError):  # It is lost.
                each.close()


def _is_left_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether only :func:`run_once_keeping_connections` keeps ``connection`` between calls.

    Never one of a pool: the other threads wait for it, while opening one costs next to nothing.
    """
    options = connection.settings_dict
    return options["CONN_MAX_AGE"] == 0 and not options["OPTIONS"].get("pool")


def _close_old_connections(has_transactions: bool) -> None:
    """As Django does after a request. A test may share its connection with other threads.

    A transaction that was begun outside ends with its connection, so ``has_transactions`` keeps it.
    """
    for each in connections.all(initialized_only=True):
        is_open = each.in_atomic_block or each.autocommit != each.settings_dict["AUTOCOMMIT"]
        if not (each.allow_thread_sharing or (has_transactions and is_open)):
            each.close_if_unusable_or_obsolete()


def _retry_if_lost(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function``, and call it again if a database connection from before was lost.

    Under ``CONN_MAX_AGE`` each thread keeps a connection, and a restart of the database closes all
    of them. Without the second call, the first handshake in each thread would be refused.
    """
    kept = [each for each in connections.all(initialized_only=True) if each.connection is not None]
    try:
        return function(*args, **kwargs)
    except DatabaseError:
        lost = [each for each in kept if each.connection is None or not each.is_usable()]
        if not lost:
            raise
        for each in lost:
            each.close()
    return function(*args, **kwargs)
