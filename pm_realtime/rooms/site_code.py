"""Runs code of the site, sync or async: rules of rooms and receivers of signals."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import connections

from pm_realtime.auth import run_in_pool
from pm_realtime.concurrency import is_loop_of_a_caller

#: Code of the site may be slow; :mod:`.authorize` bounds the threads that one rule takes.
_threads: Final = ThreadPoolExecutor(128, thread_name_prefix="pm_realtime-site")


async def run_site_code(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function``, a sync or async callable that may use the ORM."""
    if not inspect.iscoroutinefunction(function):
        result = await run_in_pool(_threads, function, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result
    if is_loop_of_a_caller():
        return await function(*args, **kwargs)
    async with ThreadSensitiveContext() as context:
        try:
            return await function(*args, **kwargs)
        finally:
            if context in SyncToAsync.context_to_thread_executor:
                await sync_to_async(connections.close_all)()
