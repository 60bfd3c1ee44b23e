"""A hub with streams that fail, and with a layer that loses messages."""

import asyncio

from pm_realtime.backends import Position
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.exceptions import OutageError
from pm_realtime.hub import Hub, use_hub
from pm_realtime.layer import LocalChannelLayer
from pm_realtime.streams import CheckTimings


class LossyLayer(LocalChannelLayer):
    """``is_deaf``: messages are lost. ``holds``: they are kept in ``held`` instead."""

    def __init__(self):
        super().__init__()
        self.is_deaf = self.holds = False
        self.held = []

    async def group_send(self, group, message):
        if self.holds:
            self.held.append((group, message))
        elif not self.is_deaf:
            await super().group_send(group, message)

    async def send_held(self, *order):
        """Send the held messages, in ``order`` of their numbers."""
        held, self.held, self.holds = self.held, [], False
        for number in order or range(len(held)):
            await self.group_send(*held[number])


class FaultyStreams(MemoryStreams):
    """``is_away``: calls fail. ``may_read``: pages wait until it is set.

    Counts the groups of each call.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.is_away = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.reads, self.asked = [], []

    async def get_tops(self, groups):
        self._check()
        self.asked.append(list(groups))
        return await super().get_tops(groups)

    async def read(self, group, after, ttl_seconds):
        self._check()
        page = await super().read(group, after, ttl_seconds)
        self.reads.append(group)
        await self.may_read.wait()
        return page

    def _check(self):
        if self.is_away:
            raise OutageError("the store is away")

    def lose_last(self, group, count):
        """Lose the last messages, as a server that starts a second later from an old file."""
        clock, stream = self._clock, self._streams[group]
        self._clock = lambda: clock() + 1
        stream.top_cursor = stream.publications[-count].previous
        stream.top = Position.read(stream.top_cursor)
        del stream.publications[-count:]


def use_faulty_streams(own_streams):
    """Faulty streams for a hub that checks positions only when messages may have been lost."""
    use_hub(Hub(check_timings=CheckTimings(period_seconds=600, retry_seconds=0.02)))
    streams = FaultyStreams()
    own_streams(streams)
    return streams
