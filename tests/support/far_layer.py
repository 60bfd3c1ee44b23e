"""A channel layer that counts as outside of this process, and fails as such layers do."""

import asyncio
import contextlib
from collections import defaultdict

from channels.layers import BaseChannelLayer


class FarLayer(BaseChannelLayer):
    """``is_away``: every call raises. ``is_frozen``: no call returns.

    ``is_deaf``: every message is lost; ``lost_types``: messages of these types are lost.
    """

    def __init__(self):
        super().__init__(capacity=10_000)
        self.is_away = self.is_frozen = self.is_deaf = False
        self.lost_types = ()
        self.groups = defaultdict(set)
        self.queues = {}
        self.sent = []
        self.calls = self.most_calls = 0

    async def new_channel(self, prefix="specific"):
        async with self.call():
            name = f"{prefix}.{len(self.queues)}"
            self.queues[name] = asyncio.Queue()
            return name

    async def receive(self, channel):
        return await self.queues[channel].get()

    async def group_add(self, group, channel):
        async with self.call():
            self.groups[group].add(channel)

    async def group_discard(self, group, channel):
        async with self.call():
            self.groups[group].discard(channel)
            if not self.groups[group]:
                del self.groups[group]

    async def group_send(self, group, message):
        async with self.call():
            self.sent.append((group, message))
            if not self.is_deaf and message.get("type") not in self.lost_types:
                for channel in self.groups.get(group, ()):
                    self.queues[channel].put_nowait(message)

    @contextlib.asynccontextmanager
    async def call(self):
        self.calls += 1
        self.most_calls = max(self.most_calls, self.calls)
        try:
            await asyncio.sleep(0)
            if self.is_frozen:
                await asyncio.Event().wait()
            if self.is_away:
                raise ConnectionError("the layer is away")
            yield
        finally:
            self.calls -= 1

    def forget_groups(self):
        """Lose all groups, as in a restart of a server without persistence."""
        self.groups.clear()
