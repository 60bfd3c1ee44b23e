"""Fake members of a hub, and a layer that records its groups."""

import asyncio
from contextlib import asynccontextmanager

from channels.layers import InMemoryChannelLayer, channel_layers

from pm_realtime.hub import Hub, Joining, get_hub
from pm_realtime.layer import Recheck, control_group, control_message, get_layer, push_message


class Member:
    """A connection of a hub; it records everything that it gets.

    It passes ``tests/contracts/test_hub_members.py``.
    """

    def __init__(self, connection_id):
        self.connection_id = connection_id
        #: Texts and control messages, without rechecks.
        self.received = []
        #: The number of texts in each call of ``deliver_all``.
        self.bursts = []
        #: The volatile texts, each with its sender.
        self.volatile = []
        self.rechecks = 0

    def deliver(self, text):
        self.received.append(text)

    def deliver_all(self, texts):
        self.bursts.append(len(texts))
        for text in texts:
            self.deliver(text)

    def deliver_volatile(self, texts, senders):
        self.volatile += zip([each.connection_id for each in senders], texts, strict=True)
        for text in texts:
            self.deliver(text)

    def has_room(self):
        return True

    async def until_drained(self):
        pass

    def receive_control(self, message):
        if isinstance(message, Recheck):
            self.rechecks += 1
        else:
            self.received.append(message)

    def check_heartbeat(self, deadline):
        pass


class Stop:
    """The first task that comes here waits until the test says so."""

    def __init__(self):
        self.is_reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def wait(self):
        if not self.is_reached.is_set():
            self.is_reached.set()
            await self.go_on.wait()


class StoppingHub(Hub):
    """Stops before the first join of ``group``."""

    def __init__(self, group):
        super().__init__()
        self.stop = Stop()
        self.stops_at = group

    async def join(self, member, group, **options):
        if group == self.stops_at:
            await self.stop.wait()
        await super().join(member, group, **options)

    async def join_all(self, member, joinings, **options):
        starts = {}
        for joining in joinings:
            if joining.group == self.stops_at:
                await self.stop.wait()
            starts |= await super().join_all(member, [joining], **options)
        return starts


class LoggedLayer(InMemoryChannelLayer):
    """Records each change of a group, and fails to receive if told so."""

    def __init__(self, **kwargs):
        super().__init__(capacity=10_000, **kwargs)
        self.log = []
        self.failures = 0
        self.is_away = False
        self.broke = asyncio.Event()

    async def group_add(self, group, channel):
        if self.is_away:
            raise ConnectionError("the layer is away")
        self._record("add", group)
        await super().group_add(group, channel)

    def _record(self, step, group):
        if group != control_group():
            self.log.append((step, group))

    async def group_discard(self, group, channel):
        self._record("discard", group)
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
        """Fail ``times`` times from now on, and lose all groups."""
        self.failures = times
        self.groups.clear()
        self.broke.set()


def use(layer):
    channel_layers.set("default", layer)
    return layer


@asynccontextmanager
async def members(*everyone, groups=()):
    """The hub of this loop, with these members in ``groups``."""
    hub = get_hub()
    for member in everyone:
        await hub.add(member)
        await hub.join_all(member, [Joining(group) for group in groups])
    try:
        yield hub
    finally:
        for member in everyone:
            await hub.remove(member)


async def send(group, text, exclude=None):
    await get_layer().group_send(group, push_message(group, text, exclude))


async def send_control(target, message):
    """Send a control message to all hubs, for the members of ``target``."""
    control = control_message(control_group(), message, target=target)
    await get_layer().group_send(control_group(), control)
