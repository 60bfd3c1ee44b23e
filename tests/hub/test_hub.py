"""The registry of connections: which are in which group, here and in the layer."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from pm_realtime import asend_to_room
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import get_hub
from pm_realtime.layer import control_group, get_layer, room_group
from tests.support.helpers import (
    Connection,
    errors_of,
    eventually,
    layer_channels,
    layer_groups,
    running_tasks,
)
from tests.support.hubs import LoggedLayer, Member, members, send, use

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def pace(monkeypatch):
    """The random delays of the layer in use at each change of a group: seed it."""
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


async def test_first_member_adds_the_group_and_last_discards_it():
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


async def test_50_connections_in_a_room_are_one_channel_of_the_group():
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


async def test_connections_of_a_process_share_one_channel(users):
    async with AsyncExitStack() as stack:
        for user in users.values():
            connection = await stack.enter_async_context(Connection(user=user))
            await connection.subscribe("lobby")
        assert len({channel for group in layer_groups().values() for channel in group}) == 1


async def test_leave_and_remove_may_be_repeated():
    member = Member("1")
    async with members(member, Member("2")) as hub:
        await hub.leave(member, "g")
        await hub.join(member, "g")
        await hub.leave(member, "g")
        await hub.leave(member, "g")
        await hub.remove(member)
        await hub.remove(member)
        assert list(layer_groups()) == [control_group()]


@pytest.mark.parametrize("cancel", [False, True])
async def test_layer_agrees_with_the_hub_after_joins_and_leaves_in_any_order(pace, cancel):
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


async def test_message_right_after_a_join_arrives():
    member = Member("1")
    async with members(member) as hub:
        for number in range(200):
            await hub.join(member, f"g{number}")
            await send(f"g{number}", str(number))
        await eventually(lambda: len(member.received) == 200)


async def test_different_rooms_have_different_groups():
    rooms = ["a", "A", "á", "a ", "a:1", "a.1", "a/1"]
    assert len({room_group(room) for room in rooms}) == len(rooms)


async def test_hub_that_stops_drops_waiting_messages(configure):
    configure(DEFAULT_ROOM={"public": True})
    for _ in range(3):
        async with Connection() as connection:
            await connection.subscribe("a")
            for number in range(100):
                await asend_to_room("a", "tick", number)
    await eventually(lambda: len(get_hub()) == 0)
    await eventually(lambda: layer_channels() == {})


class MemberWithoutHeartbeat(Member):
    def check_heartbeat(self, deadline):
        raise RuntimeError("a bug")


async def test_heartbeats_are_checked_behind_a_member_that_fails(configure, caplog):
    configure(HEARTBEAT_INTERVAL=0.1, HEARTBEAT_TIMEOUT=0.06)
    checked = []
    behind = Member("behind")
    behind.check_heartbeat = checked.append
    async with members(MemberWithoutHeartbeat("bad"), behind):
        await eventually(lambda: checked)
    assert errors_of(caplog)
    caplog.clear()


async def test_heartbeats_are_checked_after_a_member_cancelled_the_check(configure, caplog):
    configure(HEARTBEAT_INTERVAL=0.1, HEARTBEAT_TIMEOUT=0.06)

    class Cancelling(Member):
        def check_heartbeat(self, deadline):
            checked.append(deadline)
            asyncio.current_task().cancel()

    checked = []
    async with members(Cancelling("1")):
        await eventually(lambda: len(checked) > 2)
    assert "starts again" in errors_of(caplog)[0].message
    caplog.clear()


async def test_loop_that_ends_with_an_open_hub_ends_its_tasks(caplog):
    async def serve():
        await get_hub().add(Member("1"))
        return running_tasks() - {asyncio.current_task()}

    tasks = await asyncio.to_thread(asyncio.run, serve())
    assert len(tasks) >= 2
    assert all(task.cancelled() for task in tasks)
    assert errors_of(caplog) == []
    await get_layer().flush()  # The hub is still in its groups.


async def test_connection_that_came_while_the_layer_was_away_can_be_removed(far):
    far.is_away = True
    hub, member = get_hub(), Member("1")
    with pytest.raises(BackendError):
        await hub.add(member)
    await hub.remove(member)
    assert len(hub) == 0
