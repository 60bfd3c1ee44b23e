"""Presence for code in processes without sockets: workers, shells, management commands."""

import asyncio
import json
import subprocess
import sys

import pytest

from pm_realtime.layer import PUBSUB_LAYER
from tests.backends.redis.support import environment
from tests.backends.redis.test_two_sites import layers
from tests.support.helpers import Connection

ROOMS = {"hall": {"public": True, "presence": True}}
WORKER = """
import asyncio, django, json, sys; django.setup()
from pm_realtime import aset_presence, get_presence, is_present, set_presence
user, connection_id = sys.argv[1:]
print(json.dumps([get_presence("hall").total, is_present(user, "hall"), is_present(99, "hall")]))
set_presence(user, "hall", {"by": "user"}, ttl=60)
asyncio.run(aset_presence(connection_id, "hall", {"by": "connection"}))
print(json.dumps([each.state for each in get_presence("hall").members]))
"""


def work(user, connection_id, channel_layers, **keys):
    """The answers that a worker got, and the states after its calls."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", WORKER, str(user.pk), connection_id],
        env={
            **environment(),
            "TEST_CHANNEL_LAYERS": json.dumps(channel_layers),
            "TEST_PM_REALTIME": json.dumps({"ROOMS": ROOMS, **keys}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("memory_layer")
async def test_worker_asks_and_sets_states(settings, configure, user, valkey):
    settings.CHANNEL_LAYERS = layers(PUBSUB_LAYER, valkey.url)
    configure(ROOMS=ROOMS)
    async with Connection(user=user) as connection:
        await connection.subscribe("hall")
        arguments = (user, connection.connection_id, settings.CHANNEL_LAYERS)
        own, of_another_site = await asyncio.gather(
            asyncio.to_thread(work, *arguments),
            asyncio.to_thread(work, *arguments, NAMESPACE="other"),
        )
        assert own == [[1, True, False], [{"by": "connection"}]]
        assert of_another_site == [[0, False, False], []]
        await connection.assert_presence("hall", members=[{"state": {"by": "connection"}}])
