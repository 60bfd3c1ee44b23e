"""Sends messages through the channel layer, from the loop that serves sockets or from anywhere.

An in-memory layer belongs to one event loop and reaches one process. Other threads and loops hand
their messages over to the loop that serves the sockets. Threads send to layers outside of this
process over connections of their own, which are kept.
"""

import asyncio
import inspect
import logging
import threading
import time
import warnings
from collections import deque
from typing import Final

from channels.layers import BaseChannelLayer

from pm_realtime.concurrency import after_fork, run_in_background
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.adapters import adapter_for
from pm_realtime.layer.config import PUBSUB_LAYER
from pm_realtime.layer.guarded_calls import LAYER_CALL_TIMEOUT_SECONDS, group_send, reason_of
from pm_realtime.layer.local import get_layer, is_in_process
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, outage

logger = logging.getLogger("pm_realtime.push")

#: Seconds for which the messages of all threads are refused after one has waited in vain.
THREADS_REFUSED_SECONDS: Final = 1.0
#: A message that failed after at least so long has waited.
SLOW_FAILURE_SECONDS: Final = 0.5
#: The watcher of outages that threads notice.
THREADS: Final = "sending threads"


class _Handover:
    """Messages of other threads for the loop that serves the sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[BaseChannelLayer, str, Message]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def put(self, layer: BaseChannelLayer, group: str, message: Message) -> None:
        """Hand over one message, from any thread. Raises ``RuntimeError`` if the loop is closed."""
        self._waiting.append((layer, group, message))
        self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._sender is None and self._waiting:
            self._sender = self.loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                layer, group, message = self._waiting.popleft()
                try:
                    await layer.group_send(group, message)
                except Exception:
                    logger.exception("A push could not be handed to the channel layer.")
        finally:
            self._sender = None


_lock = threading.Lock()
_handovers: Final[dict[asyncio.AbstractEventLoop, _Handover]] = {}
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
    with _lock:
        for other in [other for other in _handovers if other.is_closed()]:
            del _handovers[other]
        _handovers[loop] = _Handover(loop)


def stop_serving(loop: asyncio.AbstractEventLoop) -> None:
    """``loop`` has no sockets any more."""
    with _lock:
        _handovers.pop(loop, None)


def send(group: str, message: Message) -> None:
    """Send ``message`` to ``group`` from a thread without a running event loop."""
    layer = get_layer()
    if is_in_process(layer):
        _hand_over(layer, group, message)
    else:
        _send_outside(layer, group, message)


def _send_outside(layer: BaseChannelLayer, group: str, message: Message) -> None:
    """Send to other processes. If one thread has waited in vain, others are refused at once."""
    global _refused
    started = time.monotonic()
    refused = _refused
    if refused is not None:
        if started < refused[0]:
            raise OutageError(refused[1])
        _refused = (started + LAYER_CALL_TIMEOUT_SECONDS, refused[1])
    try:
        _publish(layer, group, message)
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


def _publish(layer: BaseChannelLayer, group: str, message: Message) -> None:
    publisher = adapter_for(layer).publisher(LAYER_CALL_TIMEOUT_SECONDS)
    if publisher is not None:
        publisher.send(group, message)
    else:
        run_in_background(group_send(layer, group, message))


async def asend(group: str, message: Message) -> None:
    """Send ``message`` to ``group`` from the running event loop."""
    layer = get_layer()
    if is_in_process(layer) and asyncio.get_running_loop() not in _handovers:
        _hand_over(layer, group, message)
        return
    try:
        await group_send(layer, group, message)
    except BackendError:
        outage.suspect()
        raise


def is_alone() -> bool:
    """Whether no socket can be reached from this process."""
    return not _handovers and is_in_process(get_layer())


def warn_if_alone() -> None:
    """Warn once in a process that reaches no socket and is not there to serve any."""
    global _has_warned
    if _has_warned or _expects_sockets or not is_alone():
        return
    _has_warned = True
    warnings.warn(
        "pm_realtime: this process serves no WebSockets and the in-memory channel layer reaches no "
        "other process, so nothing sent from here arrives and no connection is seen. Set "
        f"CHANNEL_LAYERS to {PUBSUB_LAYER} to push from shells, workers and commands.",
        RuntimeWarning,
        stacklevel=_callers_level(),
    )


def _callers_level() -> int:
    """The number of frames from :func:`warn_if_alone` up to the site's own code."""
    level = 1
    frame = inspect.currentframe()
    while (frame := frame and frame.f_back) and frame.f_globals.get("__name__", "").startswith(
        "pm_realtime."
    ):
        level += 1
    return level


def forget() -> None:
    """Forget loops and outages: in a forked child only its own loops run."""
    global _lock, _refused
    _lock = threading.Lock()
    _refused = None
    _handovers.clear()
    outage.end(THREADS)


after_fork(forget)


def _hand_over(layer: BaseChannelLayer, group: str, message: Message) -> None:
    for handover in list(_handovers.values()):
        try:
            handover.put(layer, group, message)
        except RuntimeError:
            stop_serving(handover.loop)
        else:
            return
    warn_if_alone()
