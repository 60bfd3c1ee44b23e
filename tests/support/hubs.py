"""Members of a hub, and a layer that notes what the hub asks of it."""

import asyncio
from contextlib import asynccontextmanager

from channels.layers import InMemoryChannelLayer, channel_layers

from pm_realtime.hub import get_hub
from pm_realtime.layer import Recheck, control_group, get_layer, push_message


class Member:
    """A connection as the hub sees it, and what has reached it."""

    def __init__(self, name):
        self.connection_id = name
        self.received = []
        #: How many there were of what came in one go.
        self.together = []
        self.rechecks = 0

    def deliver(self, text):
        self.received.append(text)

    def deliver_all(self, texts):
        self.together.append(len(texts))
        for text in texts:
            self.deliver(text)

    def receive_control(self, message):
        if isinstance(message, Recheck):
            self.rechecks += 1
        else:
            self.received.append(message)

    def check_heartbeat(self, deadline):
        pass


class LoggedLayer(InMemoryChannelLayer):
    """Notes what becomes of groups, and fails at receiving as often as it is told."""

    def __init__(self, **kwargs):
        super().__init__(capacity=10_000, **kwargs)
        self.log = []
        self.failures = 0
        self.is_away = False
        self.broke = asyncio.Event()

    async def group_add(self, group, channel):
        if self.is_away:
            raise ConnectionError("the layer is away")
        self._note("add", group)
        await super().group_add(group, channel)

    def _note(self, step, group):
        if group != control_group():
            self.log.append((step, group))

    async def group_discard(self, group, channel):
        self._note("discard", group)
        await super().group_discard(group, channel)

    async def receive(self, channel):
        if not self.failures and not self.is_away:
            receiving = asyncio.ensure_future(super().receive(channel))
            breaking = asyncio.ensure_future(self.broke.wait())
            try:
                await asyncio.wait([receiving, breaking], return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    return receiving.result()
            finally:
                receiving.cancel()
                breaking.cancel()
        self.broke.clear()
        self.failures = max(0, self.failures - 1)
        raise ConnectionError("the layer is away")

    def fail(self, times):
        """Fail ``times`` times, from now on, having lost all groups."""
        self.failures = times
        self.groups.clear()
        self.broke.set()


def use(layer):
    channel_layers.set("default", layer)
    return layer


@asynccontextmanager
async def members(*everyone, groups=()):
    hub = get_hub()
    for member in everyone:
        await hub.add(member, groups)
    try:
        yield hub
    finally:
        for member in everyone:
            await hub.remove(member)


async def send(group, text, exclude=None):
    await get_layer().group_send(group, push_message(group, text, exclude))
