"""The one channel over which a layer reaches a hub, and its groups there."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from pm_realtime import aget_stats
from pm_realtime.layer import control_group, get_layer, liveness, local
from tests.support.helpers import PATIENCE, Connection, errors_of, eventually, layer_groups
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


async def test_a_group_that_nobody_is_in_is_left_at_its_first_message():
    member = Member("1")
    async with members(member, groups=["g"]):
        (channel,) = layer_groups()["g"]
        await get_layer().group_add("stray", channel)
        await send("stray", "tick")
        await eventually(lambda: "stray" not in layer_groups())
        await send("g", "tick")
        await eventually(lambda: member.received == ["tick"])


async def test_one_who_joins_while_a_stray_group_is_left_still_gets_its_messages(gate):
    member = Member("1")
    async with members(member, groups=["other"]) as hub:
        (channel,) = layer_groups()["other"]
        await get_layer().group_add("g", channel)
        await send("g", "stray")
        await gate.was_asked.wait()
        joining = asyncio.create_task(hub.join(member, "g"))
        await asyncio.wait([joining], timeout=0.05)  # It may have to wait for the leaving.
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


# A busy group, and messages that come from a server one by one


class SlowMember(Member):
    """Whom to serve takes as long as serving a big room."""

    seconds = 0.0

    def deliver(self, text):
        time.sleep(self.seconds)
        super().deliver(text)


@pytest.fixture
async def busy(memory_layer, monkeypatch, configure):
    """A member of ``g`` and ``h``, to whom a message has just been handed, which took a second."""
    configure(BATCH_WINDOW=1000)
    monkeypatch.setattr(local, "is_in_process", lambda layer: False)
    member = SlowMember("m")
    async with members(member, groups=["g", "h"]):
        member.seconds = 1.0
        await send("g", "0")
        await eventually(lambda: member.received == ["0"])
        member.seconds = 0.0
        yield member


async def test_what_comes_a_moment_later_for_a_busy_group_goes_with_it(busy):
    await send("g", "1")
    await asyncio.sleep(0.01)
    await send("g", "2")
    assert busy.received == ["0"]
    await eventually(lambda: busy.received == ["0", "1", "2"])
    assert busy.together == [2]


async def test_what_comes_for_another_group_ends_the_wait(busy):
    await send("g", "1")
    await asyncio.sleep(0.01)
    await send("h", "2")
    await eventually(lambda: busy.received == ["0", "1", "2"], seconds=0.7)


async def test_what_comes_for_another_group_does_not_wait(busy):
    await send("h", "1")
    await eventually(lambda: busy.received == ["0", "1"], seconds=0.7)


@pytest.mark.parametrize("milliseconds", [0, 20])
async def test_nothing_waits_longer_than_a_window(busy, configure, milliseconds):
    configure(BATCH_WINDOW=milliseconds)
    await send("g", "1")
    await eventually(lambda: busy.received == ["0", "1"], seconds=0.7)


# A layer that fails


async def test_the_loop_outlives_the_layer_and_joins_its_groups_again(caplog):
    layer = use(LoggedLayer())
    member = Member("1")
    async with members(member, groups=["g", "h"]):
        await send("g", "before")
        await eventually(lambda: member.received == ["before"])
        layer.fail(1)
        await eventually(lambda: set(layer.groups) == {control_group(), "g", "h"})
        await eventually(lambda: member.rechecks == 1)
        await send("g", "after")
        await send("h", "after")
        await eventually(lambda: member.received == ["before", "after", "after"])
    assert len(errors_of(caplog)) == 1


async def test_while_a_lot_is_handed_out_the_layer_does_not_count_as_lost(
    memory_layer, monkeypatch, caplog
):
    monkeypatch.setattr(local, "is_in_process", lambda layer: False)
    for name, seconds in {"INTERVAL": 0.1, "PATIENCE": 0.05, "TIMEOUT": 0.2}.items():
        monkeypatch.setattr(liveness, name, seconds)
    crowd = [SlowMember(str(number)) for number in range(30)]
    async with members(*crowd, groups=["g", "h"]):
        for member in crowd:
            member.seconds = 0.005
        for number in range(10):
            await send("gh"[number % 2], str(number))
        await eventually(lambda: len(crowd[-1].received) == 10)
        assert [member.rechecks for member in crowd] == [0] * 30
    assert errors_of(caplog) == []


async def test_what_has_come_is_handed_on_where_somebody_cancels_who_does_that(
    memory_layer, caplog
):
    class Cancelling(Member):
        def deliver(self, text):
            super().deliver(text)
            if text == "0":
                asyncio.current_task().cancel()

    cancelling, other = Cancelling("1"), Member("2")
    async with members(cancelling, groups=["g"]), members(other, groups=["h"]):
        await send("g", "0")
        for number in range(1, 4):
            await send("h", str(number))
        await eventually(lambda: other.received == ["1", "2", "3"])
        await eventually(lambda: errors_of(caplog))
        await send("h", "4")
        await eventually(lambda: other.received == ["1", "2", "3", "4"])
    assert "was cancelled" in errors_of(caplog)[0].message
    caplog.clear()


async def test_strays_may_come_while_the_link_closes(memory_layer, monkeypatch):
    member = Member("m")
    async with members(member, groups=["g"]) as hub:
        layer, link = get_layer(), hub._channel
        discard = layer.group_discard

        async def fail(group, channel):
            await discard(group, channel)
            await asyncio.sleep(0)
            link.note_stale(f"stray {len(link._stale)}")
            raise ConnectionError("the layer is away")

        monkeypatch.setattr(layer, "group_discard", fail)


async def test_what_came_before_the_layer_failed_is_delivered(monkeypatch, memory_layer, caplog):
    member = Member("m")
    async with members(member, groups=["g"]):
        await send("g", "0")
        await eventually(lambda: member.received == ["0"])
        layer = get_layer()
        receive = layer.receive
        count = 0

        async def receive_twice(channel):
            nonlocal count
            count += 1
            if count == 3:
                raise ConnectionError("the layer is away")
            return await receive(channel)

        monkeypatch.setattr(layer, "receive", receive_twice)
        await send("g", "1")  # For which it waits already.
        await eventually(lambda: len(member.received) == 2)
        for number in range(2, 7):
            await send("g", str(number))
        await eventually(lambda: len(member.received) == 7)
        assert member.received == [str(number) for number in range(7)]
        assert member.together == [2, 3]
    caplog.clear()


async def test_a_failing_layer_is_logged_once_however_often_it_fails(caplog):
    layer = use(LoggedLayer())
    member = Member("1")
    async with members(member, groups=["g"]):
        layer.fail(3)
        await eventually(lambda: not layer.failures)
        await eventually(lambda: "g" in layer.groups)
        await send("g", "after")
        await eventually(lambda: member.received == ["after"])
    assert len(errors_of(caplog)) == 1


async def test_a_layer_that_is_wholly_away_is_logged_once_and_taken_up_when_it_is_back(caplog):
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


async def test_who_leaves_while_the_layer_fails_is_gone(caplog):
    layer = use(LoggedLayer())
    stays, leaves = Member("1"), Member("2")
    async with members(stays, leaves, groups=["g"]) as hub:
        await hub.join(leaves, "h")
        layer.fail(1)
        await hub.leave(leaves, "h")
        await eventually(lambda: "g" in layer.groups)
        assert "h" not in layer.groups
    assert len(errors_of(caplog)) == 1


async def subscribe_when_heard(connection, room):
    """Join ``room``; until the layer is known to work again nobody joins anything."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await connection.ask("subscribe", {"room": room}))["type"] == "error":
            assert answer["payload"]["code"] == "INTERNAL_ERROR"
            await asyncio.sleep(0.2)


async def test_a_seat_is_free_again_where_the_layer_fails_at_the_leaving_or_the_joining(
    configure, monkeypatch
):
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
            await subscribe_when_heard(second, "one")
            await second.ask("unsubscribe", {"room": "one"})
