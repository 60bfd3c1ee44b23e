"""Calls of the site's functions that may be stuck, with a limit for each function.

A thread in which a function is stuck cannot be stopped. One that is stuck in all its calls holds
up what asks for it, and nothing else.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pm_realtime.auth import reading_primary
from pm_realtime.concurrency import PerLoop, note_abandoned_call, note_result

R = TypeVar("R")

#: Calls of one function that are under way at the same time in an event loop.
MAX_CALLS_PER_FUNCTION: Final = 16

#: By the dotted path of the function.
_free_calls: Final = PerLoop[dict[str, asyncio.Semaphore]](dict)


def import_function(path: str | None, where: str) -> Callable[..., Any]:
    """The function at ``path``, which the option ``where`` names.

    Raises ``ImproperlyConfigured``.
    """
    where = f"{where}: expected the dotted path of a function"
    try:
        function = import_string(path or "")
    except Exception as error:
        raise ImproperlyConfigured(f"{where}, got {path!r} ({error}).") from error
    if not callable(function):
        raise ImproperlyConfigured(f"{where}, got {path!r}, which is {function!r}.")
    return function  # type: ignore[no-any-return]


def describe_failure(path: str, error: Exception) -> object:
    """The ``error`` of a function at ``path``, or of its import, for the log."""
    return error if isinstance(error, ImproperlyConfigured) else f"{path} raised an exception."


async def call_limited(
    path: str, function: Callable[..., Any], ask: Callable[[], Coroutine[Any, Any, R]]
) -> R:
    """The result of ``ask``, which calls ``function`` at ``path``, once a call of it is free."""
    free_calls = _free_calls.get().setdefault(path, asyncio.Semaphore(MAX_CALLS_PER_FUNCTION))
    await free_calls.acquire()
    with reading_primary():
        call = asyncio.ensure_future(ask())
    # After a timeout the call goes on in its thread, and stays one of those under way.
    call.add_done_callback(lambda _: free_calls.release())
    call.add_done_callback(note_result)
    try:
        await asyncio.wait({call})
    except asyncio.CancelledError:
        if inspect.iscoroutinefunction(function):
            call.cancel()
            note_abandoned_call(call)  # It may not take its cancellation.
        raise
    if call.cancelled():
        raise RuntimeError(f"{path} was cancelled")
    return call.result()
