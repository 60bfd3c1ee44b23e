"""One channel for all connections of a process: who is in which group, whatever happens."""

import asyncio
import random
import time
from contextlib import AsyncExitStack

import pytest

from pm_realtime import asend_to_room
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.hub import get_hub
from pm_realtime.layer import (
    Close,
    Refresh,
    RefreshRoom,
    Unsubscribe,
    asend,
    control_group,
    control_message,
    get_layer,
    room_group,
)
from pm_realtime.layer.wire import CONTROL_TYPE, PROBE_TYPE, PUSH_TYPE
from tests.support.helpers import Connection, errors_of, eventually, layer_channels, layer_groups
from tests.support.hubs import LoggedLayer, Member, members, send, use

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class BrokenMember(Member):
    def deliver(self, text):
        raise RuntimeError("a bug")


@pytest.fixture
def pace(monkeypatch):
    """The layer in use takes its time over groups, a different one each time: seed it."""
    pace = random.Random()

    async def wait():
        for _ in range(pace.randrange(4)):
            await asyncio.sleep(0)

    def slow_down(method):
        async def slow(*args):
            await wait()
            await method(*args)
            await wait()

        return slow

    layer = get_layer()
    for name in ("group_add", "group_discard"):
        monkeypatch.setattr(layer, name, slow_down(getattr(layer, name)))
    return pace


# Membership


async def test_the_first_member_adds_the_group_and_the_last_discards_it():
    layer = use(LoggedLayer())
    one, two = Member("1"), Member("2")
    async with members(one, two) as hub:
        await hub.join(one, "g")
        await hub.join(two, "g")
        assert layer.log == [("add", "g")]
        await hub.leave(one, "g")
        assert layer.log == [("add", "g")]
        await hub.leave(two, "g")
        assert layer.log == [("add", "g"), ("discard", "g")]
        await hub.join(two, "g")
        assert layer.log[2:] == [("add", "g")]
    assert layer.log[3:] == [("discard", "g")]


async def test_50_connections_in_a_room_are_one_member_of_the_group():
    async with AsyncExitStack() as stack:
        hub_channels = None
        for number in range(50):
            member = Member(str(number))
            await stack.enter_async_context(members(member))
            await get_hub().join(member, "g")
            hub_channels = hub_channels or list(layer_groups()["g"])
            assert list(layer_groups()["g"]) == hub_channels
        assert len(hub_channels) == 1
        assert len(get_hub()) == 50


async def test_all_connections_of_a_process_share_one_channel(users):
    async with AsyncExitStack() as stack:
        for user in users.values():
            connection = await stack.enter_async_context(Connection(user=user))
            await connection.subscribe("lobby")
        assert len({channel for group in layer_groups().values() for channel in group}) == 1


async def test_leaving_what_one_is_not_in_is_fine():
    member = Member("1")
    async with members(member, Member("2")) as hub:
        await hub.leave(member, "g")
        await hub.join(member, "g")
        await hub.leave(member, "g")
        await hub.leave(member, "g")
        await hub.remove(member)
        await hub.remove(member)
        assert list(layer_groups()) == [control_group()]


async def test_a_message_reaches_the_members_of_its_group_in_order():
    inside, outside = Member("in"), Member("out")
    async with members(inside, outside) as hub:
        await hub.join(inside, "g")
        await hub.join(outside, "other")
        for number in range(100):
            await send("g", str(number))
        await eventually(lambda: len(inside.received) == 100)
        assert inside.received == [str(number) for number in range(100)]
        assert outside.received == []


async def test_what_has_come_together_goes_to_each_member_in_one_go(memory_layer):
    crowd = [Member(str(number)) for number in range(3)]
    async with members(*crowd, groups=["g"]):
        for number in range(5):
            await send("g", str(number))
        await eventually(lambda: len(crowd[-1].received) == 5)
        for member in crowd:
            assert member.received == ["0", "1", "2", "3", "4"]
            assert member.together == [5]


async def test_what_comes_together_for_several_groups_keeps_its_order(memory_layer):
    both, one = Member("both"), Member("one")
    async with members(both, one, groups=["g"]) as hub:
        await hub.join(both, "h")
        for number in range(6):
            await send("gghggh"[number], str(number))
        await control("g", Refresh())
        await send("g", "6")
        await eventually(lambda: "6" in one.received)
        assert both.received == ["0", "1", "2", "3", "4", "5", Refresh(), "6"]
        assert one.received == ["0", "1", "3", "4", Refresh(), "6"]


async def test_whom_one_message_excludes_gets_the_others_that_came_with_it(memory_layer):
    crowd = [Member(str(number)) for number in range(3)]
    async with members(*crowd, groups=["g"]):
        for number in range(3):
            await send("g", str(number), exclude=str(number))
        await eventually(lambda: all(len(member.received) == 2 for member in crowd))
        for number, member in enumerate(crowd):
            assert member.received == [each for each in "012" if each != str(number)]


