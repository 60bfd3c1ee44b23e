import asyncio
import os
import warnings

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers

from pm_realtime.backends.memory_streams import BYTES_PER_STREAM, MemoryStreams
from pm_realtime.backends.streams import MAX_SEQUENCE, Page, Position, Publication
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import get_layer, sending
from pm_realtime.layer.sending import start_serving, stop_serving
from tests.contracts.streams import (
    GROUP,
    LONG_AGO,
    StreamsContract,
    message,
    publish_all,
    read_all,
    top_of,
)


@pytest.fixture
def streams(clock, memory_layer):
    return MemoryStreams(lambda: clock.now)


@pytest.fixture(autouse=True)
async def received(memory_layer):
    channel_layers.backends.clear()
    layer, loop = get_layer(), asyncio.get_running_loop()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    start_serving(loop)

    async def receive():
        return await asyncio.wait_for(layer.receive(channel), 5)

    yield receive
    stop_serving(loop)
    channel_layers.backends.clear()


class TestMemoryStreams(StreamsContract):
    async def test_clock_that_steps_back_keeps_the_order(self, streams, clock):
        birth = await top_of(streams)
        first = await publish_all(streams, "a")
        clock.now -= 3600
        assert await publish_all(streams, "b") > first
        assert await read_all(streams, birth) == (["a", "b"], True)

    async def test_all_streams_together_are_bounded(self, streams, configure):
        configure(HISTORY_MAX_BYTES=20 * (BYTES_PER_STREAM + 1000))
        births = {}
        for group in ("g0", "g1", "g2", "g3"):
            births[group] = await top_of(streams, group)
            await publish_all(streams, *["x" * 1000] * 8, group=group)
            await read_all(streams, births["g0"], "g0")  # It stays in use.
        assert await read_all(streams, births["g1"], "g1") == ([], False)
        texts, is_whole = await read_all(streams, births["g3"], "g3")
        assert (len(texts), is_whole) == (8, True)
        assert await read_all(streams, births["g0"], "g0") == (["x" * 1000] * 8, True)

    async def test_stream_that_alone_is_over_the_bound_keeps_its_end(self, streams, configure):
        configure(HISTORY_MAX_BYTES=5000)
        birth = await top_of(streams)
        await publish_all(streams, *[f"{n}" + "x" * 1000 for n in range(9)])
        texts, is_whole = await read_all(streams, birth)
        assert [text[0] for text in texts] == ["6", "7", "8"]
        assert not is_whole

    async def test_forgotten_stream_is_born_after_all_others(self, streams, configure, clock):
        old = (await publish_all(streams, "a"))[-1]
        configure(HISTORY_MAX_BYTES=1)
        await publish_all(streams, "b", group="other")
        clock.now -= 60
        assert await top_of(streams) > old
        assert await read_all(streams, old) == ([], False)

    async def test_keys_are_bounded_too(self, streams, configure):
        configure(HISTORY_MAX_BYTES=10_000)
        for number in range(100):
            await streams.publish(message("x", key=str(number), size=0))
        assert (await streams.publish(message("x", key="99"))).is_repeated
        assert not (await streams.publish(message("x", key="0", size=0))).is_repeated

    async def test_key_that_is_used_again_counts_once(self, streams, clock):
        long, short = message("x", key="long", size=0), message("x", key="short", size=0)
        await streams.publish(long)
        before = (await streams.get_stats()).size_bytes
        for _ in range(3):
            await streams.publish(short._replace(key_ttl_seconds=1))
            clock.now += 2
        assert (await streams.get_stats()).size_bytes == 2 * before

    async def test_all_publishers_hand_over_in_the_order_of_the_stream(self, streams, received):
        """Threads, tasks of the loop that serves sockets, and another loop."""

        async def in_tasks(name):
            for number in range(50):
                await streams.publish(message(f"{name} {number}"))
                await asyncio.sleep(0)

        def in_thread(name):
            for number in range(50):
                streams.publish_from_thread(message(f"{name} {number}"))

        await asyncio.gather(
            *(asyncio.to_thread(in_thread, f"thread {n}") for n in range(3)),
            asyncio.to_thread(lambda: asyncio.run(in_tasks("other loop"))),
            *(in_tasks(f"task {n}") for n in range(3)),
        )
        cursors = [(await received())["cursor"] for _ in range(350)]
        assert cursors == sorted(set(cursors))

    async def test_task_that_is_cancelled_leaves_what_waits_to_another(self, streams, received):
        """A layer of the site may wait."""
        going_on, group_send = asyncio.Event(), get_layer().group_send

        async def wait_and_send(group, message):
            await going_on.wait()
            await group_send(group, message)

        get_layer().group_send = wait_and_send
        first = asyncio.create_task(streams.publish(message("lost")))
        await asyncio.sleep(0)
        await streams.publish(message("a"))
        await asyncio.to_thread(streams.publish_from_thread, message("b"))
        first.cancel()
        going_on.set()
        assert [(await received())["text"] for _ in range(2)] == ["a", "b"]

    async def test_warning_handler_may_push(self, streams, monkeypatch):
        """Such as a handler of logs that shows warnings to admins."""
        stop_serving(asyncio.get_running_loop())
        monkeypatch.setattr(sending, "_expects_sockets", False)
        monkeypatch.setattr(sending, "_has_warned", False)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            monkeypatch.setattr(
                warnings,
                "showwarning",
                lambda *args, **kwargs: streams.publish_from_thread(message("a warning")),
            )
            await asyncio.wait_for(streams.publish(message("a")), 5)
        assert await read_all(streams, LONG_AGO) == (["a", "a warning"], False)

    def test_forked_child_has_streams_of_its_own(self, streams):
        streams.publish_from_thread(message("of the parent"))
        with streams._lock:  # As if another thread held it.
            child = os.fork()
            if child == 0:
                try:
                    warnings.simplefilter("ignore")  # It serves no sockets.
                    (read,) = asyncio.run(read_all(streams, LONG_AGO))[:1]
                    streams.publish_from_thread(message("of the child"))
                    os._exit(read != [])
                finally:
                    os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("options", [{}, {"is_only_process": True}])
