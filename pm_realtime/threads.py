"""Where blocking code runs, so that it holds up neither the event loop nor other connections.

Channels and Django send all sync code of a process through one shared thread. A query of three
seconds there would hold up every handshake; so connecting and the site's own rules each have a
pool of their own.
"""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from channels.db import database_sync_to_async
from django.db import connections

P = ParamSpec("P")
R = TypeVar("R")

_POOL_SIZE: Final = 8

_handshakes: Final = ThreadPoolExecutor(_POOL_SIZE, thread_name_prefix="pm_realtime-handshake")
_site_code: Final = ThreadPoolExecutor(_POOL_SIZE, thread_name_prefix="pm_realtime-site")


async def run_handshake(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run the one database hop of a connect; database connections are returned after it."""
    return await _run_in(_handshakes, function, *args, **kwargs)


async def run_site_code(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a callable of the site, sync or async; it may use the ORM either way."""
    if not inspect.iscoroutinefunction(function):
        result = await _run_in(_site_code, function, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result
    async with ThreadSensitiveContext() as context:
        try:
            return await function(*args, **kwargs)
        finally:
            if context in SyncToAsync.context_to_thread_executor:
                await sync_to_async(connections.close_all)()


async def _run_in(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    hop = database_sync_to_async(function, thread_sensitive=False, executor=pool)
    return await hop(*args, **kwargs)
