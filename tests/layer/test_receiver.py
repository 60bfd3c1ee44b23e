"""Messages of the layer are received in order and handed to the hub, whatever they are."""

import asyncio
import json
import time

import pytest

from pm_realtime.backends import StreamMessage, get_streams
from pm_realtime.hub import Hub, use_hub
from pm_realtime.layer import (
    ProbeTimings,
    Refresh,
    Unsubscribe,
    control_message,
    get_layer,
    push_message,
)
from pm_realtime.layer.wire import CONTROL_TYPE, PROBE_TYPE, PUSH_TYPE
from tests.support.helpers import errors_of, eventually
from tests.support.hubs import Member, members, send, send_control

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class SlowMember(Member):
    """A member that takes as long as a large room."""

    seconds = 0.0

    def deliver(self, text):
        time.sleep(self.seconds)
        return super().deliver(text)


# A busy group, and messages that come from a server one by one


@pytest.fixture
async def busy(settings, valkey, configure):
    """A member of ``g`` and ``h``; the delivery of its last message, for ``g``, took a second."""
    configure(BATCH_WINDOW=1000)
    layer = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": layer, "CONFIG": {"hosts": [valkey.url]}}}
    use_hub(Hub(probe_timings=ProbeTimings(interval_seconds=60)))
    member = SlowMember("m")
    async with members(member, groups=["g", "h"]):
        member.seconds = 1.0
        await send("g", "0")
        await eventually(lambda: member.received == ["0"])
        member.seconds = 0.0
        yield member
    await get_layer().flush()


async def test_messages_of_a_busy_group_are_delivered_together(busy):
    await send("g", "1")
    await asyncio.sleep(0.01)
    await send("g", "2")
    assert busy.received == ["0"]
    await eventually(lambda: busy.received == ["0", "1", "2"])
    assert busy.bursts == [2]


async def test_message_of_another_group_ends_the_wait(busy):
    await send("g", "1")
    await asyncio.sleep(0.01)
    await send("h", "2")
    await eventually(lambda: busy.received == ["0", "1", "2"], seconds=0.7)


async def test_message_of_another_group_does_not_wait(busy):
    await send("h", "1")
    await eventually(lambda: busy.received == ["0", "1"], seconds=0.7)


@pytest.mark.parametrize("milliseconds", [0, 20])
async def test_message_waits_no_longer_than_a_batch_window(busy, configure, milliseconds):
    configure(BATCH_WINDOW=milliseconds)
    await send("g", "1")
    await eventually(lambda: busy.received == ["0", "1"], seconds=0.7)


# Long deliveries and cancellations


@pytest.mark.parametrize("members_per_turn", [1, 1000])
async def test_layer_does_not_count_as_down_during_long_deliveries(far, caplog, members_per_turn):
    timings = ProbeTimings(interval_seconds=0.1, timeout_seconds=0.05, down_after_seconds=0.2)
    use_hub(Hub(probe_timings=timings, members_per_turn=members_per_turn))
    crowd = [SlowMember(str(number)) for number in range(60)]
    async with members(*crowd, groups=["g", "h"]):
        for member in crowd:
            member.seconds = 0.005
        for number in range(6):
            group = "gh"[number % 2]
            (channel,) = far.groups[group]
            far.queues[channel].put_nowait(push_message(group, str(number), None))
        await eventually(lambda: len(crowd[-1].received) == 6)
        assert [member.rechecks for member in crowd] == [0] * 60
    assert errors_of(caplog) == []


class Cancelling(Member):
    """It cancels the caller that hands it a text with ``0``, and takes ``seconds`` for that."""

    seconds = 0.0

    def deliver(self, text):
        if text.startswith(("0", '{"number":0')):
            asyncio.current_task().cancel()
            time.sleep(self.seconds)
        return super().deliver(text)


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_received_messages_are_delivered_after_the_receiver_was_cancelled(
    memory_layer, caplog, seconds
):
    cancelling, other = Cancelling("1"), Member("2")
    cancelling.seconds = seconds
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


