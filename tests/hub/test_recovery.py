"""Members that join with a position get what they missed, in order, before anything newer."""

import asyncio
import json
import random

import pytest

from pm_realtime.exceptions import BackendError
from pm_realtime.hub import Joining
from tests.support.helpers import errors_of, eventually, layer_groups
from tests.support.hubs import Member, members, use
from tests.support.lossy import LossyLayer

pytestmark = [
    pytest.mark.usefixtures("leaves_nothing"),
    pytest.mark.filterwarnings("ignore:.*this process serves no WebSockets:RuntimeWarning"),
]

TTL_SECONDS = 60
LONG_AGO = "0000000000001-000000"


class Reader(Member):
    """Its client reads a page each time that ``may_read`` is set."""

    def __init__(self, connection_id):
        super().__init__(connection_id)
        self.may_read = asyncio.Event()

    async def until_drained(self):
        await self.may_read.wait()
        self.may_read.clear()


def envelopes(member):
    return [json.loads(text) for text in member.received if isinstance(text, str)]


def numbers(member):
    return ["gap" if each.get("type") == "gap" else each["payload"] for each in envelopes(member)]


async def join(hub, member, **options):
    """Join "g"; the start."""
    starts = []
    await hub.join(member, "g", ttl_seconds=TTL_SECONDS, on_start=starts.append, **options)
    (start,) = starts
    return start


async def test_missed_messages_come_first(streams, publish):
    member = Member("1")
    since = await publish(0)
    last = await publish(1, 5)
    async with members(member) as hub:
        start = await join(hub, member, since=since)
        assert (start.cursor, start.is_whole) == (since, True)
        await publish(5, 8)
        await eventually(lambda: len(member.received) >= 7)
        assert numbers(member) == [1, 2, 3, 4, 5, 6, 7]
        found = envelopes(member)
        assert [each.get("replayed", False) for each in found] == [True] * 4 + [False] * 3
        assert found[3]["cursor"] == last


async def test_start_is_called_before_the_first_message(streams, publish):
    member, before = Member("1"), []
    since = await publish(0)
    await publish(1)
    async with members(member) as hub:
        options = {"on_start": lambda start: before.append(list(member.received))}
        await hub.join(member, "g", ttl_seconds=TTL_SECONDS, since=since, **options)
        assert before == [[]]
        assert numbers(member) == [1]


@pytest.mark.parametrize("since", [LONG_AGO, "no cursor", ""])
async def test_what_is_not_kept_is_a_gap_and_the_rest_comes(streams, publish, since):
    member = Member("1")
    await publish(0, 8, size=3)
    async with members(member) as hub:
        start = await join(hub, member, since=since, to="user")
        assert numbers(member) == ["gap", 5, 6, 7]
        assert start.is_whole is False
        gap, first = envelopes(member)[:2]
        assert (gap["to"], gap["cursor"]) == ("user", start.cursor)
        assert start.cursor < first["cursor"]


async def test_what_goes_while_the_first_page_waits_belongs_to_the_gap(streams, publish):
    member = Reader("1")
    since = await publish(100, group="h")
    # More than a page, so that the other stream has to wait for its turn.
    await publish(101, 700, group="h", size=1000)
    await publish(0, 8, size=3)
    async with members(member) as hub:
        await hub.join(member, "h", ttl_seconds=TTL_SECONDS, since=since)
        await join(hub, member, since=LONG_AGO)
        await publish(8, 10, size=3)

        def reads_all():
            member.may_read.set()
            return 9 in numbers(member)

        await eventually(reads_all)
        assert [each for each in numbers(member) if each == "gap" or each < 100] == ["gap", 7, 8, 9]


