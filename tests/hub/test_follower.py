"""Members get everything of a stream, once and in order, whatever is lost on the way."""

import asyncio
import json
from contextlib import suppress

import pytest

from pm_realtime.backends import StreamMessage
from tests.support.helpers import eventually
from tests.support.hubs import Member, members

pytestmark = pytest.mark.usefixtures("leaves_nothing")

TTL_SECONDS = 60


async def begin_to_read(streams):
    """Return when a page of "g" is read, which waits until ``streams.may_read`` is set."""
    await eventually(lambda: streams.reads)
    # That was of the control messages.
    streams.may_read.set()
    streams.may_read.clear()
    await eventually(lambda: "g" in streams.reads)


def run_at_once(coroutine):
    """Run ``coroutine``, which never waits."""
    with suppress(StopIteration):
        coroutine.send(None)


def numbers(member):
    """The payloads that ``member`` has got; "gap" for a gap."""
    found = [json.loads(text) for text in member.received if isinstance(text, str)]
    return ["gap" if each.get("type") == "gap" else each["payload"] for each in found]


async def test_messages_have_their_cursor(streams, publish):
    member, late = Member("1"), Member("2")
    async with members(member, late) as hub:
        starts = []
        options = {"ttl_seconds": TTL_SECONDS, "on_start": starts.append}
        await hub.join(member, "g", **options)
        cursor = await publish(1)
        await eventually(lambda: numbers(member) == [1])
        assert json.loads(member.received[0])["cursor"] == cursor
        await hub.join(late, "g", **options)
        assert starts[0].cursor < starts[1].cursor == cursor
        assert [start.is_whole for start in starts] == [None, None]


