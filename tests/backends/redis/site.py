"""What the tests of a site on Redis share."""

import asyncio

from pm_realtime import asend_to_room, send_to_room
from pm_realtime.hub import get_hub
from tests.support.helpers import eventually

PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE = "channels_redis.core.RedisChannelLayer"


def is_healthy():
    return get_hub()._channel.probe.is_healthy


async def until_heard_anew(seconds=5):
    """Wait for an echo that is sent now to come back from all servers."""
    get_hub()._channel.probe.doubt()
    await eventually(is_healthy, seconds)


async def assert_pushes_arrive(connection, room):
    """What a thread sends arrives, and what an event loop sends."""
    await asyncio.to_thread(send_to_room, room, "from-a-thread", {"n": 1})
    await connection.assert_push("from-a-thread", {"n": 1})
    await asend_to_room(room, "from-a-loop", {"n": 2})
    await connection.assert_push("from-a-loop", {"n": 2})