async def test_gap_names_the_place_from_which_it_goes_on(streams, publish):
    """An application that looks again at its data after the gap misses nothing that follows."""
    member = Reader("1")
    member.has_room = lambda: False
    await publish(0, 8, size=3)
    async with members(member) as hub:
        start = await join(hub, member, since=LONG_AGO)
        assert start.is_whole is False
        last_lost = await publish(8, 15, size=3)
        await publish(15, 18, size=3)
        member.may_read.set()
        await eventually(lambda: len(member.received) >= 4)
        assert numbers(member) == ["gap", 15, 16, 17]
        assert envelopes(member)[0]["cursor"] == last_lost


async def test_emptied_store_is_a_gap_although_nothing_was_sent_since(streams, publish):
    member = Member("1")
    since = await publish(0)
    await streams.forget_all()
    async with members(member) as hub:
        start = await join(hub, member, since=since)
        assert (numbers(member), start.is_whole) == (["gap"], False)
        await publish(1)
        await eventually(lambda: numbers(member) == ["gap", 1])


async def test_position_before_the_first_message_is_whole(streams, publish):
    first, second = Member("1"), Member("2")
    async with members(first) as hub:
        start = await join(hub, first)
    await publish(0)
    async with members(second) as hub:
        assert (await join(hub, second, since=start.cursor)).is_whole
        assert numbers(second) == [0]


@pytest.mark.parametrize(("last", "expected"), [(0, []), (2, [3, 4]), (9, [0, 1, 2, 3, 4])])
async def test_last_messages(streams, publish, last, expected):
    member = Member("1")
    await publish(0, 5)
    async with members(member) as hub:
        start = await join(hub, member, last=last)
        assert (numbers(member), start.is_whole) == (expected, None)
        await publish(5)
        await eventually(lambda: numbers(member) == [*expected, 5])


async def test_last_messages_of_one_moment_are_those_of_the_next(streams, publish):
    first, second = Member("1"), Member("2")
    await publish(0, 3)
    async with members(first, second) as hub:
        await join(hub, first, last=2)
        await publish(3)
        await eventually(lambda: numbers(first) == [1, 2, 3])
        await join(hub, second, last=2)
        assert numbers(second) == [2, 3]


async def test_last_counts_if_what_followed_since_is_not_whole(streams, publish):
    whole, broken = Member("1"), Member("2")
    await publish(0)
    since = await publish(1)
    await publish(2, 6)
    async with members(whole, broken) as hub:
        await join(hub, whole, since=since, last=1)
        assert numbers(whole) == [2, 3, 4, 5]
        start = await join(hub, broken, since=LONG_AGO, last=2)
        assert (numbers(broken), start.is_whole) == (["gap", 4, 5], False)


async def test_excluded_messages_stay_excluded(streams, publish):
    member = Member("new")
    since = await publish(0)
    await publish(1, exclude="old")
    await publish(2, exclude="other")
    await publish(3, exclude="new")
    async with members(member) as hub:
        await join(hub, member, since=since, excluded={"old", "older"})
        assert numbers(member) == [2]


async def test_long_history_comes_page_by_page(streams, publish):
    reader, live = Reader("1"), Member("2")
    since = await publish(0, size=5000)
    await publish(1, 1000, size=5000)
    async with members(reader, live) as hub:
        await join(hub, live)
        await join(hub, reader, since=since)
        end, pages = 1000, [256]
        while len(reader.received) < 999:
            await publish(end, end + 2, size=5000)
            end, count = end + 2, len(reader.received)
            reader.may_read.set()
            await eventually(lambda n=count: len(reader.received) > n)
            pages.append(len(reader.received) - count)
        assert pages[:3] == [256, 256, 256]
        assert max(pages) == 256
        await eventually(lambda: reader.may_read.set() or len(reader.received) >= end - 1)
        await publish(end, size=5000)
        await eventually(lambda: numbers(reader)[-1] == end)
        assert numbers(reader) == [*range(1, end + 1)]