async def test_lost_messages_are_read_when_the_next_one_arrives(layer, streams, publish):
    member = Member("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        await publish(0, 3)
        layer.is_deaf = True
        await publish(3, 8)
        layer.is_deaf = False
        await publish(8, 10)
        await eventually(lambda: len(member.received) >= 10)
        await publish(10)
        await eventually(lambda: len(member.received) >= 11)
        assert numbers(member) == [*range(11)]


async def test_last_message_before_a_silence_is_found_after_a_doubt(layer, streams, publish):
    member = Member("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        layer.is_deaf = True
        await publish(0, 3)
        hub.follower.note_doubt(True)
        await eventually(lambda: len(member.received) >= 3)
        assert numbers(member) == [0, 1, 2]
        assert member.rechecks == 0


async def test_reading_goes_on_after_a_doubt_if_it_was_cancelled(layer, streams, publish):
    class Cancelling(Member):
        def deliver(self, text):
            asyncio.current_task().cancel()
            return super().deliver(text)

    cancelling, member = Cancelling("1"), Member("2")
    async with members(cancelling, member) as hub:
        for each in (cancelling, member):
            await hub.join(each, "g", ttl_seconds=TTL_SECONDS)
        layer.is_deaf = True
        for number in range(3):
            text = json.dumps({"payload": number, "filler": "x" * 60_000})
            await streams.publish(StreamMessage("g", text, None, 500, TTL_SECONDS))
        for count in range(1, 4):  # Each is a page.
            hub.follower.note_doubt(False)
            await eventually(lambda count=count: len(member.received) == count)
        assert numbers(member) == numbers(cancelling) == [0, 1, 2]


async def test_other_groups_do_not_wait_for_a_hole(layer, streams, publish):
    member, other = Member("1"), Member("2")
    async with members(member, other) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        await hub.join(other, "h", ttl_seconds=TTL_SECONDS)
        streams.may_read.clear()
        layer.is_deaf = True
        await publish(0)
        layer.is_deaf = False
        await publish(1, 5)
        await publish(100, 105, group="h")
        await eventually(lambda: len(other.received) == 5)
        assert member.received == []
        streams.may_read.set()
        await eventually(lambda: len(member.received) >= 5)
        assert numbers(member) == [*range(5)]
        assert numbers(other) == [*range(100, 105)]


async def test_messages_that_overtake_are_put_right(layer, streams, publish):
    member = Member("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        layer.holds = True
        await publish(0, 6)
        streams.reads.clear()
        await layer.send_held(2, 0, 1, 5, 3, 4)
        await eventually(lambda: len(member.received) >= 6)
        await publish(6)
        await eventually(lambda: len(member.received) >= 7)
        assert numbers(member) == [*range(7)]
        assert streams.reads == []


async def test_overtaken_message_that_is_not_kept_any_more_is_no_gap(layer, streams, publish):
    member = Member("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        layer.holds = True
        await publish(0, 6, size=3)
        held = layer.held
        await layer.send_held(0, 2)
        await eventually(lambda: streams.reads)
        layer.held = held
        await layer.send_held(1, 4, 3, 5)
        await eventually(lambda: len(member.received) >= 6)
        assert numbers(member) == [*range(6)]


async def test_hole_that_cannot_be_filled_is_told(layer, streams, publish):
    member, other = Member("1"), Member("2")
    async with members(member, other) as hub:
        for each in (member, other):
            await hub.join(each, "g", ttl_seconds=TTL_SECONDS, room="a room")
        await publish(0)
        await eventually(lambda: numbers(other) == [0])
        layer.is_deaf = True
        await publish(1, 8, size=3)
        layer.is_deaf = False
        await publish(8, size=3)
        await eventually(lambda: len(other.received) >= 5)
        for each in (member, other):
            assert numbers(each) == [0, "gap", 6, 7, 8]
        gap = json.loads(member.received[1])
        assert gap["room"] == "a room"
        assert gap["cursor"] < json.loads(member.received[2])["cursor"]


async def test_emptied_store_is_one_gap(streams, publish):
    member, quiet = Member("1"), Member("2")
    async with members(member, quiet) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS, room="a")
        await hub.join(quiet, "h", ttl_seconds=TTL_SECONDS, to="user")
        await publish(0, 3)
        await eventually(lambda: len(member.received) == 3)
        await streams.forget_all()
        await publish(3, 5)
        hub.follower.note_doubt(True)
        await eventually(lambda: len(member.received) >= 6 and quiet.received)
        hub.follower.note_doubt(True)
        await publish(5)
        await eventually(lambda: len(member.received) >= 7)
        assert numbers(member) == [0, 1, 2, "gap", 3, 4, 5]
        assert numbers(quiet) == ["gap"]
        assert json.loads(quiet.received[0])["to"] == "user"


async def test_reading_goes_on_when_the_store_is_back(layer, streams, publish):
    member = Member("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        streams.is_away = True
        layer.is_deaf = True
        await publish(0)
        layer.is_deaf = False
        await publish(1, 4)
        await asyncio.sleep(0.05)
        assert member.received == []
        streams.is_away = False
        await eventually(lambda: len(member.received) >= 4)
        assert numbers(member) == [0, 1, 2, 3]


async def test_message_during_the_start_arrives_once(streams, publish):
    """Sent after the group was subscribed to, before the position of its stream is known."""
    first = Member("1")
    async with members(first, Member("stays")) as hub:
        for number in range(20):
            joining = asyncio.create_task(hub.join(first, "g", ttl_seconds=TTL_SECONDS))
            starts = []
            for _ in range(number):
                await asyncio.sleep(0)
            await publish(number)
            await joining
            second = Member("2")
            await hub.add(second)
            await hub.join(second, "g", ttl_seconds=TTL_SECONDS, on_start=starts.append)
            await publish(1000 + number)
            await eventually(lambda: first.received and numbers(first)[-1] >= 1000)
            await eventually(lambda s=second: s.received and numbers(s)[-1] >= 1000)
            for each in (first, second):
                assert numbers(each) in ([number, 1000 + number], [1000 + number])
            assert json.loads(second.received[0])["cursor"] > starts[0].cursor
            first.received.clear()
            await hub.leave(first, "g")
            await hub.remove(second)


async def test_held_messages_stay_in_order_with_those_that_are_read(layer, streams, publish):
    member, free = Member("1"), Member("2")
    async with members(member, free) as hub:
        for each in (member, free):
            await hub.join(each, "g", ttl_seconds=TTL_SECONDS)
        await publish(0)
        hub.fan_out.hold(member)
        layer.is_deaf = True
        await publish(1, 3)
        layer.is_deaf = False
        await publish(3)
        await eventually(lambda: len(free.received) >= 4)
        hub.fan_out.release_held(member)
        await publish(4)
        await eventually(lambda: len(free.received) >= 5)
        assert numbers(member) == numbers(free) == [0, 1, 2, 3, 4]


async def test_group_that_keeps_no_messages_has_no_position(streams, publish):
    member, starts = Member("1"), []
    async with members(member) as hub:
        await hub.join(member, "g", on_start=starts.append)
        await publish(0, size=0)
        await eventually(lambda: member.received == ['{"payload": 0}'])
        assert (starts[0].cursor, starts[0].is_whole) == (None, None)


async def test_member_that_leaves_and_joins_again_gets_each_message_once(streams, publish):
    """Also if it does so while a message is on its way to the members of the group."""

    class Restless(Member):
        def deliver(self, text):
            super().deliver(text)
            if self.is_restless:
                self.task = asyncio.create_task(self.rejoin())

        async def rejoin(self):
            self.is_restless = False
            await hub.leave(last, "g")
            since = json.loads(last.received[-1])["cursor"] if last.received else None
            await hub.join(last, "g", ttl_seconds=TTL_SECONDS, since=since)

    first, last = Restless("first"), Member("last")
    crowd = [Member(str(number)) for number in range(600)]
    async with members(first, *crowd, last) as hub:
        for each in (first, *crowd, last):
            await hub.join(each, "g", ttl_seconds=TTL_SECONDS)
        first.is_restless = False
        await publish(0)
        await eventually(lambda: numbers(last) == [0])
        for number in range(1, 6):
            first.is_restless = True
            await publish(number)
            await eventually(lambda n=number: len(last.received) > n)
        await publish(6)
        await eventually(lambda: numbers(last)[-1] == 6)
        assert numbers(last) == [*range(7)]


async def test_those_who_join_when_all_have_left_get_nothing_of_an_old_hole(
    layer, streams, publish
):
    first, second = Member("1"), Member("2")
    async with members(first, second) as hub:
        await hub.join(first, "g", ttl_seconds=TTL_SECONDS)
        streams.may_read.clear()
        layer.is_deaf = True
        await publish(0)
        layer.is_deaf = False
        await publish(1)
        await begin_to_read(streams)
        await hub.leave(first, "g")
        await hub.join(second, "g", ttl_seconds=TTL_SECONDS)
        streams.may_read.set()
        await publish(2)
        await eventually(lambda: second.received)
        assert (numbers(first), numbers(second)) == ([], [2])


async def test_hole_that_is_found_as_another_one_has_been_filled(layer, streams, publish):
    class Chatting(Member):
        def deliver(self, text):
            super().deliver(text)
            if len(self.received) == 2:
                lose_one_of_two(2)

    def lose_one_of_two(number):
        layer.is_deaf = True
        run_at_once(publish(number))
        layer.is_deaf = False
        run_at_once(publish(number + 1))

    member = Chatting("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        lose_one_of_two(0)
        await eventually(lambda: len(member.received) >= 4)
        assert numbers(member) == [0, 1, 2, 3]


async def test_check_counts_while_another_hole_is_filled(layer, streams, publish):
    """The page that is being read may be from before the check."""
    member = Member("1")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS)
        streams.may_read.clear()
        layer.is_deaf = True
        await publish(0)
        layer.is_deaf = False
        await publish(1)
        await begin_to_read(streams)
        layer.is_deaf = True
        await publish(2)
        await hub.follower.check(["g"])
        streams.may_read.set()
        await eventually(lambda: len(member.received) >= 3)
        assert numbers(member) == [0, 1, 2]


async def test_holes_of_many_groups_are_filled_together(streams):
    """With one look at the control messages for many of them."""
    member, groups = Member("1"), [f"g{number}" for number in range(300)]
    async with members(member) as hub:
        for group in groups:
            await hub.join(member, group, ttl_seconds=TTL_SECONDS, room=group)
        await streams.forget_all()
        streams.reads.clear()
        hub.follower.note_doubt(True)
        await eventually(lambda: len(member.received) >= 300)
        assert {json.loads(text)["room"] for text in member.received} == {*groups}
        assert len(member.received) == 300
        assert len(streams.reads) - 300 < 60


@pytest.mark.parametrize("is_checked", [False, True])
async def test_store_that_lost_its_last_messages_goes_on(streams, publish, is_checked):
    """Nothing is doubled, dropped as old or told to be missing."""
    member, late, later = Member("1"), Member("2"), Member("3")
    async with members(member, late, later) as hub:
        options = {"ttl_seconds": TTL_SECONDS}
        await hub.join(member, "g", **options)
        await publish(0, 3)
        lost = await publish(3)
        await eventually(lambda: len(member.received) == 4)
        streams.lose_last("g", 2)
        await asyncio.sleep(0.005)  # Time has passed at least, whatever was lost.
        if is_checked:
            hub.follower.note_doubt(True)
            (top,) = await streams.get_tops(["g"])
            await eventually(lambda: hub.follower.streams["g"].last == top)
        await hub.join(late, "g", since=lost, **options)
        await publish(4, 6)
        await eventually(lambda: len(member.received) >= 6 and len(late.received) >= 2)
        await hub.join(later, "g", since=lost, **options)
        await publish(6)
        await eventually(lambda: numbers(later)[-1:] == [6])
        assert numbers(member) == [*range(7)]
        assert numbers(late) == numbers(later) == [4, 5, 6]
