"""The one channel of a hub: its groups in the layer, and a layer that fails."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from pm_realtime import aget_stats
from pm_realtime.layer import control_group, get_layer
from tests.support.helpers import (
    EVENT_TIMEOUT_SECONDS,
    Connection,
    errors_of,
    eventually,
    layer_groups,
)
from tests.support.hubs import LoggedLayer, Member, members, send, use

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def gate(monkeypatch):
    """The layer in use discards a group only once the test says so."""
    gate = SimpleNamespace(was_asked=asyncio.Event(), may_discard=asyncio.Event())
    layer = get_layer()
    discard = layer.group_discard

    async def wait_and_discard(*args):
        gate.was_asked.set()
        await gate.may_discard.wait()
        await discard(*args)

    monkeypatch.setattr(layer, "group_discard", wait_and_discard)
    return gate


# Groups in the layer


async def test_stale_group_is_left_at_its_first_message():
    member = Member("1")
    async with members(member, groups=["g"]):
        (channel,) = layer_groups()["g"]
        await get_layer().group_add("stale", channel)
        await send("stale", "tick")
        await eventually(lambda: "stale" not in layer_groups())
        await send("g", "tick")
        await eventually(lambda: member.received == ["tick"])


async def test_join_while_a_stale_group_is_left_gets_its_messages(gate):
    member = Member("1")
    async with members(member, groups=["other"]) as hub:
        (channel,) = layer_groups()["other"]
        await get_layer().group_add("g", channel)
        await send("g", "stale")
        await gate.was_asked.wait()
        joining = asyncio.create_task(hub.join(member, "g"))
        await asyncio.wait([joining], timeout=0.05)  # It may have to wait for the discard.
        gate.may_discard.set()
        await joining
        await send("other", "fence")
        await eventually(lambda: "fence" in member.received)
        await send("g", "tick")
        await send("other", "fence")
        await eventually(lambda: member.received.count("fence") == 2)
        assert member.received == ["fence", "tick", "fence"]


async def test_groups_are_added_again_before_the_layer_forgets_them(configure):
    configure(HEARTBEAT_INTERVAL=0.1, HEARTBEAT_TIMEOUT=0.1)
    layer = use(LoggedLayer(group_expiry=0.05))
    member = Member("1")
    async with members(member, groups=["g", "h"]) as hub:
        await hub.leave(member, "h")
        layer.log.clear()
        await eventually(lambda: layer.log.count(("add", "g")) >= 3)
        assert set(layer.log) == {("add", "g")}


async def test_groups_may_become_stale_while_the_channel_closes(memory_layer, monkeypatch):
    numbers = itertools.count()
    async with members(Member("m"), groups=["g"]) as hub:
        layer = get_layer()
        discard = layer.group_discard

        async def fail(group, channel):
            await discard(group, channel)
            await asyncio.sleep(0)
            hub.channel.note_stale(f"stale {next(numbers)}")
            raise ConnectionError("the layer is away")

        monkeypatch.setattr(layer, "group_discard", fail)


# A layer that fails


async def test_receiver_outlives_the_layer_and_its_groups_are_added_again(caplog):
    layer = use(LoggedLayer())
    member = Member("1")
    async with members(member, groups=["g", "h"]):
        await send("g", "before")
        await eventually(lambda: member.received == ["before"])
        layer.fail(1)
        await eventually(lambda: set(layer.groups) == {control_group(), "g", "h"})
        await send("g", "after")
        await send("h", "after")
        await eventually(lambda: member.received == ["before", "after", "after"])
    assert len(errors_of(caplog)) == 1


async def test_layer_that_fails_several_times_is_logged_once(caplog):
    layer = use(LoggedLayer())
    member = Member("1")
    async with members(member, groups=["g"]):
        layer.fail(3)
        await eventually(lambda: not layer.failures)
        await eventually(lambda: "g" in layer.groups)
        await send("g", "after")
        await eventually(lambda: member.received == ["after"])
    assert len(errors_of(caplog)) == 1


async def test_layer_that_is_away_is_logged_once_and_used_again_when_it_is_back(caplog):
    layer = use(LoggedLayer())
    member = Member("1")
    async with members(member, groups=["g"]):
        layer.is_away = True
        layer.fail(1)
        await eventually(lambda: errors_of(caplog))
        await eventually(lambda: not layer.broke.is_set())
        layer.is_away = False
        await eventually(lambda: "g" in layer.groups)
        await send("g", "after")
        await eventually(lambda: member.received == ["after"])
    assert len(errors_of(caplog)) == 1


async def test_group_that_is_left_while_the_layer_fails_is_not_added_again(caplog):
    layer = use(LoggedLayer())
    stays, leaves = Member("1"), Member("2")
    async with members(stays, leaves, groups=["g"]) as hub:
        await hub.join(leaves, "h")
        layer.fail(1)
        await hub.leave(leaves, "h")
        await eventually(lambda: "g" in layer.groups)
        assert "h" not in layer.groups
    assert len(errors_of(caplog)) == 1


async def subscribe_when_healthy(connection, room):
    """Join ``room`` as soon as the layer is known to work again."""
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        while (answer := await connection.ask("subscribe", {"room": room}))["type"] == "error":
            assert answer["payload"]["code"] == "INTERNAL_ERROR"
            await asyncio.sleep(0.2)


async def test_room_has_space_again_if_the_layer_fails_at_a_leave_or_a_join(configure, monkeypatch):
    configure(ROOMS={"one": {"public": True, "max_connections": 1}})

    async def fail(group, channel):
        raise ConnectionError("the layer is away")

    async with Connection() as first, Connection() as second:
        await first.subscribe("one")
        for method in ("group_discard", "group_add"):
            with monkeypatch.context() as patch:
                patch.setattr(get_layer(), method, fail)
                command = "unsubscribe" if method == "group_discard" else "subscribe"
                await first.ask(command, {"room": "one"})
            assert (await aget_stats())["totalRooms"] == 0
            await subscribe_when_healthy(second, "one")
            await second.ask("unsubscribe", {"room": "one"})