async def test_group_of_members_that_catch_up_stays_subscribed(streams, publish):
    reader = Reader("1")
    since = await publish(0)
    await publish(1, 600)
    async with members(Member("stays"), reader) as hub:
        await join(hub, reader, since=since)
        assert "g" in layer_groups()
        await hub.leave(reader, "g")
        assert "g" not in layer_groups()
        count = len(reader.received)
        reader.may_read.set()
        await asyncio.sleep(0.02)
        assert len(reader.received) == count < 599


async def test_removed_member_stops_to_catch_up(streams, publish):
    reader = Reader("1")
    since = await publish(0)
    await publish(1, 600)
    async with members(Member("stays")) as hub:
        async with members(reader):
            await join(hub, reader, since=since)
        assert "g" not in layer_groups()


async def test_many_that_come_back_read_once(streams, publish):
    crowd = [Member(str(number)) for number in range(1000)]
    since = await publish(0)
    await publish(1, 101)
    async with members(*crowd) as hub:
        streams.reads.clear()
        for start in range(0, 1000, 50):
            await asyncio.gather(*(join(hub, each, since=since) for each in crowd[start:][:50]))
        assert all(len(each.received) == 100 for each in crowd)
        assert numbers(crowd[0]) == numbers(crowd[-1]) == [*range(1, 101)]
        assert len(streams.reads) <= 30


async def test_those_who_come_back_to_a_busy_group_get_everything_once(streams, publish):
    crowd = [Member(str(number)) for number in range(40)]
    since = await publish(0, size=5000)
    await publish(1, 300, size=5000)
    is_over = False

    async def send_on():
        number = 300
        while not is_over:
            await publish(number, size=5000)
            number += 1
            await asyncio.sleep(0)
        return number

    async with members(*crowd) as hub:
        sending = asyncio.create_task(send_on())
        for each in crowd:
            await join(hub, each, since=since)
            await asyncio.sleep(0.001)
        is_over = True
        end = await sending
        await publish(end, size=5000)
        await eventually(lambda: all(numbers(each)[-1] == end for each in crowd))
        for each in crowd:
            assert numbers(each) == [*range(1, end + 1)]


async def test_join_fails_while_the_store_is_away(streams, publish):
    member = Member("1")
    async with members(Member("stays"), member) as hub:
        streams.is_away = True
        for options in ({}, {"since": LONG_AGO}, {"last": 3}):
            with pytest.raises(BackendError):
                await join(hub, member, **options)
            await eventually(lambda: "g" not in layer_groups())
        streams.is_away = False
        await join(hub, member)
        await publish(0)
        await eventually(lambda: numbers(member) == [0])


async def test_store_that_is_away_delays_those_that_catch_up(streams, publish):
    reader = Reader("1")
    since = await publish(0)
    await publish(1, 400)
    async with members(reader) as hub:
        await join(hub, reader, since=since)
        streams.is_away = True
        reader.may_read.set()
        await asyncio.sleep(0.02)
        streams.is_away = False
        for _ in range(3):
            reader.may_read.set()
            await asyncio.sleep(0)
        await eventually(lambda: reader.may_read.set() or len(reader.received) >= 399)
        assert numbers(reader) == [*range(1, 400)]


async def test_member_catches_up_whatever_fails(streams, publish, caplog):
    class Failing(Member):
        def has_room(self):
            return False

        async def until_drained(self):
            if not caplog.records:
                raise KeyError("a bug")

    member = Failing("1")
    since = await publish(0)
    await publish(1, 4)
    async with members(member) as hub:
        await join(hub, member, since=since)
        await eventually(lambda: len(member.received) >= 3)
        assert numbers(member) == [1, 2, 3]
    (error,) = errors_of(caplog)
    assert "could not catch up" in error.getMessage()


async def test_member_may_ask_again(streams, publish):
    member = Member("1")
    since = await publish(0)
    middle = await publish(1, 3)
    async with members(member) as hub:
        await join(hub, member)
        start = await join(hub, member)
        assert (start.cursor, member.received) == (middle, [])
        assert (await join(hub, member, since=since)).is_whole
        assert numbers(member) == [1, 2]
        await publish(3)
        await eventually(lambda: numbers(member) == [1, 2, 3])


