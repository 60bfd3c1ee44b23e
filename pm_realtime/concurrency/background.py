"""One event loop in a thread of its own, for the sync callers of a process; and forks of it."""

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

R = TypeVar("R")

BACKGROUND_CALL_SECONDS: Final = 10.0
#: Time in which the sockets of the loop may close when the process ends.
BACKGROUND_CLOSE_SECONDS: Final = 1.0

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def after_fork(reset: Callable[[], None]) -> None:
    """Have ``reset`` called in every forked child, on systems that can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)


def run_in_background(
    coroutine: Coroutine[Any, Any, R], *, timeout_seconds: float = BACKGROUND_CALL_SECONDS
) -> R:
    """The result of ``coroutine``, run in the one background loop of this process.

    For threads without a running event loop. After ``timeout_seconds`` the coroutine is cancelled
    and ``TimeoutError`` is raised.
    """
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            run = _loop.run_forever
            threading.Thread(target=run, name="pm_realtime-push", daemon=True).start()
        running = asyncio.run_coroutine_threadsafe(coroutine, _loop)
    try:
        return running.result(timeout_seconds)
    finally:
        running.cancel()


@atexit.register
def _close() -> None:
    """Finalize the async generators of the loop, which close their sockets."""
    if _loop is not None:
        with contextlib.suppress(Exception):
            closing = asyncio.run_coroutine_threadsafe(_loop.shutdown_asyncgens(), _loop)
            closing.result(BACKGROUND_CLOSE_SECONDS)


def _reset() -> None:
    """A forked child has no such thread, and the lock may be held for ever."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


after_fork(_reset)