async def test_nothing_is_kept_behind_a_layer_of_several_processes(far, options):
    """Each process would have cursors of its own. Keys are remembered for what arrived."""
    streams = MemoryStreams(**options)
    is_kept = bool(options)
    assert streams.keeps_messages == is_kept
    birth = await top_of(streams)
    receipts = [
        await streams.publish(message("a")),
        await asyncio.to_thread(streams.publish_from_thread, message("b", key="k")),
        await streams.publish(message("b", key="k")),
    ]
    assert [receipt.cursor is not None for receipt in receipts] == [is_kept] * 3
    assert [receipt.is_repeated for receipt in receipts] == [False, False, True]
    assert ["cursor" in sent for _, sent in far.sent] == [is_kept] * 2
    assert await read_all(streams, birth) == (["a", "b"] if is_kept else [], True)


async def test_key_of_a_message_that_could_not_be_sent_is_free(far):
    streams = MemoryStreams()
    far.is_away = True
    for publish in (streams.publish, sync_to_async(streams.publish_from_thread)):
        with pytest.raises(OutageError):
            await publish(message("a", key="k"))
    far.is_away = False
    receipts = [await streams.publish(message("a", key="k")) for _ in range(2)]
    assert [receipt.is_repeated for receipt in receipts] == [False, True]
    assert len(far.sent) == 1


@pytest.mark.parametrize(
    ("position", "now_ms", "expected"),
    [
        (Position(1000, 7), 1001, Position(1001, 0)),
        (Position(1000, 7), 1000, Position(1000, 8)),
        (Position(1000, 7), 1, Position(1000, 8)),
        (Position(1000, MAX_SEQUENCE), 1000, Position(1001, 0)),
    ],
)
def test_next_position(position, now_ms, expected):
    assert position.next(now_ms) == expected


@pytest.mark.parametrize(
    "text",
    ["", "1", "1764520000123-00004", "1764520000123_000042", "176452000012३-000042", "x" * 20],
)
def test_text_that_is_no_cursor(text):
    with pytest.raises(ValueError, match="expected a cursor"):
        Position.read(text)


@pytest.mark.parametrize(
    ("after", "first_previous", "top", "is_whole"),
    [
        ("5", "5", "9", True),
        ("6", "5", "9", True),
        ("4", "5", "9", False),
        ("9", None, "9", True),
        ("9.5", None, "9", True),
        ("8", None, "9", False),
    ],
)
def test_page_is_whole_if_nothing_is_missing_before_it(after, first_previous, top, is_whole):
    publications = [Publication("9", first_previous, "text")] if first_previous else []
    assert Page.of(after, publications, top).is_whole == is_whole
