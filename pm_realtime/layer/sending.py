"""Sends messages through the channel layer, from the loop that serves sockets or from anywhere.

An in-memory layer belongs to one event loop and reaches one process. Other threads and loops hand
their messages over to the loop that serves the sockets. Threads send to layers outside of this
process over connections of their own, which are kept.
"""

import asyncio
import inspect
import logging
import time
import warnings
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from pm_realtime.concurrency import after_fork, run_in_background
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.adapter import (
    LAYER_CALL_TIMEOUT_SECONDS,
    LayerAdapter,
    calls_of_loop,
    reason_of,
)
from pm_realtime.layer.selection import PUBSUB_LAYER, adapter_for, get_layer
from pm_realtime.layer.server import daphne_lines, is_wsgi_runserver
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, outage

logger = logging.getLogger("pm_realtime.push")

R = TypeVar("R")

#: Seconds for which the messages of all threads are refused after one has waited in vain.
THREADS_REFUSED_SECONDS: Final = 1.0
#: A message that failed after at least so long has waited.
SLOW_FAILURE_SECONDS: Final = 0.5
#: The watcher of outages that threads notice.
THREADS: Final = "sending threads"


class _Handover:
    """Messages for an in-memory layer, which a loop that serves sockets sends in their order."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[LayerAdapter, str, Message]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._is_sending = False
        self._is_woken = False

    def wake_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have ``loop`` send the waiting messages. Raises ``RuntimeError`` if it is closed."""
        if not self._is_woken:
            self._is_woken = True  # First: the loop may be faster than this thread.
            loop.call_soon_threadsafe(self.wake)

    def wake(self) -> None:
        """Send the waiting messages, in a task."""
        self._is_woken = False
        if self._sender is None and self.waiting:
            self._sender = asyncio.get_running_loop().create_task(self._send_in_task())

    async def _send_in_task(self) -> None:
        try:
            await self.send_all()
        finally:
            self._sender = None

    async def send_all(self) -> None:
        """Send the waiting messages, unless another task is at it."""
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self.waiting:
                adapter, group, message = self.waiting.popleft()
                try:
                    await adapter.group_send(group, message)
                except Exception:
                    logger.exception("A push could not be handed to the channel layer.")
        finally:
            self._is_sending = False
            if self.waiting:  # The caller was cancelled.
                asyncio.get_running_loop().call_soon(self.wake)


#: The loops that serve sockets.
_serving: Final[dict[asyncio.AbstractEventLoop, _Handover]] = {}
#: Until when (monotonic seconds) and why the messages of threads are refused.
_refused: tuple[float, str] | None = None
_expects_sockets = False
_has_warned = False


def expect_sockets() -> None:
    """Declare that this process is there to serve sockets, even while it has none."""
    global _expects_sockets
    _expects_sockets = True


def start_serving(loop: asyncio.AbstractEventLoop) -> None:
    """``loop`` has sockets now: threads hand their in-memory messages over to it."""
    for other in list(_serving):
        if other.is_closed():
            stop_serving(other)
    _serving[loop] = _Handover()


def stop_serving(loop: asyncio.AbstractEventLoop) -> None:
    """``loop`` has no sockets any more."""
    _serving.pop(loop, None)


def get_adapter() -> LayerAdapter:
    """The adapter of the layer in use."""
    return adapter_for(get_layer())


def send(group: str, message: Message) -> None:
    """Send ``message`` to ``group`` from a thread without a running event loop."""
    adapter = adapter_for(get_layer())
    if adapter.is_remote:
        call_outside(partial(send_outside, adapter, group, message))
    else:
        _hand_over_or_warn(adapter, group, message)


async def asend(group: str, message: Message) -> None:
    """Send ``message`` to ``group`` from the running event loop."""
    adapter = adapter_for(get_layer())
    if not adapter.is_remote:
        _hand_over_or_warn(adapter, group, message, asyncio.get_running_loop())
        await send_handed_over()
        return
    try:
        await _send_despite_silence(adapter, group, message)
    except BackendError:
        outage.suspect()
        raise


async def send_handed_over() -> None:
    """Send what was handed over to the running event loop."""
    if (handover := _serving.get(asyncio.get_running_loop())) is not None:
        await handover.send_all()


