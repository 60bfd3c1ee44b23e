"""A hub over a layer that loses messages, with streams that fail on command."""

import json

import pytest

from pm_realtime.backends import StreamMessage
from pm_realtime.hub import Hub, use_hub
from pm_realtime.streams import CheckTimings
from tests.support.hubs import use
from tests.support.lossy import FaultyStreams, LossyLayer

TTL_SECONDS = 60


@pytest.fixture
async def layer(memory_layer):
    return use(LossyLayer())


@pytest.fixture
async def streams(layer, own_streams):
    """Streams of a hub that checks positions only after a doubt."""
    use_hub(Hub(check_timings=CheckTimings(period_seconds=600, retry_seconds=0.02)))
    streams = FaultyStreams()
    own_streams(streams)
    return streams


@pytest.fixture
def publish(streams):
    """``await publish(first, end)``: the numbers from ``first`` up to ``end``, without it."""

    async def publish(first, end=None, group="g", size=500, exclude=None):
        for number in range(first, first + 1 if end is None else end):
            text = json.dumps({"payload": number})
            message = StreamMessage(group, text, exclude, size, TTL_SECONDS)
            receipt = await streams.publish(message)
        return receipt.cursor

    return publish
