"""The adapter of each kind of channel layer."""

import asyncio
import atexit
import threading
from typing import Any

from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from pm_realtime.concurrency import after_fork
from pm_realtime.layer.channels_redis import CoreAdapter, PubSubAdapter, is_core, is_pubsub
from pm_realtime.layer.contract import LayerAdapter
from pm_realtime.layer.local import LocalChannelLayer


class InMemoryAdapter(LayerAdapter):
    """For the in-memory layer of Channels.

    It does not show waiting messages: one that has expired is dropped instead of received.
    """

    confirms_joins = True

    def forget_channel(self, channel: str) -> None:
        self.layer.channels.pop(channel, None)


class LocalAdapter(InMemoryAdapter):
    """For the layer of a site without ``CHANNEL_LAYERS``."""

    shows_waiting = True

    def _queue(self, channel: str) -> "asyncio.Queue[Any] | None":
        queue: asyncio.Queue[Any] | None = self.layer.channels.get(channel)
        return queue


_lock = threading.Lock()
_current: LayerAdapter | None = None


def adapter_for(layer: BaseChannelLayer) -> LayerAdapter:
    """The adapter of ``layer``; that of the layer which was used last is kept."""
    global _current
    found = _current
    if found is None or found.layer is not layer:
        with _lock:
            found = _current
            if found is None or found.layer is not layer:
                _close()
                found = _current = _make(layer)
    return found


def _make(layer: BaseChannelLayer) -> LayerAdapter:
    if isinstance(layer, LocalChannelLayer):
        return LocalAdapter(layer)
    if isinstance(layer, InMemoryChannelLayer):
        return InMemoryAdapter(layer)
    if is_pubsub(layer):
        return PubSubAdapter(layer)
    return CoreAdapter(layer) if is_core(layer) else LayerAdapter(layer)


def _close() -> None:
    if _current is not None:
        _current.close()


def _forget() -> None:
    """A forked child opens sockets of its own and leaves those of its parent alone."""
    global _lock, _current
    _lock = threading.Lock()
    _current = None


atexit.register(_close)
after_fork(_forget)