def call_outside(call: Callable[[], R]) -> R:
    """The result of ``call``, which sends to other processes from a thread.

    If one thread has waited in vain, others are refused at once: ``OutageError`` is raised.
    """
    global _refused
    started = time.monotonic()
    refused = _refused
    if refused is not None:
        if started < refused[0]:
            raise OutageError(refused[1])
        _refused = (started + LAYER_CALL_TIMEOUT_SECONDS, refused[1])
    try:
        result = call()
    except BackendError as error:
        ended = time.monotonic()
        is_slow = ended - started > SLOW_FAILURE_SECONDS
        _refused = (ended + THREADS_REFUSED_SECONDS, str(error)) if is_slow else None
        if outage.is_watched:
            outage.suspect()
        else:
            outage.begin(THREADS, LAYER, reason_of(error))
        raise
    _refused = None
    outage.end(THREADS)
    return result


async def acall_outside(call: Callable[[], Awaitable[R]]) -> R:
    """The result of ``call``, which reaches a server of the layer beside the layer itself.

    While the circuit breaker of the running loop is open, ``OutageError`` is raised at once. A call
    that fails is an occasion to look whether the layer is there.
    """
    calls_of_loop.get().check_breaker()
    try:
        return await call()
    except BackendError:
        outage.suspect()
        raise


def is_probed() -> bool:
    """Whether the running loop serves sockets: probes notice there that a server is silent."""
    return asyncio.get_running_loop() in _serving


def send_outside(adapter: LayerAdapter, group: str, message: Message) -> None:
    """Send to other processes from a thread, inside of :func:`call_outside`."""
    if (publisher := adapter.publisher()) is not None:
        publisher.send(group, message)
    else:
        run_in_background(_send_despite_silence(adapter, group, message))


async def _send_despite_silence(adapter: LayerAdapter, group: str, message: Message) -> None:
    """Send, once more over new sockets if the kept ones are silent.

    In a loop that serves sockets, probes keep those of the layer in use.
    """
    try:
        await adapter.group_send(group, message)
    except OutageError as error:
        if is_probed() or not isinstance(error.__cause__, TimeoutError):
            raise  # The layer's adapter has tried twice if a socket was broken.
        await adapter.group_send(group, message)


def hand_over(
    adapter: LayerAdapter,
    group: str,
    message: Message,
    running_loop: asyncio.AbstractEventLoop | None = None,
) -> bool:
    """Send ``message`` through an in-memory layer, in the order of the calls, from any thread.

    In a ``running_loop``, which may serve sockets itself, :func:`send_handed_over` must follow.
    Returns False if no loop serves sockets; a caller that holds no lock then warns.
    """
    if running_loop is not None and (handover := _serving.get(running_loop)) is not None:
        handover.waiting.append((adapter, group, message))
        return True
    for loop, handover in list(_serving.items()):
        handover.waiting.append((adapter, group, message))
        try:
            handover.wake_from_thread(loop)
        except RuntimeError:  # The loop is closed.
            stop_serving(loop)
        else:
            return True
    return False


def _hand_over_or_warn(
    adapter: LayerAdapter,
    group: str,
    message: Message,
    running_loop: asyncio.AbstractEventLoop | None = None,
) -> None:
    if not hand_over(adapter, group, message, running_loop):
        warn_if_alone()


def is_alone() -> bool:
    """Whether no socket can be reached from this process."""
    return not _serving and not adapter_for(get_layer()).is_remote


def warn_if_alone() -> None:
    """Warn once in a process that reaches no socket and is not there to serve any."""
    global _has_warned
    if _has_warned or _expects_sockets or not is_alone():
        return
    _has_warned = True
    if is_wsgi_runserver():
        advice = f"This runserver speaks WSGI. {daphne_lines()}; then it serves WebSockets too."
    else:
        advice = (
            f"Set CHANNEL_LAYERS to {PUBSUB_LAYER} to push from shells, workers and commands. If "
            "this process is to serve the WebSockets, start asgi.py with an ASGI server."
        )
    warnings.warn(
        "pm_realtime: this process serves no WebSockets and the in-memory channel layer reaches no "
        f"other process, so nothing sent from here arrives and no connection is seen. {advice}",
        RuntimeWarning,
        stacklevel=_callers_level(),
    )


def _callers_level() -> int:
    """The number of frames from :func:`warn_if_alone` up to the site's own code."""
    level, frame = 0, inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").startswith("pm_realtime."):
        level, frame = level + 1, frame.f_back
    return level


def forget() -> None:
    """Forget loops and outages: in a forked child only its own loops run."""
    global _refused
    _refused = None
    _serving.clear()
    outage.end(THREADS)


after_fork(forget)
