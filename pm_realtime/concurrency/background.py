"""One event loop in a thread of its own, for the sync callers of a process; and forks of it."""

import asyncio
import atexit
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from pm_realtime.concurrency.greenlets import (
    call_blocking,
    is_patched,
    native_lock,
    start_thread,
)

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
            _loop = _start_loop()
        call = _Call(_loop, coroutine)
    return call.result(timeout_seconds)


def _start_loop() -> asyncio.AbstractEventLoop:
    """A loop that runs in a thread of the operating system.

    It is made there: under gevent its selector belongs to the thread that makes it.
    """
    made: list[asyncio.AbstractEventLoop] = []
    is_made = native_lock()
    is_made.acquire()

    def run() -> None:
        try:
            made.append(_GreenLoop() if is_patched() else asyncio.new_event_loop())
        finally:
            is_made.release()
        made[0].run_forever()

    start_thread(run, "pm_realtime-push")
    # Not for long, and other greenlets must not go on: the caller holds a lock.
    is_made.acquire()
    return made[0]


class _GreenLoop(asyncio.SelectorEventLoop):
    """For a process of greenlets.

    An executor's "threads" would be greenlets of this thread, for which the process waits in vain
    when it ends. So names of hosts are looked up in the loop itself.
    """

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return socket.getaddrinfo(host, port, **options)


class _Call(Generic[R]):
    """A coroutine in the loop, for one thread that waits for it.

    The lock is one of the operating system: the locks of gevent and eventlet belong to one thread.
    """

    _task: asyncio.Task[R]

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._is_done = native_lock()
        self._is_done.acquire()
        loop.call_soon_threadsafe(self._start)

    def result(self, timeout_seconds: float) -> R:
        """Raises any error of the coroutine, and ``TimeoutError``, which cancels it."""
        if not call_blocking(self._is_done.acquire, True, timeout_seconds):
            self._loop.call_soon_threadsafe(self._cancel)
            raise TimeoutError(f"no result within {timeout_seconds:g} s")
        return self._task.result()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(lambda _: self._is_done.release())

    def _cancel(self) -> None:
        self._task.cancel()


@atexit.register
def _close() -> None:
    """Finalize the async generators of the loop, which close their sockets."""
    if _loop is not None:
        with contextlib.suppress(Exception):
            _Call(_loop, _loop.shutdown_asyncgens()).result(BACKGROUND_CLOSE_SECONDS)


def _reset() -> None:
    """A forked child has no such thread, and the lock may be held for ever."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


after_fork(_reset)
