import asyncio

import pytest
from channels.layers import channel_layers

from pm_realtime.backends.memory_streams import BYTES_PER_STREAM, MemoryStreams
from pm_realtime.backends.streams import MAX_SEQUENCE, Page, Position, Publication
from pm_realtime.layer import get_layer
from pm_realtime.layer.sending import start_serving, stop_serving
from tests.contracts.streams import (
    GROUP,
    StreamsContract,
    message,
    publish_all,
    read_all,
    top_of,
)


class Clock:
    """A clock that stands still, unless a test moves it."""

    def __init__(self):
        self.seconds = 1_764_520_000.123

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pass_time(clock):
    async def pass_time(seconds):
        clock.seconds += seconds

    return pass_time


@pytest.fixture
def streams(clock, memory_layer):
    return MemoryStreams(clock)


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
        clock.seconds -= 3600
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
        clock.seconds -= 60
        assert await top_of(streams) > old
        assert await read_all(streams, old) == ([], False)

    async def test_keys_are_bounded_too(self, streams, configure):
        configure(HISTORY_MAX_BYTES=10_000)
        for number in range(100):
            await streams.publish(message("x", key=str(number), size=0))
        assert (await streams.publish(message("x", key="99"))).is_repeated
        assert not (await streams.publish(message("x", key="0", size=0))).is_repeated


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
