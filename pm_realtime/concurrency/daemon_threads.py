"""Threads for calls that may never return."""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakSet

from pm_realtime.concurrency.background import after_fork

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("pm_realtime.connection")

#: Seconds in which running calls may end when the process does.
EXIT_SECONDS: Final = 1.0

_Call = tuple[Future[Any], Callable[[], Any]]
_executors: Final["WeakSet[DaemonThreads]"] = WeakSet()


class DaemonThreads(Executor):
    """At most ``max_threads`` threads. A process ends although a call is stuck in one.

    It would wait for those of a ``ThreadPoolExecutor``, for good. ``on_idle`` is called in each
    thread that has had nothing to do for ``idle_seconds`` after a call.
    """

    def __init__(
        self,
        max_threads: int,
        name: str,
        *,
        on_idle: Callable[[], object] | None = None,
        idle_seconds: float = 0.05,
    ) -> None:
        self._max_threads, self._name = max_threads, name
        self._on_idle, self._idle_seconds = on_idle, idle_seconds
        self._reset()
        _executors.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: The calls that were submitted and have not ended.
        self._pending = 0
        self._is_shut_down = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call ``fn`` in a thread. Raises ``RuntimeError`` after :meth:`shutdown`."""
        future: Future[R] = Future()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("These threads were shut down.")
            self._calls.put((future, partial(fn, *args, **kwargs)))
            self._pending += 1
            if len(self._threads) < min(self._pending, self._max_threads):
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after the calls that were submitted. Never waits for them."""
        with self._lock:
            self._is_shut_down = True
            for _ in self._threads:
                self._calls.put(None)

    def join(self, seconds: float) -> None:
        """Wait at most ``seconds`` for the threads to end."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _next_call(self) -> _Call | None:
        if self._on_idle is not None:
            try:
                return self._calls.get(timeout=self._idle_seconds)
            except Empty:
                self._note_idle(self._on_idle)
        return self._calls.get()

    def _note_idle(self, on_idle: Callable[[], object]) -> None:
        try:
            on_idle()
        except Exception:  # It would end the thread, and a call might have no other.
            logger.exception("What an idle thread does has failed.")

    def _work(self) -> None:
        while (call := self._next_call()) is not None:
            report = _run(*call)
            with self._lock:
                self._pending -= 1
            # A caller that submits the next call after this result finds this thread free.
            report()
            # Else an idle thread would keep what the last call referred to.
            del call, report


def _run(future: Future[Any], function: Callable[[], Any]) -> Callable[[], None]:
    """Call ``function``, and return the call that gives its outcome to ``future``."""
    if not future.set_running_or_notify_cancel():
        return _nothing
    try:
        return partial(future.set_result, function())
    except BaseException as error:
        return partial(future.set_exception, error)


def _nothing() -> None:
    """The outcome of a call that was cancelled before it began."""


@atexit.register
def _end_all() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    executors = list(_executors)
    for executor in executors:
        executor.shutdown()
    for executor in executors:
        executor.join(deadline - time.monotonic())


def _reset_all() -> None:
    """A forked child has none of the threads."""
    for executor in _executors:
        executor._reset()


after_fork(_reset_all)
