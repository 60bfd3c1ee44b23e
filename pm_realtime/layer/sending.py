"""How a message gets into the channel layer, from the loop that serves sockets or from anywhere.

In-memory layers belong to one event loop and reach one process. Whoever sends from another thread
or loop hands the message over to the loop that serves the sockets. To layers outside of this
process a thread sends through its own kept connections.
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
from pm_realtime.layer.guarded_calls import TIMEOUT, group_send
from pm_realtime.layer.local import get_layer, is_in_process
from pm_realtime.layer.wire import Message
from pm_realtime.observability import outage

logger = logging.getLogger("pm_realtime.push")

#: Seconds for which threads are told at once what one of them waited for in vain.
REFUSAL: Final = 1.0
#: Seconds from which a failure was a wait.
LONG: Final = 0.5


class _Handover:
    """Messages from other threads on their way into the loop that serves the sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[BaseChannelLayer, str, Message]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def put(self, layer: BaseChannelLayer, group: str, message: Message) -> None:
        """Pass on one message, from any thread, without waiting. ``RuntimeError``: loop closed."""
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
_refusal: tuple[float, str] | None = None
_expects_sockets = False
_has_warned = False


def expect_sockets() -> None:
    """Say that this process is there to serve sockets, even while it holds none."""
    global _expects_sockets
    _expects_sockets = True


def start_serving(loop: asyncio.AbstractEventLoop) -> None:
    """From now on ``loop`` holds sockets: threads hand their in-memory messages to it."""
    with _lock:
        for other in [other for other in _handovers if other.is_closed()]:
            del _handovers[other]
        _handovers[loop] = _Handover(loop)


def stop_serving(loop: asyncio.AbstractEventLoop) -> None:
    """``loop`` holds no sockets any more."""
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
    """Send to other processes; where one thread waited in vain, the next are told at once."""
    global _refusal
    started = time.monotonic()
    refusal = _refusal
    if refusal is not None:
        if started < refusal[0]:
            raise OutageError(refusal[1])
        _refusal = (started + TIMEOUT, refusal[1])
    try:
        _publish(layer, group, message)
    except BackendError as error:
        has_waited = time.monotonic() - started > LONG
        _refusal = (time.monotonic() + REFUSAL, str(error)) if has_waited else None
        _report(error)
        raise
    _refusal = None
    outage.end(_publish)


def _publish(layer: BaseChannelLayer, group: str, message: Message) -> None:
    publisher = adapter_for(layer).publisher(TIMEOUT)
    if publisher is not None:
        publisher.send(group, message)
    else:
        run_in_background(group_send(layer, group, message))


def _report(error: BackendError) -> None:
    if outage.is_watched:
        outage.suspect()
    else:
        outage.begin(_publish, "the way to other processes", error)


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
    """Whether no socket can be reached from here."""
    return not _handovers and is_in_process(get_layer())


def warn_if_alone() -> None:
    """Warn, once a process, where no socket can be reached from here and none will be."""
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
    """How far up from :func:`warn_if_alone` the site's own code is."""
    level = 1
    frame = inspect.currentframe()
    while (frame := frame and frame.f_back) and frame.f_globals.get("__name__", "").startswith(
        "pm_realtime."
    ):
        level += 1
    return level


def _forget() -> None:
    """In a forked child no loop runs but those it makes itself."""
    global _lock, _refusal
    _lock = threading.Lock()
    _refusal = None
    _handovers.clear()


after_fork(_forget)


def _hand_over(layer: BaseChannelLayer, group: str, message: Message) -> None:
    for handover in list(_handovers.values()):
        try:
            handover.put(layer, group, message)
        except RuntimeError:
            stop_serving(handover.loop)
        else:
            return
    warn_if_alone()