@pytest.mark.parametrize("ttl_seconds", [None, 60])
async def test_all_members_get_the_messages_during_which_the_receiver_was_cancelled(
    memory_layer, caplog, ttl_seconds
):
    use_hub(Hub(members_per_turn=1))
    cancelling, *others = Cancelling("0"), Member("1"), Member("2")
    async with members(cancelling, *others) as hub:
        for member in (cancelling, *others):
            await hub.join(member, "g", ttl_seconds=ttl_seconds)
        for number in range(3):
            message = StreamMessage("g", f'{{"number":{number}}}', None, 500, ttl_seconds or 0)
            await get_streams().publish(message)
        await eventually(lambda: errors_of(caplog))
        await eventually(lambda: len(others[-1].received) == 3)
        for member in (cancelling, *others):
            numbers = [json.loads(text)["number"] for text in member.received]
            assert numbers == [0, 1, 2]
    caplog.clear()


async def test_received_messages_are_delivered_although_the_layer_fails(
    monkeypatch, memory_layer, caplog
):
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
        await send("g", "1")  # The receiver waits for this one already.
        await eventually(lambda: len(member.received) == 2)
        for number in range(2, 7):
            await send("g", str(number))
        await eventually(lambda: len(member.received) == 7)
        assert member.received == [str(number) for number in range(7)]
        assert member.bursts == [2, 3]
    caplog.clear()


# Unknown control messages and foreign messages


def unknown_control(**fields):
    return {**control_message("g", Unsubscribe("a room"), target="g"), **fields}


UNKNOWN_CONTROL = [
    unknown_control(instruction="vanish"),
    unknown_control(version=2),
    unknown_control(arguments={}),
    unknown_control(arguments={"room": 7}),
    unknown_control(arguments=None),
    {"type": CONTROL_TYPE, "group": "g", "version": 2, "body": "of a later version"},
    {"type": CONTROL_TYPE, "group": "g"},
]


@pytest.mark.parametrize("message", UNKNOWN_CONTROL)
async def test_unknown_control_message_is_ignored_and_logged_once(caplog, message):
    member = Member("1")
    async with members(member, groups=["g"]):
        for _ in range(3):
            await get_layer().group_send("g", message)
        await send("g", "after")
        await eventually(lambda: member.received)
        assert member.received == ["after"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


FOREIGN = [{"type": "chat.message"}, {"type": PUSH_TYPE}, {"type": PUSH_TYPE, "group": "g"}, {}]
MALFORMED = [
    {"type": PUSH_TYPE, "group": "g", "text": "\ud800", "exclude": None},
    {"type": PUSH_TYPE, "group": "g", "text": "x", "exclude": ["a"]},
    {"type": PUSH_TYPE, "group": "g", "text": b"x", "exclude": None},
    {"type": PROBE_TYPE},
]


@pytest.mark.parametrize("message", [*FOREIGN, *MALFORMED])
async def test_malformed_message_does_not_affect_those_that_arrive_with_it(
    caplog, message, memory_layer
):
    one, other = Member("1"), Member("2")
    async with members(one, groups=["g"]), members(other, groups=["h"]):
        await send("g", "a")
        await get_layer().group_send("g", message)
        await send("g", "b")
        await send("h", "c")
        await send_control("h", Refresh())
        await eventually(lambda: len(other.received) == 2)
        assert one.received == ["a", "b"]
        assert other.received == ["c", Refresh()]
    assert len(errors_of(caplog)) == 1
    caplog.clear()


@pytest.mark.parametrize("message", FOREIGN)
async def test_foreign_message_is_logged_and_the_next_one_arrives(caplog, message):
    member = Member("1")
    async with members(member, groups=["g"]):
        await get_layer().group_send("g", message)
        await send("g", "tick")
        await eventually(lambda: member.received == ["tick"])
    assert len(errors_of(caplog)) == 1