async def test_member_that_catches_up_may_ask_for_its_position(streams, publish):
    reader = Reader("1")
    since = await publish(0)
    await publish(1, 600)
    async with members(reader) as hub:
        await join(hub, reader, since=since)
        had = envelopes(reader)[-1]["cursor"]
        assert (await join(hub, reader)).cursor == had


async def test_groups_that_are_joined_together_start_together(streams, publish):
    member = Member("1")
    since = {group: await publish(0, group=group) for group in "abc"}
    for group in "abc":
        await publish(1, 3, group=group)
    async with members(member) as hub:
        streams.asked.clear()
        streams.reads.clear()
        joinings = [Joining(group, TTL_SECONDS, since[group], to=group) for group in "ab"]
        joinings += [Joining("c", TTL_SECONDS, to="c"), Joining("plain")]
        starts = await hub.join_all(member, joinings)
        assert streams.asked == [["a", "b", "c"]]
        assert sorted(streams.reads) == ["a", "b"]
        assert [starts[group].is_whole for group in ("a", "b", "c")] == [True, True, None]
        assert starts["plain"].cursor is None
        assert starts["c"].cursor > since["c"]
        assert numbers(member) == [1, 2, 1, 2]


async def test_what_the_store_lost_is_not_read_again_from_a_kept_page(streams, publish):
    reader = Reader("1")
    reader.has_room = lambda: False
    since = await publish(0)
    await publish(1, 3)
    async with members(Member("stays"), reader) as hub:
        await join(hub, reader, since=since)
        await publish(3)
        reader.may_read.set()
        await eventually(lambda: len(reader.received) >= 2)
        streams.reads.clear()
        streams.lose_last("g", 3)
        streams.may_read.clear()
        reader.may_read.set()
        await eventually(lambda: streams.reads)
        await publish(4)
        streams.may_read.set()
        await eventually(lambda: reader.may_read.set() or 4 in numbers(reader))
        assert numbers(reader) == [1, 2, 4]


async def test_position_ahead_of_the_stream_goes_back(streams, publish):
    """As after a failover that lost the last messages."""
    member = Member("1")
    top = await publish(0)
    async with members(member) as hub:
        start = await join(hub, member, since="9" * 13 + "-000000")
        assert (start.cursor, start.is_whole) == (top, True)
        await publish(1)
        await eventually(lambda: numbers(member) == [1])


async def test_member_that_catches_up_and_asks_again_misses_nothing(streams, publish):
    """As when a second part of a page asks for the last messages of its room."""
    reader = Reader("1")
    since = await publish(0, size=5000)
    await publish(1, 600, size=5000)
    async with members(reader) as hub:
        await join(hub, reader, since=since)
        had = envelopes(reader)[-1]["cursor"]
        assert (await join(hub, reader, last=5)).cursor == had
        await publish(600, size=5000)
        await eventually(lambda: reader.may_read.set() or len(reader.received) >= 600)
        assert numbers(reader) == [*range(1, 601)]


async def test_live_member_whose_messages_are_late_and_asks_again_misses_nothing(streams, publish):
    member = Member("1")
    layer = use(LossyLayer())
    async with members(member) as hub:
        await join(hub, member)
        layer.is_deaf = True
        middle = await publish(0, 3)
        await publish(3, 5)
        start = await join(hub, member, since=middle)
        await eventually(lambda: numbers(member) == [*range(5)])
        assert start.is_whole


