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

BACKGROUND_CALL_SECONDS: Final = 10.0
#: Time in which the sockets of the loop may close when the process ends.
BACKGROUND_CLOSE_SECONDS: Final = 1.0


class _BackgroundLoop:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="pm_realtime-push", daemon=True).start()
        atexit.register(self.close)

    def run(self, coroutine: Coroutine[Any, Any, R], timeout_seconds: float) -> R:
        running = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return running.result(timeout_seconds)
        finally:
            running.cancel()

    def close(self) -> None:
        """Finalize the async generators of the loop, which close their sockets."""
        if self.pid == os.getpid():
            with contextlib.suppress(Exception):
                closing = self.loop.shutdown_asyncgens()
                future = asyncio.run_coroutine_threadsafe(closing, self.loop)
                future.result(BACKGROUND_CLOSE_SECONDS)


_lock = threading.Lock()
_background: _BackgroundLoop | None = None


def run_in_background(
    coroutine: Coroutine[Any, Any, R], *, timeout_seconds: float = BACKGROUND_CALL_SECONDS
) -> R:
    """The result of ``coroutine``, run in the one background loop of this process.

    For threads without a running event loop. After ``timeout_seconds`` the coroutine is cancelled
    and ``TimeoutError`` is raised.
    """
    global _background
    with _lock:
        if _background is None:
            _background = _BackgroundLoop()
        background = _background
    return background.run(coroutine, timeout_seconds)


def _reset() -> None:
    """A forked child has no such thread, and the lock may be held for ever."""
    global _lock, _background
    _lock = threading.Lock()
    _background = None


after_fork(_reset)
