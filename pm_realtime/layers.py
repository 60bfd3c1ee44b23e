"""The channel layer of this process, and how a thread hands it a message.

In-memory layers belong to one event loop and reach one process. Whoever sends from another thread
or loop hands the message over to the loop that serves the sockets.
"""

import asyncio
import atexit
import contextlib
import inspect
import logging
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pm_realtime.conf import conf

R = TypeVar("R")
Message = dict[str, Any]

#: The two kinds of message that travel by the layer: a text for members, an order to them.
PUSH: Final = "pm_realtime.push"
INSTRUCT: Final = "pm_realtime.instruct"

logger = logging.getLogger("pm_realtime.push")


class LocalChannelLayer(InMemoryChannelLayer):
    """The layer of a site without ``CHANNEL_LAYERS``: one process, nothing dropped, no expiry.

    Channels' own in-memory layer drops what exceeds 100 waiting messages, copies each message in
    depth and looks through every group on every send. The hub takes messages as fast as they come
    and changes none, so here a send is one append.
    """

    def __init__(self) -> None:
        super().__init__(capacity=0)

    async def send(self, channel: str, message: Message) -> None:
        self.require_valid_channel_name(channel)
        self._queue(channel).put_nowait((time.time() + self.expiry, message))

    async def group_send(self, group: str, message: Message) -> None:
        self.require_valid_group_name(group)
        for channel in self.groups.get(group, ()):
            self._queue(channel).put_nowait((time.time() + self.expiry, message))

    def _queue(self, channel: str) -> "asyncio.Queue[tuple[float, Message]]":
        queue: asyncio.Queue[tuple[float, Message]] | None = self.channels.get(channel)
        if queue is None:
            queue = self.channels[channel] = asyncio.Queue()
        return queue

    def _clean_expired(self) -> None:
        """Nothing here expires: the one channel of a process leaves its groups when it stops."""


def get_layer() -> BaseChannelLayer:
    """The layer behind ``CHANNEL_LAYER``; one of our own where ``CHANNEL_LAYERS`` is not set.

    Raises ``ImproperlyConfigured`` where ``CHANNEL_LAYERS`` is set and lacks the alias.
    """
    alias = conf.CHANNEL_LAYER
    try:
        return channel_layers[alias]
    except KeyError:
        if configured := getattr(settings, "CHANNEL_LAYERS", None):
            raise ImproperlyConfigured(
                f'PM_REALTIME["CHANNEL_LAYER"] names {alias!r}, '
                f"but CHANNEL_LAYERS has only: {', '.join(configured)}."
            ) from None
        layer = LocalChannelLayer()
        channel_layers.set(alias, layer)
        return layer


def is_in_process(layer: BaseChannelLayer) -> bool:
    """Whether ``layer`` reaches no process but this one."""
    return isinstance(layer, InMemoryChannelLayer)


def forget_channel(layer: BaseChannelLayer, channel: str) -> None:
    """Drop what waits for ``channel``, which nobody will read any more."""
    if isinstance(layer, InMemoryChannelLayer):
        layer.channels.pop(channel, None)


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


class _BackgroundLoop:
    """One event loop in a thread of its own, kept for the sync callers of a process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="pm_realtime-push", daemon=True).start()
        atexit.register(self.close)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        running = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return running.result(SEND_TIMEOUT)
        finally:
            running.cancel()

    def close(self) -> None:
        """Give those who hold sockets in this loop a moment to close them."""
        if self.pid == os.getpid():
            with contextlib.suppress(Exception):
                closing = self.loop.shutdown_asyncgens()
                asyncio.run_coroutine_threadsafe(closing, self.loop).result(CLOSE_TIMEOUT)


#: Seconds a sync push may wait for the channel layer, a question for the backend.
SEND_TIMEOUT: Final = 10
#: Seconds the background loop may take to close its sockets when the process ends.
CLOSE_TIMEOUT: Final = 1

_lock: Final = threading.Lock()
_handovers: Final[dict[asyncio.AbstractEventLoop, _Handover]] = {}
_background: _BackgroundLoop | None = None
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
        run_in_background(layer.group_send(group, message))


async def asend(group: str, message: Message) -> None:
    """Send ``message`` to ``group`` from the running event loop."""
    layer = get_layer()
    if is_in_process(layer) and asyncio.get_running_loop() not in _handovers:
        _hand_over(layer, group, message)
    else:
        await layer.group_send(group, message)


def warn_if_alone() -> None:
    """Warn, once a process, where no socket can be reached from here."""
    global _has_warned
    if _handovers or _expects_sockets or _has_warned or not is_in_process(get_layer()):
        return
    _has_warned = True
    warnings.warn(
        "pm_realtime: this process serves no WebSockets and the in-memory channel layer reaches no "
        "other process, so nothing sent from here arrives and no connection is seen. Set "
        "CHANNEL_LAYERS to channels_redis.pubsub.RedisPubSubChannelLayer to push from shells, "
        "workers and commands.",
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


def _hand_over(layer: BaseChannelLayer, group: str, message: Message) -> None:
    for handover in list(_handovers.values()):
        try:
            handover.put(layer, group, message)
        except RuntimeError:
            stop_serving(handover.loop)
        else:
            return
    warn_if_alone()


def run_in_background(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of ``coroutine``, run in the one background loop of this process.

    For threads without a running event loop. What takes longer than :data:`SEND_TIMEOUT` is
    cancelled and raises ``TimeoutError``.
    """
    global _background
    with _lock:
        if _background is None or _background.pid != os.getpid():
            _background = _BackgroundLoop()
        background = _background
    return background.run(coroutine)


def is_on_redis() -> bool:
    """Whether the layer in ``CHANNEL_LAYERS`` is one of channels-redis, or made from one."""
    config = layer_config() or {}
    try:
        found = import_string(config.get("BACKEND"))
    except (ImportError, AttributeError):
        return False
    return any(base.__module__.startswith("channels_redis.") for base in inspect.getmro(found))


def layer_config() -> Mapping[str, Any] | None:
    """The entry of ``CHANNEL_LAYERS`` in use, None where there is none."""
    found = getattr(settings, "CHANNEL_LAYERS", None)
    config = found.get(conf.CHANNEL_LAYER) if isinstance(found, Mapping) else None
    return config if isinstance(config, Mapping) else None
