"""Each hub carries out every control message, once and in order, also those that it missed."""

import asyncio

import pytest

from pm_realtime.hub import Hub, get_hub, use_hub
from pm_realtime.layer import (
    Close,
    Recheck,
    Refresh,
    RefreshRoom,
    SessionEnded,
    Unsubscribe,
    control_group,
    control_message,
    get_layer,
)
from pm_realtime.push.control_stream import control_for
from pm_realtime.streams import CheckTimings
from tests.support.helpers import eventually
from tests.support.hubs import Member, members, send, send_control, use
from tests.support.lossy import LossyLayer, use_faulty_streams

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class Watcher(Member):
    """Records rechecks in their place among the others."""

    def receive_control(self, message):
        self.received.append(message)


@pytest.fixture
async def layer(memory_layer):
    return use(LossyLayer())


@pytest.fixture
async def streams(layer, own_streams):
    return use_faulty_streams(own_streams)


@pytest.fixture
def tell(streams):
    """``await tell(*messages)``: control messages for the members of "g"."""

    async def tell(*messages, target="g"):
        for message in messages:
            await streams.publish(control_for(target, message))

    return tell


@pytest.fixture
def lose(layer, tell):
    """As ``tell``, but the messages do not arrive."""

    async def lose(*messages, target="g"):
        layer.is_deaf = True
        await tell(*messages, target=target)
        layer.is_deaf = False

    return lose


async def test_lost_messages_come_before_the_next_one(tell, lose):
    member, other = Watcher("1"), Watcher("2")
    async with members(member, groups=["g"]), members(other, groups=["h"]):
        await tell(RefreshRoom("1"))
        await lose(RefreshRoom("2"), RefreshRoom("3"))
        await tell(RefreshRoom("4"))
        await eventually(lambda: len(member.received) >= 4)
        assert member.received == [RefreshRoom(number) for number in "1234"]
        assert other.received == []


async def test_lost_messages_are_found_after_a_doubt(lose):
    member = Watcher("1")
    async with members(member, groups=["g"]) as hub:
        await lose(Refresh())
        hub.follower.note_doubt(True)
        await eventually(lambda: member.received)
        assert member.received == [Refresh()]


async def test_messages_that_are_not_kept_have_everybody_recheck(streams, tell, lose):
    member, other = Watcher("1"), Watcher("2")
    async with members(member, groups=["g"]), members(other, groups=["h"]) as hub:
        await lose(Refresh())
        await streams.forget_all()
        hub.follower.note_doubt(True)
        await eventually(lambda: member.received and other.received)
        await tell(RefreshRoom("1"))
        await eventually(lambda: RefreshRoom("1") in member.received)
        assert member.received == [Recheck(), RefreshRoom("1")]
        assert other.received == [Recheck()]


async def test_lost_message_is_found_without_a_doubt(streams, lose):
    member = Watcher("1")
    use_hub(Hub(check_timings=CheckTimings(period_seconds=0.05)))
    async with members(member, groups=["g"]):
        await lose(Refresh())
        await eventually(lambda: member.received)
        assert member.received == [Refresh()]


async def test_stream_that_lost_messages_has_everybody_recheck(streams, tell):
    """On a server whose clock is behind, a message may have been taken for a lost one."""
    member = Watcher("1")
    async with members(member, groups=["g"]) as hub:
        await tell(RefreshRoom("1"))
        await eventually(lambda: member.received)
        streams.lose_last(control_group(), 1)
        hub.follower.note_doubt(True)
        await eventually(lambda: len(member.received) >= 2)
        hub.follower.note_doubt(True)
        await tell(RefreshRoom("2"))
        await eventually(lambda: len(member.received) >= 3)
        assert member.received == [RefreshRoom("1"), Recheck(), RefreshRoom("2")]


async def test_message_arrives_although_those_before_it_cannot_be_read(streams, tell, lose):
    member = Watcher("1")
    async with members(member, groups=["g"]):
        await lose(Refresh())
        streams.is_away = True
        await tell(RefreshRoom("1"))
        await eventually(lambda: len(member.received) >= 2)
        assert member.received == [Recheck(), RefreshRoom("1")]
        streams.is_away = False


async def test_lost_message_comes_before_lost_pushes(layer, streams, lose):
    """A hole in one group is filled after the control messages that came meanwhile."""
    member = Watcher("1")
    async with members(member, groups=["g"]) as hub:
        await hub.join(member, "h", ttl_seconds=60)
        await lose(Refresh())
        layer.is_deaf = True
        await publish(streams, '{"secret":1}')
        layer.is_deaf = False
        await publish(streams, '{"secret":2}')
        await eventually(lambda: len(member.received) >= 3)
        assert member.received[0] == Refresh()
        assert [text[:11] for text in member.received[1:]] == ['{"secret":1', '{"secret":2']


