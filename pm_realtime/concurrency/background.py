"""One event loop in a thread of its own, for the sync callers of a process."""

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from pm_realtime.concurrency.forks import after_fork

R = TypeVar("R")

#: Seconds a sync caller may wait for the channel layer or the backend.
TIMEOUT: Final = 10
#: Seconds the loop may take to close its sockets when the process ends.
CLOSE_TIMEOUT: Final = 1


class _BackgroundLoop:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="pm_realtime-push", daemon=True).start()
        atexit.register(self.close)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        running = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return running.result(TIMEOUT)
        finally:
            running.cancel()

    def close(self) -> None:
        """Give those who hold sockets in this loop a moment to close them."""
        if self.pid == os.getpid():
            with contextlib.suppress(Exception):
                closing = self.loop.shutdown_asyncgens()
                asyncio.run_coroutine_threadsafe(closing, self.loop).result(CLOSE_TIMEOUT)


_lock = threading.Lock()
_background: _BackgroundLoop | None = None


def run_in_background(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of ``coroutine``, run in the one background loop of this process.

    For threads without a running event loop. What takes longer than :data:`TIMEOUT` is cancelled
    and raises ``TimeoutError``.
    """
    global _background
    with _lock:
        if _background is None:
            _background = _BackgroundLoop()
        background = _background
    return background.run(coroutine)


def _forget() -> None:
    """A forked child has neither the thread nor, for certain, the lock; it makes its own."""
    global _lock, _background
    _lock = threading.Lock()
    _background = None


after_fork(_forget)
