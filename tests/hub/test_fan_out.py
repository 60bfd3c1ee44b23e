"""The delivery of messages to the members of a group."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from pm_realtime import asend_to_room
from pm_realtime.backends import StreamMessage
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import get_hub
from pm_realtime.layer import Close, Refresh, RefreshRoom, get_layer, push_message
from tests.support.helpers import Connection, errors_of, eventually
from tests.support.hubs import Member, members, send, send_control

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class BrokenMember(Member):
    def deliver(self, text):
        raise RuntimeError("a bug")


async def test_messages_reach_the_members_of_their_group_in_order():
    inside, outside = Member("in"), Member("out")
    async with members(inside, outside) as hub:
        await hub.join(inside, "g")
        await hub.join(outside, "other")
        for number in range(100):
            await send("g", str(number))
        await eventually(lambda: len(inside.received) == 100)
        assert inside.received == [str(number) for number in range(100)]
        assert outside.received == []


async def test_messages_that_arrive_together_are_delivered_at_once(memory_layer):
    crowd = [Member(str(number)) for number in range(3)]
    async with members(*crowd, groups=["g"]):
        for number in range(5):
            await send("g", str(number))
        await eventually(lambda: len(crowd[-1].received) == 5)
        for member in crowd:
            assert member.received == ["0", "1", "2", "3", "4"]
            assert member.bursts == [5]


async def test_order_is_kept_between_groups(memory_layer):
    both, one = Member("both"), Member("one")
    async with members(both, one, groups=["g"]) as hub:
        await hub.join(both, "h")
        for number in range(6):
            await send("gghggh"[number], str(number))
        await send_control("g", Refresh())
        await send("g", "6")
        await eventually(lambda: "6" in one.received)
        assert both.received == ["0", "1", "2", "3", "4", "5", Refresh(), "6"]
        assert one.received == ["0", "1", "3", "4", Refresh(), "6"]


async def test_member_excluded_from_one_message_gets_the_others(memory_layer):
    crowd = [Member(str(number)) for number in range(3)]
    async with members(*crowd, groups=["g"]):
        for number in range(3):
            await send("g", str(number), exclude=str(number))
        await eventually(lambda: all(len(member.received) == 2 for member in crowd))
        for number, member in enumerate(crowd):
            assert member.received == [each for each in "012" if each != str(number)]


async def test_large_messages_that_arrive_together_are_delivered_in_parts(memory_layer):
    member = Member("m")
    async with members(member, groups=["g"]):
        for _ in range(6):
            await send("g", "x" * 30_000)
        await eventually(lambda: len(member.received) == 6)
        assert member.bursts == [2, 2, 2]


async def test_member_that_fails_at_a_burst_affects_no_other(memory_layer, caplog):
    whole = Member("whole")
    async with members(BrokenMember("broken"), whole, groups=["g"]):
        for number in range(3):
            await send("g", str(number))
        await eventually(lambda: whole.received == ["0", "1", "2"])
        assert len(errors_of(caplog)) == 1
        caplog.clear()


async def test_other_tasks_get_turns_during_long_deliveries(memory_layer):
    class Slow(Member):
        def deliver(self, text):
            time.sleep(0.0001)
            return super().deliver(text)

    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    crowd = [Slow(str(number)) for number in range(50)]
    async with members(*crowd, groups=["g"]):
        counting = asyncio.create_task(count_turns())
        await asyncio.sleep(0)
        before = turns
        for _ in range(10):
            await send("g", "x")
        await eventually(lambda: len(crowd[-1].received) == 10)
        counting.cancel()
        # 50 ms of work for one member after the other.
        assert turns - before >= 8


async def test_member_that_leaves_during_a_delivery_gets_nothing_more():
    left = []

    class First(Member):
        def deliver(self, text):
            left.append(asyncio.create_task(get_hub().leave(crowd[-1], "g")))
            return super().deliver(text)

    crowd = [First("0"), *(Member(str(number)) for number in range(1, 600))]
    async with members(*crowd, groups=["g"]):
        await send("g", "tick")
        await eventually(lambda: crowd[-2].received)
        assert left[0].done()
        assert crowd[-1].received == []
        assert all(member.received == ["tick"] for member in crowd[:-1])


# A slow member


async def test_slow_member_does_not_delay_others(configure):
    configure(DEFAULT_ROOM={"public": True}, MAX_QUEUE_BYTES=5000)
    is_read = asyncio.Event()

    async def unread(scope, receive, send):
        async def send_or_wait(event):
            if '"tick"' in event.get("text", ""):
                await is_read.wait()
            await send(event)

        await RealtimeConsumer.as_asgi()(scope, receive, send_or_wait)

    async with AsyncExitStack() as stack:
        everyone = [await stack.enter_async_context(Connection()) for _ in range(5)]
        frozen = await stack.enter_async_context(Connection(application=unread))
        everyone += [await stack.enter_async_context(Connection()) for _ in range(5)]
        for connection in (*everyone, frozen):
            await connection.subscribe("lobby")
        for number in range(100):
            await asend_to_room("lobby", "tick", [number, "x" * 200])
        for connection in everyone:
            assert [frame["payload"][0] for frame in await connection.so_far()] == list(range(100))
        assert frozen.output_queue.empty()
        is_read.set()
        await frozen.assert_closed(4002)
        await frozen.assert_ended()


# Members whose messages are held


async def test_held_messages_are_delivered_at_the_release():
    held, free = Member("held"), Member("free")
    async with members(held, free, groups=["g", "left"]) as hub:
        hub.fan_out.hold(held)
        for number in range(3):
            await send("g", str(number))
            await send("left", "secret")
        await eventually(lambda: free.received.count("secret") == 3)
        assert held.received == []
        await hub.leave(held, "left")
        hub.fan_out.release_held(held)
        assert held.received == ["0", "1", "2"]
        await send("g", "3")
        await eventually(lambda: held.received[-1] == "3")
        hub.fan_out.release_held(held)


async def test_held_burst_is_delivered_at_the_release(memory_layer):
    held, free = Member("held"), Member("free")
    async with members(held, free, groups=["g"]) as hub:
        hub.fan_out.hold(held)
        for number in range(3):
            await send("g", str(number))
        await eventually(lambda: len(free.received) == 3)
        assert held.received == []
        hub.fan_out.release_held(held)
        assert held.received == ["0", "1", "2"]


async def test_held_messages_of_a_group_are_dropped_if_it_is_left_and_joined_again():
    member, free = Member("a"), Member("b")
    async with members(member, free, groups=["left", "stays"]) as hub:
        hub.fan_out.hold(member)
        await send("left", "secret")
        await send("stays", "news")
        await eventually(lambda: free.received == ["secret", "news"])
        await hub.leave(member, "left")
        await hub.join(member, "left")
        hub.fan_out.release_held(member)
        assert member.received == ["news"]


async def test_held_member_is_closed_if_too_much_is_held(configure):
    configure(MAX_QUEUE_BYTES=1000)
    held = Member("held")
    async with members(held, groups=["g"]) as hub:
        hub.fan_out.hold(held)
        for _ in range(3):
            await send("g", "x" * 400)
        await eventually(lambda: held.received)
        await send("g", "after")
        await eventually(lambda: len(held.received) == 2)
        hub.fan_out.release_held(held)
        closed, after = held.received
        assert isinstance(closed, Close)
        assert closed.code == 4013
        assert after == "after"


async def test_removed_member_gets_nothing_that_was_held():
    held = Member("held")
    async with members(Member("stays")) as hub:
        async with members(held, groups=["g"]):
            hub.fan_out.hold(held)
            await send("g", "tick")
        hub.fan_out.release_held(held)
        hub.fan_out.hold(held)
        assert held.received == []
        async with members(held, groups=["h"]):
            await send("h", "tock")
            await eventually(lambda: held.received == ["tock"])


async def test_control_message_reaches_its_target():
    inside, outside = Member("in"), Member("out")
    async with members(inside, groups=["g"]), members(outside, groups=["h"]):
        await send_control("g", RefreshRoom("one"))
        await send_control("h", Refresh())
        await eventually(lambda: outside.received)
        assert inside.received == [RefreshRoom("one")]
        assert outside.received == [Refresh()]


class FailingMember(Member):
    def receive_control(self, message):
        raise RuntimeError("a bug")


async def test_control_message_reaches_members_behind_one_that_fails(caplog):
    before, behind = Member("before"), Member("behind")
    async with members(before, FailingMember("bad"), behind, groups=["g"]):
        await send_control("g", Close(4503))
        await eventually(lambda: behind.received)
        assert before.received == behind.received == [Close(4503)]
    (record,) = errors_of(caplog)
    assert record.exc_info


# Failures


async def test_failed_delivery_is_logged_and_the_next_message_arrives(caplog):
    good = Member("good")
    async with members(BrokenMember("bad"), groups=["g"]), members(good, groups=["h"]):
        await send("g", "one")
        await send("h", "two")
        await eventually(lambda: good.received == ["two"])
    (record,) = errors_of(caplog)
    assert record.exc_info


# Volatile messages


async def send_volatile(group, text, sender):
    message = push_message(group, text, sender, is_volatile=True)
    await get_layer().group_send(group, message)


async def test_volatile_message_reaches_all_but_its_sender():
    crowd = [Member(name) for name in "abc"]
    async with members(*crowd, groups=["g"]):
        await send_volatile("g", "1", "a")
        await send("g", "end")
        await eventually(lambda: all("end" in member.received for member in crowd))
        assert [member.received for member in crowd] == [["end"], ["1", "end"], ["1", "end"]]
        assert [member.volatile for member in crowd] == [[], [("a", "1")], [("a", "1")]]


async def test_volatile_messages_keep_their_order_among_ordinary_ones(memory_layer):
    crowd = [Member(name) for name in "abc"]
    async with members(*crowd, groups=["g"]):
        await send("g", "1")
        for text, sender in (("2", "a"), ("3", "x"), ("4", "b")):
            await send_volatile("g", text, sender)
        await send("g", "5")
        await send("g", "6")
        await eventually(lambda: all("6" in member.received for member in crowd))
        assert [member.received for member in crowd] == [
            ["1", "3", "4", "5", "6"],
            ["1", "2", "3", "5", "6"],
            ["1", "2", "3", "4", "5", "6"],
        ]


async def test_latest_volatile_message_is_held_while_rights_are_uncertain(memory_layer):
    member, certain = Member("m"), Member("certain")
    async with members(member, certain, groups=["g"]) as hub:
        hub.fan_out.hold(member)
        for text, sender in (("1", "a"), ("2", "b"), ("3", "a"), ("own", "m")):
            await send_volatile("g", text, sender)
        await send("g", "4")
        await eventually(lambda: "4" in certain.received)
        hub.fan_out.release_held(member)
        assert member.received == ["2", "3", "4"]
        assert member.volatile == [("b", "2"), ("a", "3")]
        assert certain.received == ["1", "2", "3", "own", "4"]


async def test_volatile_message_leaves_the_position_of_a_stream(streams, publish):
    member = Member("m")
    async with members(member) as hub:
        await hub.join(member, "g", ttl_seconds=60)
        await publish(1)
        message = StreamMessage("g", "volatile", "other", 0, 0, is_volatile=True)
        await streams.publish(message)
        cursor = await publish(2)
        await eventually(lambda: len(member.received) == 3)
        assert member.volatile == [("other", "volatile")]
        assert hub.follower.streams["g"].last == cursor
        assert [each.text for each in (await streams.read("g", "", 60)).publications] == [
            '{"payload": 1}',
            '{"payload": 2}',
        ]
