"""A channel layer that counts as outside of this process, and fails in the ways such layers do."""

import asyncio
import contextlib
from collections import defaultdict

from channels.layers import BaseChannelLayer


class FarLayer(BaseChannelLayer):
    """``is_away``: every step raises. ``is_frozen``: none returns. ``is_deaf``: all is lost."""

    def __init__(self):
        super().__init__(capacity=10_000)
        self.is_away = self.is_frozen = self.is_deaf = False
        self.groups = defaultdict(set)
        self.queues = {}
        self.sent = []
        self.steps_at_once = self.most_steps_at_once = 0

    async def new_channel(self, prefix="specific"):
        async with self.step():
            name = f"{prefix}.{len(self.queues)}"
            self.queues[name] = asyncio.Queue()
            return name

    async def receive(self, channel):
        return await self.queues[channel].get()

    async def group_add(self, group, channel):
        async with self.step():
            self.groups[group].add(channel)

    async def group_discard(self, group, channel):
        async with self.step():
            self.groups[group].discard(channel)
            if not self.groups[group]:
                del self.groups[group]

    async def group_send(self, group, message):
        async with self.step():
            self.sent.append((group, message))
            if not self.is_deaf:
                for channel in self.groups.get(group, ()):
                    self.queues[channel].put_nowait(message)

    @contextlib.asynccontextmanager
    async def step(self):
        self.steps_at_once += 1
        self.most_steps_at_once = max(self.most_steps_at_once, self.steps_at_once)
        try:
            await asyncio.sleep(0)
            if self.is_frozen:
                await asyncio.Event().wait()
            if self.is_away:
                raise ConnectionError("the layer is away")
            yield
        finally:
            self.steps_at_once -= 1

    def forget_groups(self):
        """What an empty restart leaves."""
        self.groups.clear()