@pytest.mark.parametrize("options", [{}, {"last": 0}])
async def test_live_member_that_asks_again_during_a_delivery_misses_nothing(
    streams, publish, options
):
    first, *others = everyone = [Member(str(number)) for number in range(2000)]
    late, is_delivering = others[-1], asyncio.Event()
    async with members(*everyone) as hub:
        for member in everyone:
            await join(hub, member)
        first.deliver = lambda text: is_delivering.set()
        publishing = asyncio.create_task(publish(1))
        await is_delivering.wait()
        assert late.received == []
        start = await join(hub, late, **options)
        had = [each["payload"] for each in envelopes(late) if each["cursor"] <= start.cursor]
        await publishing
        await publish(2)
        await eventually(lambda: 2 in numbers(late))
        later = [each["payload"] for each in envelopes(late) if each["cursor"] > start.cursor]
        assert had + later == [1, 2]
        # Messages before the start have come before it.
        assert numbers(late)[: len(had)] == had


@pytest.mark.parametrize("seed", range(8))
async def test_member_that_asks_again_at_random_misses_nothing(streams, publish, seed):
    chance, layer, reader = random.Random(seed), use(LossyLayer()), Reader("1")
    cursors = []

    async def send(count):
        for _ in range(count):
            cursors.append(await publish(len(cursors), size=5000))

    await send(chance.randrange(1, 900))
    first = chance.randrange(len(cursors))
    async with members(reader) as hub:
        await join(hub, reader, since=cursors[first])
        for _ in range(30):
            layer.is_deaf = chance.random() < 0.3
            await send(chance.randrange(20))
            since = cursors[chance.randrange(first, len(cursors))]
            options = [{"last": chance.randrange(300)}, {"since": since}, {}]
            await join(hub, reader, **chance.choice(options))
            if chance.random() < 0.5:
                reader.may_read.set()
            await asyncio.sleep(0)
        layer.is_deaf = False
        await send(1)
        await eventually(lambda: reader.may_read.set() or numbers(reader)[-1] == len(cursors) - 1)
        had = first
        for number in numbers(reader):
            assert number <= had + 1
            had = max(had, number)


async def test_members_of_a_busy_group_that_ask_again_and_again_miss_nothing(streams, publish):
    everyone = [Member(str(number)) for number in range(400)]

    async def ask(member):
        starts = []
        while len(member.received) < 600:
            start = await join(hub, member)
            starts.append((len(member.received), start.cursor))
            await asyncio.sleep(0)
        return starts

    async with members(*everyone) as hub:
        for member in everyone:
            await join(hub, member)
        restless = everyone[::40]
        asking = [asyncio.create_task(ask(member)) for member in restless]
        for number in range(0, 600, 20):
            await publish(number, number + 20)
            await asyncio.sleep(0)
        for member, starts in zip(restless, await asyncio.gather(*asking), strict=True):
            assert numbers(member) == [*range(600)]
            found = [each["cursor"] for each in envelopes(member)]
            assert all(found[count] > cursor for count, cursor in starts if found[count:])


async def test_many_that_catch_up_let_others_have_their_turn(streams, publish):
    readers = [Member(str(number)) for number in range(100)]
    cursors = [await publish(number, size=5000) for number in range(1000)]
    pages_of_turns = [0]

    async def count_turns():
        while True:
            await asyncio.sleep(0)
            pages_of_turns.append(0)

    async with members(*readers) as hub:
        await asyncio.gather(*(join(hub, reader) for reader in readers))
        counting = asyncio.create_task(count_turns())
        for reader in readers:
            reader.has_room = lambda: False

            def deliver_all(texts, reader=reader):
                pages_of_turns[-1] += 1
                reader.received.extend(texts)

            reader.deliver_all = deliver_all
        pairs = zip(readers, cursors, strict=False)
        await asyncio.gather(*(join(hub, reader, since=since) for reader, since in pairs))
        await eventually(lambda: all(numbers(reader)[-1:] == [999] for reader in readers))
        counting.cancel()
        assert [numbers(reader)[0] for reader in readers] == [*range(1, 101)]
        assert max(pages_of_turns) <= 16
