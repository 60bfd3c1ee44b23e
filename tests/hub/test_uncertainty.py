"""Members that come and go get each message once and in order, whatever happens at random."""

import asyncio
import json
import random
from dataclasses import dataclass, field

import pytest

from pm_realtime.backends import StreamMessage
from pm_realtime.backends.memory_streams import MemoryStreams
from pm_realtime.exceptions import OutageError
from pm_realtime.hub import Hub, use_hub
from pm_realtime.layer import LocalChannelLayer
from pm_realtime.streams import CheckTimings
from tests.support.helpers import eventually
from tests.support.hubs import Member, members, use

pytestmark = pytest.mark.usefixtures("leaves_nothing")

TTL_SECONDS = 60


class UncertainLayer(LocalChannelLayer):
    """Loses, doubles and delays messages, until ``chance`` is None."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance
        self.late = []

    async def group_send(self, group, message):
        fate = self.chance.random() if self.chance else 1
        if fate < 0.1:
            self.late.append((group, message))
            return
        late, self.late = self.late, []
        copies = 0 if fate < 0.3 else 2 if fate < 0.35 else 1
        for each in [(group, message)] * copies + late:
            await super().group_send(*each)


class UncertainStreams(MemoryStreams):
    """Slow, and away now and then, until ``chance`` is None."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance

    async def get_tops(self, groups):
        return await self.call(super().get_tops, groups)

    async def read(self, *arguments):
        return await self.call(super().read, *arguments)

    async def call(self, method, *arguments):
        await wait(self.chance)
        answer = await method(*arguments)
        await wait(self.chance)
        if self.chance and self.chance.random() < 0.05:
            raise OutageError("the store is away")
        return answer


class SlowMember(Member):
    def __init__(self, connection_id, chance):
        super().__init__(connection_id)
        self.chance = chance

    def has_room(self):
        return self.chance.random() < 0.5

    async def until_drained(self):
        await wait(self.chance)


async def wait(chance):
    for _ in range(chance.randrange(6) if chance else 0):
        await asyncio.sleep(0)


@dataclass
class Stay:
    """One member's time in the group. ``found``: numbers of messages, and "gap"."""

    start: object
    found: list = field(default_factory=list)

    def check(self, published, is_over):
        """``published``: the cursors by the number of the message."""
        expected = [number for number, at in published.items() if at > self.start.cursor]
        position, has_gap = 0, False
        for count, each in enumerate(self.found):
            if each == "gap":
                # Only that of the start may be one of what came before it.
                assert not has_gap or count == 1
                has_gap = True
                continue
            index = expected.index(each, position)
            assert has_gap or index == position
            assert index > position or not has_gap or count == 1
            position, has_gap = index + 1, False
        assert is_over or position == len(expected)


class World:
    def __init__(self, seed, size):
        self.chance, self.size = random.Random(seed), size
        self.layer = use(UncertainLayer(self.chance))
        self.streams = UncertainStreams(self.chance)
        self.published, self.stays, self.present = {}, [], {}

    async def publish(self):
        number = len(self.published)
        text = json.dumps({"payload": number})
        message = StreamMessage("g", text, None, self.size, TTL_SECONDS)
        self.published[number] = (await self.streams.publish(message)).cursor

    async def live(self, hub, member):
        """Come and go."""
        for _ in range(6):
            await wait(self.chance)
            since = self.chance.choice([None, *self.published.values()])
            try:
                await hub.join(
                    member,
                    "g",
                    ttl_seconds=TTL_SECONDS,
                    since=since,
                    on_start=lambda start: self.begin(member, start),
                )
            except OutageError:
                continue
            await wait(self.chance)
            if self.chance.random() < 0.7:
                await hub.leave(member, "g")
                self.end(member)

    def begin(self, member, start):
        self.end(member)
        self.present[member] = Stay(start)

    def end(self, member):
        if (stay := self.present.pop(member, None)) is not None:
            self.note(member, stay)
            self.stays.append(stay)

    def note(self, member, stay):
        found = [json.loads(text) for text in member.received]
        stay.found += ["gap" if each.get("type") == "gap" else each["payload"] for each in found]
        member.received.clear()

    def is_everybody_done(self):
        for member, stay in self.present.items():
            self.note(member, stay)
        return all(stay.found[-1:] == [*self.published][-1:] for stay in self.present.values())


@pytest.mark.parametrize("size", [1000, 3])
async def test_each_message_comes_once_and_in_order(memory_layer, own_streams, size):
    for seed in range(90, 180):
        world = World(seed, size)
        own_streams(world.streams)
        use_hub(Hub(check_timings=CheckTimings(period_seconds=600, retry_seconds=0.001)))
        crowd = [SlowMember(str(number), world.chance) for number in range(2)]
        world.streams.chance = None
        async with members(Member("stays"), *crowd) as hub:
            world.streams.chance = world.chance
            lives = [asyncio.create_task(world.live(hub, member)) for member in crowd]
            while not all(life.done() for life in lives):
                await world.publish()
                await wait(world.chance)
            await asyncio.gather(*lives)
            world.streams.chance = world.layer.chance = None
            await world.publish()
            hub.follower.note_doubt(True)
            await eventually(world.is_everybody_done)
            for stay in world.stays:
                stay.check(world.published, is_over=True)
            for stay in world.present.values():
                stay.check(world.published, is_over=False)
            assert size < 1000 or "gap" not in str(world.stays)
