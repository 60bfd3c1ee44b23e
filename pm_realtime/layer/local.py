"""Channel layers of one process, such as that of a site without ``CHANNEL_LAYERS``."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from pm_realtime.layer.adapter import LayerAdapter
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


def is_in_process(layer: BaseChannelLayer) -> bool:
    """Whether ``layer`` reaches no process but this one."""
    return isinstance(layer, InMemoryChannelLayer)


class InMemoryAdapter(LayerAdapter):
    """For a layer of this process, whose calls need no guard."""

    is_remote = False
    confirms_joins = True

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        super().__init__(layer)
        # That of Channels drops a waiting message that has expired.
        self.shows_waiting = isinstance(layer, LocalChannelLayer)

    async def _call(
        self, method: Callable[..., Awaitable[Any]], *args: Any, is_probe: bool = False
    ) -> Any:
        return await method(*args)

    def forget_channel(self, channel: str) -> None:
        self.layer.channels.pop(channel, None)
