"""A hub over a layer that loses messages, with streams that fail on command."""

import json

import pytest

from pm_realtime.backends import StreamMessage
from tests.support.hubs import use
from tests.support.lossy import LossyLayer, use_faulty_streams

TTL_SECONDS = 60


@pytest.fixture
async def layer(memory_layer):
    return use(LossyLayer())


@pytest.fixture
async def streams(layer, own_streams):
    return use_faulty_streams(own_streams)


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
