"""Where blocking code runs, so that it holds up neither the event loop nor other connections.

Channels and Django send all sync code of a process through one shared thread. A query of three
seconds there would hold up every handshake; so connecting and the site's own rules each have a
pool of their own.
"""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, sync_to_async
from channels.db import database_sync_to_async
from django.db import connections

P = ParamSpec("P")
R = TypeVar("R")

#: A handshake is one short hop, so a few threads do; re-checks are for many at once; a rule of the
#: site may be slow.
_handshakes: Final = ThreadPoolExecutor(8, thread_name_prefix="pm_realtime-handshake")
_checks: Final = ThreadPoolExecutor(2, thread_name_prefix="pm_realtime-check")
_site_code: Final = ThreadPoolExecutor(32, thread_name_prefix="pm_realtime-site")


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
    hop = database_sync_to_async(function, thread_sensitive=False, executor=pool)
    return await hop(*args, **kwargs)