async def test_what_comes_together_and_is_large_is_handed_on_in_parts(memory_layer):
    member = Member("m")
    async with members(member, groups=["g"]):
        for _ in range(6):
            await send("g", "x" * 30_000)
        await eventually(lambda: len(member.received) == 6)
        assert member.together == [2, 2, 2]


async def test_a_member_that_fails_at_what_has_come_together_harms_no_other(memory_layer, caplog):
    whole = Member("whole")
    async with members(BrokenMember("broken"), whole, groups=["g"]):
        for number in range(3):
            await send("g", str(number))
        await eventually(lambda: whole.received == ["0", "1", "2"])
        assert len(errors_of(caplog)) == 1
        caplog.clear()


async def test_others_get_turns_however_long_it_takes_to_hand_out_what_has_come(memory_layer):
    class Slow(Member):
        def deliver(self, text):
            time.sleep(0.0001)
            super().deliver(text)

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


async def test_one_who_leaves_while_a_message_is_handed_out_gets_nothing_more():
    left = []

    class First(Member):
        def deliver(self, text):
            super().deliver(text)
            left.append(asyncio.create_task(get_hub().leave(crowd[-1], "g")))

    crowd = [First("0"), *(Member(str(number)) for number in range(1, 600))]
    async with members(*crowd, groups=["g"]):
        await send("g", "tick")
        await eventually(lambda: crowd[-2].received)
        assert left[0].done()
        assert crowd[-1].received == []
        assert all(member.received == ["tick"] for member in crowd[:-1])


@pytest.mark.parametrize("cancel", [False, True])
async def test_joins_and_leaves_in_any_order_end_as_the_layer_has_it(pace, cancel):
    groups = ["a", "b", "c"]

    async def wander(hub, member, chance):
        for _ in range(chance.randrange(1, 12)):
            group = chance.choice(groups)
            joined = group in where[member]
            step = asyncio.create_task((hub.leave if joined else hub.join)(member, group))
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
            if cancel and chance.random() < 0.2:
                step.cancel()
                await asyncio.wait([step])
                await hub.leave(member, group)
                where[member].discard(group)
            else:
                await step
                where[member] ^= {group}

    for seed in range(150):
        pace.seed(seed)
        chance = random.Random(seed)
        crowd = [Member(str(number)) for number in range(6)]
        where = {member: set() for member in crowd}
        async with members(Member("stays"), *crowd) as hub:
            await asyncio.gather(
                *(wander(hub, member, random.Random(chance.random())) for member in crowd)
            )
            for group in groups:
                inside = {member for member in crowd if group in where[member]}
                if not cancel:
                    await eventually(lambda g=group, i=inside: bool(i) == (g in layer_groups()))
                await send(group, group)
            await hub.join(crowd[0], "fence")
            await send("fence", "fence")
            await eventually(lambda crowd=crowd: "fence" in crowd[0].received)
            crowd[0].received.remove("fence")
            assert all(set(member.received) == where[member] for member in crowd), seed
        assert layer_groups() == {}


async def test_what_is_sent_right_after_joining_arrives():
    member = Member("1")
    async with members(member) as hub:
        for number in range(200):
            await hub.join(member, f"g{number}")
            await send(f"g{number}", str(number))
        await eventually(lambda: len(member.received) == 200)


# Slow members


async def test_a_member_that_overflows_does_not_hold_up_the_others(configure):
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


# Members whose rights are in doubt, and orders to those who are on their way


async def test_what_comes_for_a_held_member_is_delivered_when_it_is_let_go():
    held, free = Member("held"), Member("free")
    async with members(held, free, groups=["g", "left"]) as hub:
        hub.hold(held)
        for number in range(3):
            await send("g", str(number))
            await send("left", "secret")
        await eventually(lambda: free.received.count("secret") == 3)
        assert held.received == []
        await hub.leave(held, "left")
        hub.release_held(held)
        assert held.received == ["0", "1", "2"]
        await send("g", "3")
        await eventually(lambda: held.received[-1] == "3")
        hub.release_held(held)


async def test_of_what_comes_together_a_held_member_is_delivered_all_later(memory_layer):
    held, free = Member("held"), Member("free")
    async with members(held, free, groups=["g"]) as hub:
        hub.hold(held)
        for number in range(3):
            await send("g", str(number))
        await eventually(lambda: len(free.received) == 3)
        assert held.received == []
        hub.release_held(held)
        assert held.received == ["0", "1", "2"]


async def test_what_was_held_for_a_group_does_not_come_after_it_was_left_and_joined_again():
    member = Member("a")
    async with members(member, groups=["left", "stays"]) as hub:
        hub.hold(member)
        await send("left", "secret")
        await send("stays", "news")
        await eventually(lambda: len(hub._held["a"].messages) == 2)
        await hub.leave(member, "left")
        await hub.join(member, "left")
        hub.release_held(member)
        assert member.received == ["news"]


async def test_a_held_member_for_whom_too_much_comes_is_closed(configure):
    configure(MAX_QUEUE_BYTES=1000)
    held = Member("held")
    async with members(held, groups=["g"]) as hub:
        hub.hold(held)
        for _ in range(3):
            await send("g", "x" * 400)
        await eventually(lambda: held.received)
        assert isinstance(held.received[0], Close)
        assert held.received[0].code == 4013
        assert hub._held == {}


