"""The channel layer in use, and the one of a site without ``CHANNEL_LAYERS``."""

import asyncio
import time

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import conf
from pm_realtime.layer.wire import Message


class LocalChannelLayer(InMemoryChannelLayer):
    """The layer of a site without ``CHANNEL_LAYERS``: one process, nothing dropped, no expiry.

    Channels' own in-memory layer drops messages if 100 wait, makes a deep copy of each and looks
    through every group on every send. The hub receives messages at once and changes none, so here
    a send is one append.
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
        """Nothing expires: the one channel of a process leaves its groups when it stops."""


def get_layer() -> BaseChannelLayer:
    """The layer behind ``CHANNEL_LAYER``; one of our own if ``CHANNEL_LAYERS`` is not set.

    Raises ``ImproperlyConfigured`` if ``CHANNEL_LAYERS`` is set and lacks the alias.
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
