"""The tests of the contract in ``pm_realtime/backends/streams.py``, for every store.

A test class of a store inherits from :class:`StreamsContract` and has the fixtures ``streams`` (a
fresh store), ``received`` (an async function: the next push that members of ``GROUP`` get) and
``pass_time`` (an async function of seconds).
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from pm_realtime.backends.streams import (
    BYTES_PER_PAGE,
    CURSOR_LENGTH,
    MESSAGES_PER_PAGE,
    Position,
    Receipt,
    StreamMessage,
    Streams,
)

GROUP = "pm_realtime.room.abc"
TTL_SECONDS = 60
LONG_AGO = "0000000000000-000000"


def message(text, *, group=GROUP, exclude=None, size=500, ttl_seconds=TTL_SECONDS, key=None):
    return StreamMessage(group, text, exclude, size, ttl_seconds, key, 300)


async def publish_all(streams, *texts, **options):
    """Publish messages one after the other; their cursors."""
    return [(await streams.publish(message(text, **options))).cursor for text in texts]


async def read_all(streams, after, group=GROUP, ttl_seconds=TTL_SECONDS):
    """The texts of all pages after a cursor, and whether the first page was whole."""
    page = await streams.read(group, after, ttl_seconds)
    is_whole, texts = page.is_whole, []
    while page.publications:
        texts += [publication.text for publication in page.publications]
        after = page.publications[-1].cursor
        page = await streams.read(group, after, ttl_seconds)
        assert page.is_whole
    return texts, is_whole


async def top_of(streams, group=GROUP):
    (top,) = await streams.get_tops([group])
    return top


class StreamsContract:
    def test_is_a_store(self, streams):
        assert isinstance(streams, Streams)

    # --- positions

    async def test_new_stream_has_a_birth_that_stays(self, streams):
        birth = await top_of(streams)
        assert len(birth) == CURSOR_LENGTH
        assert await top_of(streams) == birth
        assert await read_all(streams, birth) == ([], True)

    async def test_tops_come_in_the_order_of_the_groups(self, streams):
        a, b = (
            await publish_all(streams, "a", group="a"),
            await publish_all(streams, "b", group="b"),
        )
        assert await streams.get_tops(["b", "a"]) == [*b, *a]
        assert await streams.get_tops([]) == []

    async def test_cursors_sort_in_the_order_of_the_stream(self, streams):
        birth = await top_of(streams)
        cursors = await publish_all(streams, *map(str, range(30)))
        assert [birth, *cursors] == sorted({birth, *cursors})
        assert await top_of(streams) == cursors[-1]
        assert all(len(cursor) == CURSOR_LENGTH for cursor in cursors)

    async def test_each_message_knows_the_one_before_it(self, streams):
        birth = await top_of(streams)
        cursors = await publish_all(streams, "a", "b", "c")
        page = await streams.read(GROUP, birth, TTL_SECONDS)
        found = [publication.previous for publication in page.publications]
        assert found == [birth, *cursors[:-1]]

    async def test_first_message_without_a_known_birth_has_one_before_it(self, streams):
        (cursor,) = await publish_all(streams, "a")
        page = await streams.read(GROUP, LONG_AGO, TTL_SECONDS)
        assert LONG_AGO < page.publications[0].previous < cursor
        assert not page.is_whole

    # --- reading

    async def test_reads_what_comes_after_a_cursor(self, streams):
        cursors = await publish_all(streams, "a", "b", "c", exclude="me")
        assert await read_all(streams, cursors[0]) == (["b", "c"], True)
        assert await read_all(streams, cursors[2]) == ([], True)
        page = await streams.read(GROUP, cursors[1], TTL_SECONDS)
        (last,) = page.publications
        assert last == (cursors[2], cursors[1], "c", "me")
        assert (page.top, page.is_last) == (cursors[2], True)

    async def test_groups_have_streams_of_their_own(self, streams):
        birth = await top_of(streams)
        await publish_all(streams, "theirs", group="other")
        await publish_all(streams, "ours")
        assert await read_all(streams, birth) == (["ours"], True)

    @pytest.mark.parametrize("text", ["", "é😀\x00\n", '{"a":"\\u0000"}', "x" * 100_000])
    async def test_texts_come_out_as_they_went_in(self, streams, text):
        birth = await top_of(streams)
        await publish_all(streams, text)
        assert await read_all(streams, birth) == ([text], True)

    async def test_page_ends_at_its_number_of_messages(self, streams):
        birth = await top_of(streams)
        count = MESSAGES_PER_PAGE + 1
        cursors = await publish_all(streams, *map(str, range(count)))
        page = await streams.read(GROUP, birth, TTL_SECONDS)
        assert len(page.publications) == MESSAGES_PER_PAGE
        assert (page.top, page.is_last) == (cursors[-1], False)
        assert await read_all(streams, birth) == ([*map(str, range(count))], True)

    async def test_page_ends_at_its_bytes_but_has_a_message(self, streams):
        birth = await top_of(streams)
        texts = ["ä" * (BYTES_PER_PAGE // 4), "b" * (BYTES_PER_PAGE // 4), "c" * BYTES_PER_PAGE * 2]
        await publish_all(streams, *texts)
        page = await streams.read(GROUP, birth, TTL_SECONDS)
        assert [publication.text for publication in page.publications] == texts[:2]
        page = await streams.read(GROUP, page.publications[-1].cursor, TTL_SECONDS)
        assert [publication.text for publication in page.publications] == texts[2:]
        assert page.is_last

    @pytest.mark.parametrize(("count", "expected"), [(0, []), (1, ["c"]), (2, ["b", "c"])])
    async def test_start_of_the_last_messages(self, streams, count, expected):
        await publish_all(streams, "a", "b", "c")
        start = await streams.find_start(GROUP, count, TTL_SECONDS)
        assert await read_all(streams, start) == (expected, True)

    async def test_start_of_more_messages_than_are_kept(self, streams):
        birth = await top_of(streams)
        assert await streams.find_start(GROUP, 5, TTL_SECONDS) == birth
        await publish_all(streams, "a", "b", "c", size=2)
        start = await streams.find_start(GROUP, 5, TTL_SECONDS)
        assert await read_all(streams, start) == (["b", "c"], True)

    # --- what is not kept any more

    async def test_size_trims_the_oldest(self, streams):
        birth = await top_of(streams)
        cursors = await publish_all(streams, "a", "b", "c", "d", size=2)
        assert await read_all(streams, birth) == (["c", "d"], False)
        assert await read_all(streams, cursors[0]) == (["c", "d"], False)
        assert await read_all(streams, cursors[1]) == (["c", "d"], True)

    async def test_age_hides_messages_in_a_busy_stream(self, streams, pass_time):
        birth = await top_of(streams)
        await publish_all(streams, "old", ttl_seconds=0.3)
        await pass_time(0.2)
        (young,) = await publish_all(streams, "young", ttl_seconds=0.3)
        await pass_time(0.2)
        assert await read_all(streams, birth, ttl_seconds=0.3) == (["young"], False)
        start = await streams.find_start(GROUP, 5, 0.3)
        assert await read_all(streams, start, ttl_seconds=0.3) == (["young"], True)
        assert await read_all(streams, young, ttl_seconds=0.3) == ([], True)

    async def test_position_outlives_the_log(self, streams, pass_time):
        (cursor,) = await publish_all(streams, "a", ttl_seconds=0.1)
        await pass_time(0.2)
        assert await read_all(streams, cursor, ttl_seconds=0.1) == ([], True)
        assert await read_all(streams, LONG_AGO, ttl_seconds=0.1) == ([], False)
        (later,) = await publish_all(streams, "b", ttl_seconds=0.1)
        assert later > cursor
        assert await read_all(streams, cursor, ttl_seconds=10) == (["b"], True)

    async def test_stream_that_keeps_nothing_has_no_positions(self, streams, received):
        birth = await top_of(streams)
        assert await publish_all(streams, "a", size=0) == [None]
        push = await received()
        assert (push["text"], "cursor" in push) == ("a", False)
        assert await read_all(streams, birth) == ([], True)

    # --- publishing

    async def test_members_get_the_message_with_its_position(self, streams, received):
        birth = await top_of(streams)
        cursors = await publish_all(streams, "a", "b", exclude="me")
        pushes = [await received(), await received()]
        assert [push["text"] for push in pushes] == ["a", "b"]
        assert [push["cursor"] for push in pushes] == cursors
        assert [push["previous"] for push in pushes] == [birth, cursors[0]]
        assert {(push["group"], push["exclude"]) for push in pushes} == {(GROUP, "me")}

    async def test_threads_publish_too(self, streams, received):
        birth = await top_of(streams)
        receipt = await asyncio.to_thread(streams.publish_from_thread, message("a"))
        assert (await received())["cursor"] == receipt.cursor
        assert await read_all(streams, birth) == (["a"], True)

    async def test_many_publishers_share_one_order(self, streams, received):
        birth = await top_of(streams)
        with ThreadPoolExecutor(4) as pool:
            loop = asyncio.get_running_loop()
            threads = [
                loop.run_in_executor(pool, streams.publish_from_thread, message(f"thread {n}"))
                for n in range(40)
            ]
            tasks = [streams.publish(message(f"task {n}")) for n in range(40)]
            receipts = await asyncio.gather(*threads, *tasks)
        texts, is_whole = await read_all(streams, birth)
        assert is_whole
        assert sorted(texts) == sorted(
            [f"{kind} {n}" for kind in ("task", "thread") for n in range(40)]
        )
        assert len({receipt.cursor for receipt in receipts}) == 80
        pushes = sorted([await received() for _ in range(80)], key=lambda push: push["cursor"])
        assert [push["text"] for push in pushes] == texts
        before = [birth, *(push["cursor"] for push in pushes)]
        assert [push["previous"] for push in pushes] == before[:-1]

    # --- idempotency keys

    async def test_repeated_key_publishes_once(self, streams, received):
        birth = await top_of(streams)
        first = await streams.publish(message("a", key="k"))
        again = await asyncio.to_thread(streams.publish_from_thread, message("b", key="k"))
        assert first == Receipt(first.cursor, is_repeated=False)
        assert again == Receipt(first.cursor, is_repeated=True)
        (last,) = await publish_all(streams, "c", key="other")
        assert await read_all(streams, birth) == (["a", "c"], True)
        assert [(await received())["cursor"] for _ in range(2)] == [first.cursor, last]

    async def test_key_belongs_to_its_group(self, streams):
        a = await streams.publish(message("a", key="k", group="a"))
        b = await streams.publish(message("b", key="k", group="b"))
        assert (a.is_repeated, b.is_repeated) == (False, False)

    async def test_key_of_a_stream_that_keeps_nothing(self, streams, received):
        receipts = [await streams.publish(message("a", key="k", size=0)) for _ in range(2)]
        assert receipts == [Receipt(None, is_repeated=False), Receipt(None, is_repeated=True)]
        await publish_all(streams, "last")
        assert [(await received())["text"] for _ in range(2)] == ["a", "last"]

    async def test_key_is_forgotten_after_its_time(self, streams, pass_time):
        short = message("a", key="k")._replace(key_ttl_seconds=0.1)
        assert not (await streams.publish(short)).is_repeated
        await pass_time(0.2)
        assert not (await streams.publish(short)).is_repeated

    async def test_two_publishers_with_one_key_at_once(self, streams):
        birth = await top_of(streams)
        for number in range(50):
            same = message(str(number), key=f"k{number}")
            receipts = await asyncio.gather(
                streams.publish(same), asyncio.to_thread(streams.publish_from_thread, same)
            )
            assert sorted(receipt.is_repeated for receipt in receipts) == [False, True]
        assert await read_all(streams, birth) == ([*map(str, range(50))], True)

    # --- counts

    async def test_stats_count_streams_and_messages(self, streams):
        await publish_all(streams, "one", "two")
        await publish_all(streams, "three", group="pm_realtime.room.other")
        stats = await streams.get_stats()
        assert stats.streams == 2
        assert stats.messages in (3, None)
        assert stats.size_bytes is None or stats.size_bytes > len("onetwothree")
        assert stats.is_complete

    async def test_store_that_forgot_begins_later(self, streams, pass_time):
        before = await publish_all(streams, "one", key="k")
        await streams.forget_all()
        await pass_time(0.01)
        assert await read_all(streams, before[-1]) == ([], False)
        after = await publish_all(streams, "two", key="k")
        assert after > before
        assert (await streams.get_stats()).streams == 1


def test_position_is_its_cursor():
    position = Position(1_764_520_000_123, 42)
    assert str(position) == "1764520000123-000042"
    assert Position.read(str(position)) == position