async def test_who_goes_while_held_leaves_nothing():
    held = Member("held")
    async with members(Member("stays")) as hub:
        async with members(held, groups=["g"]):
            hub.hold(held)
            await send("g", "tick")
        hub.release_held(held)
        hub.hold(held)
        assert hub._held == {}
        assert held.received == []


async def control(target, message):
    await asend(control_group(), control_message(control_group(), message, target=target))


async def test_control_message_reaches_its_target_and_is_logged():
    inside, outside = Member("in"), Member("out")
    async with members(inside, groups=["g"]), members(outside, groups=["h"]) as hub:
        began = time.monotonic()
        await control("g", RefreshRoom("one"))
        await control("h", Refresh())
        await eventually(lambda: outside.received)
        assert inside.received == [RefreshRoom("one")]
        assert outside.received == [Refresh()]
        assert hub.control_since(began, ["g", "elsewhere"]) == [RefreshRoom("one")]
        assert hub.control_since(time.monotonic(), ["g", "h"]) == []


def unknown_control(**fields):
    return {**control_message("g", Unsubscribe("a room"), target="g"), **fields}


UNKNOWN_CONTROL = [
    unknown_control(instruction="vanish"),
    unknown_control(version=2),
    unknown_control(arguments={}),
    unknown_control(arguments={"room": 7}),
]


@pytest.mark.parametrize("message", UNKNOWN_CONTROL)
async def test_unknown_control_message_is_ignored_and_logged_once(caplog, message):
    member = Member("1")
    async with members(member, groups=["g"]) as hub:
        began = time.monotonic()
        for _ in range(3):
            await get_layer().group_send("g", message)
        await send("g", "after")
        await eventually(lambda: member.received)
        assert member.received == ["after"]
        assert hub.control_since(began, ["g"]) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]


class FailingMember(Member):
    def receive_control(self, message):
        raise RuntimeError("a bug")


async def test_control_message_reaches_members_behind_one_that_fails(caplog):
    before, behind = Member("before"), Member("behind")
    async with members(before, FailingMember("bad"), behind, groups=["g"]):
        await control("g", Close(4503))
        await eventually(lambda: behind.received)
        assert before.received == behind.received == [Close(4503)]
    (record,) = errors_of(caplog)
    assert record.exc_info


# What goes wrong while delivering


async def test_an_exception_while_delivering_is_logged_and_the_next_message_arrives(caplog):
    good = Member("good")
    async with members(BrokenMember("bad"), groups=["g"]), members(good, groups=["h"]):
        await send("g", "one")
        await send("h", "two")
        await eventually(lambda: good.received == ["two"])
    (record,) = errors_of(caplog)
    assert record.exc_info


FOREIGN = [{"type": "chat.message"}, {"type": PUSH_TYPE}, {"type": PUSH_TYPE, "group": "g"}, {}]
SENSELESS = [
    {"type": PUSH_TYPE, "group": "g", "text": "\ud800", "exclude": None},
    {"type": PUSH_TYPE, "group": "g", "text": "x", "exclude": ["a"]},
    {"type": PUSH_TYPE, "group": "g", "text": b"x", "exclude": None},
    {"type": CONTROL_TYPE, "group": "g"},
    {"type": PROBE_TYPE},
]


@pytest.mark.parametrize("message", [*FOREIGN, *SENSELESS])
async def test_what_makes_no_sense_harms_nothing_that_has_come_with_it(
    caplog, message, memory_layer
):
    one, other = Member("1"), Member("2")
    async with members(one, groups=["g"]), members(other, groups=["h"]):
        await send("g", "a")
        await get_layer().group_send("g", message)
        await send("g", "b")
        await send("h", "c")
        await control("h", Refresh())
        await eventually(lambda: len(other.received) == 2)
        assert one.received == ["a", "b"]
        assert other.received == ["c", Refresh()]
    assert len(errors_of(caplog)) == 1
    caplog.clear()


@pytest.mark.parametrize("message", FOREIGN)
async def test_a_message_of_somebody_else_is_logged_and_the_next_one_arrives(caplog, message):
    member = Member("1")
    async with members(member, groups=["g"]):
        await get_layer().group_send("g", message)
        await send("g", "tick")
        await eventually(lambda: member.received == ["tick"])
    assert len(errors_of(caplog)) == 1


async def test_room_groups_of_different_rooms_differ():
    rooms = ["a", "A", "á", "a ", "a:1", "a.1", "a/1"]
    assert len({room_group(room) for room in rooms}) == len(rooms)


async def test_what_waits_for_a_hub_that_stops_is_forgotten(configure):
    configure(DEFAULT_ROOM={"public": True})
    for _ in range(3):
        async with Connection() as connection:
            await connection.subscribe("a")
            for number in range(100):
                await asend_to_room("a", "tick", number)
    await eventually(lambda: len(get_hub()) == 0)
    await eventually(lambda: layer_channels() == {})
