"""Calls of the site's functions: sync ones in bounded threads, async ones in the event loop."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

from pm_realtime.auth import (
    release_connections,
    run_in_pool,
    run_once_keeping_connections,
)
from pm_realtime.concurrency import DaemonThreads, is_loop_of_a_caller, note_abandoned_call

P = ParamSpec("P")
R = TypeVar("R")

#: For code of the site, which may be slow.
site_threads: Final = DaemonThreads(128, "pm_realtime-site", on_idle=release_connections)


async def run_site_code(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` of the site, a sync or async callable that may use the ORM."""
    if not inspect.iscoroutinefunction(function):
        result = await run_in_pool(site_threads, function, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result
    return await run_async_site_code(function, *args, **kwargs)


async def run_in_site_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call the sync ``function``, and never a second time if a database connection was lost."""
    return await run_once_keeping_connections(site_threads, function, *args)


async def run_async_site_code(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the async ``function`` of the site, whose queries have a thread of their own."""
    if is_loop_of_a_caller():
        return await function(*args, **kwargs)
    if SyncToAsync.thread_sensitive_context.get(None) is not None:
        return await _awaited(function(*args, **kwargs))
    context, thread = ThreadSensitiveContext(), _OwnThread()
    # Not with the context itself, which would start a thread to shut the other one down.
    token = SyncToAsync.thread_sensitive_context.set(context)
    SyncToAsync.context_to_thread_executor[context] = thread
    try:
        return await _awaited(function(*args, **kwargs))
    finally:
        SyncToAsync.context_to_thread_executor.pop(context, None)
        SyncToAsync.thread_sensitive_context.reset(token)
        closing = thread.close()
        # One that is stuck in the code of a cancelled call is not waited for.
        if closing is not None and not isinstance(sys.exception(), asyncio.CancelledError):
            await asyncio.wrap_future(closing)


class _OwnThread(Executor):
    """The thread of one call, which is started when it is first used. Most calls never do."""

    def __init__(self) -> None:
        self._threads: DaemonThreads | None = None

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        if self._threads is None:
            self._threads = DaemonThreads(1, "pm_realtime-site-async")
        return self._threads.submit(fn, *args, **kwargs)

    def close(self) -> Future[None] | None:
        """Begin to close its database connections, after the calls before. None if it is unused."""
        if self._threads is None:
            return None
        closing = self._threads.submit(connections.close_all)
        self._threads.shutdown()
        return closing


async def _awaited(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except asyncio.CancelledError:
        note_abandoned_call()  # It may have threads of its own.
        raise
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:  # It would end the task, or the event loop, without a word.
        raise RuntimeError(f"An async call raised {error!r}.") from error
