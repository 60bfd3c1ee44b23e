"""Helpers for the tests of a site on Redis."""

import asyncio
import json
import os
import sys

from pm_realtime import asend_to_room, send_to_room
from pm_realtime.backends.redis import NodeTimings
from pm_realtime.hub import get_hub
from pm_realtime.observability import outage
from tests.support.helpers import eventually

PATH = "pm_realtime.backends.redis.RedisBackend"
FAST = NodeTimings(
    lease=0.6,
    renew_interval=0.1,
    retry_interval=0.1,
    settling=0.5,
    timeout=0.5,
    claim_lease=1.0,
    claim_renew_interval=0.1,
)
#: The timing of a node on a site.
TIMINGS = NodeTimings()


def environment(**keys):
    """The environment of another process, with ``keys`` in its settings."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TEST_PM_REALTIME": json.dumps({"BACKEND": PATH, **keys}),
    }


def node_of(backend):
    """The only node of ``backend``."""
    (node,) = backend._nodes.values()
    return node


def is_healthy():
    return get_hub().channel.is_healthy


async def until_heard_anew(seconds=5):
    """Wait for a probe that is sent now to come back from all servers."""
    outage.suspect()
    await asyncio.sleep(0)
    await eventually(is_healthy, seconds)


async def assert_pushes_arrive(connection, room):
    """Pushes from a thread and from an event loop arrive."""
    await asyncio.to_thread(send_to_room, room, "from-a-thread", {"n": 1})
    await connection.assert_push("from-a-thread", {"n": 1})
    await asend_to_room(room, "from-a-loop", {"n": 2})
    await connection.assert_push("from-a-loop", {"n": 2})