async def publish(streams, text, group="h"):
    await streams.publish(
        control_for("g", Refresh())._replace(
            group=group, text=text, is_control=False, idempotency_key=None
        )
    )


async def test_message_without_a_position_is_carried_out(streams):
    """It is for one connection, or a process of an earlier version sent it."""
    member = Watcher("1")
    async with members(member, groups=["g"]):
        close = control_message("g", Close(4503))
        await get_layer().group_send("g", close)
        await eventually(lambda: member.received == [Close(4503)])


async def test_unknown_message_in_the_stream_is_left_out(streams, tell, lose):
    member = Watcher("1")
    async with members(member, groups=["g"]):
        await lose(Refresh())
        unknown = control_for("g", Unsubscribe("a"))
        text = unknown.text.replace("unsubscribe", "vanish")
        await streams.publish(unknown._replace(text=text))
        await tell(RefreshRoom("1"))
        await eventually(lambda: len(member.received) >= 2)
        assert member.received == [Refresh(), RefreshRoom("1")]


# For a connection that is just joining


async def test_joining_member_gets_what_it_missed(tell):
    member = Watcher("late")
    async with members(Member("stays"), member) as hub:
        before = hub.control.position
        await tell(RefreshRoom("1"), target="g")
        await tell(RefreshRoom("2"), target="h")
        await tell(SessionEnded("s"), target="elsewhere")
        await tell(RefreshRoom("3"), target="g")
        await hub.join(member, "g")
        await send("g", "fence")
        await eventually(lambda: "fence" in member.received)
        await hub.control.hand_missed(member, before, ["g", "h"])
        found = [each for each in member.received if each != "fence"]
        assert found[-3:] == [RefreshRoom("1"), RefreshRoom("2"), RefreshRoom("3")]


async def test_nothing_is_read_for_a_member_that_missed_nothing(streams):
    member = Watcher("1")
    async with members(member, groups=["g"]) as hub:
        streams.reads.clear()
        await hub.control.hand_missed(member, hub.control.position, ["g"])
        assert (member.received, streams.reads) == ([], [])


async def test_messages_that_arrive_meanwhile_follow_those_that_were_missed(streams, tell):
    member = Watcher("1")
    async with members(Watcher("stays"), member) as hub:
        before = hub.control.position
        await tell(RefreshRoom("1"))
        await eventually(lambda: hub.control.position > before)
        await hub.join(member, "g")
        streams.may_read.clear()
        reading = asyncio.create_task(hub.control.hand_missed(member, before, ["g"]))
        await eventually(lambda: streams.reads)
        position = hub.control.position
        await tell(RefreshRoom("2"))
        await eventually(lambda: hub.control.position > position)
        assert member.received == []
        streams.may_read.set()
        await reading
        assert member.received == [RefreshRoom("1"), RefreshRoom("2")]


@pytest.mark.parametrize("is_away", [False, True])
async def test_refresh_stands_for_messages_that_are_not_known(streams, tell, is_away):
    member = Watcher("1")
    async with members(Watcher("stays"), member) as hub:
        before = hub.control.position
        await tell(RefreshRoom("1"))
        await eventually(lambda: hub.control.position > before)
        await hub.join(member, "g")
        await streams.forget_all()
        streams.is_away = is_away
        await hub.control.hand_missed(member, before, ["g"])
        assert member.received == [Refresh()]
        streams.is_away = False


async def test_refresh_stands_for_messages_without_a_position():
    """Those of version 0.1, and all of them where the streams keep nothing."""
    member = Watcher("1")
    async with members(Watcher("stays"), member) as hub:
        before = hub.control.position
        await send_control("g", RefreshRoom("1"))
        await eventually(lambda: hub.control.position != before)
        await hub.join(member, "g")
        await hub.control.hand_missed(member, before, ["g"])
        assert member.received == [Refresh()]


async def test_recent_messages_are_known(tell):
    async with members(Watcher("1")):
        assert SessionEnded("s") not in await get_hub().control.find_recent(10)
        before = get_hub().control.position
        await tell(SessionEnded("s"))
        await eventually(lambda: get_hub().control.position > before)
        assert SessionEnded("s") in await get_hub().control.find_recent(10)
