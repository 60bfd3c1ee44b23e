"""Two sites on one Redis neither hear nor count each other."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from pm_realtime import aget_stats, asend_to_user
from pm_realtime.backends import get_backend
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER
from tests.contracts.backend import add_all
from tests.support.helpers import Connection

#: The other site sends to everything that has the same name there.
OTHER = """
import django; django.setup()
import pm_realtime
from pm_realtime import (
    broadcast, disconnect_user, get_stats, refresh_user, send_to_role, send_to_room, send_to_user
)
send_to_user(USER, "foreign")
send_to_room("r", "foreign")
send_to_role("user", "foreign")
broadcast("foreign")
refresh_user(USER)
disconnect_user(USER)
assert get_stats()["totalConnections"] == 0, get_stats()
"""


def layers(path, address, prefix="asgi"):
    host = {"address": address, "socket_timeout": None}
    return {"default": {"BACKEND": path, "CONFIG": {"hosts": [host], "prefix": prefix}}}


def run_other(user, channel_layers, **keys):
    done = subprocess.run(
        [sys.executable, "-c", OTHER.replace("USER", repr(str(user.pk)))],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path),
            "TEST_CHANNEL_LAYERS": json.dumps(channel_layers),
            "TEST_PM_REALTIME": json.dumps(keys),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
@pytest.mark.parametrize("other", [(1, "asgi", ""), (0, "asgi", "shop"), (0, "other", "")])
@pytest.mark.usefixtures("memory_layer")
async def test_other_site_is_neither_heard_nor_counted(settings, user, valkey, path, other):
    address = valkey.url.removesuffix("/0")
    settings.CHANNEL_LAYERS = layers(path, address)
    database, prefix, namespace = other
    others = layers(path, f"{address}/{database}", prefix)
    async with Connection(user=user) as connection:
        await connection.subscribe("r")
        await asyncio.to_thread(run_other, user, others, NAMESPACE=namespace)
        await asend_to_user(user, "own")
        assert await connection.types_so_far() == ["own"]
        assert (await aget_stats())["roomStats"] == {"r": 1}


@pytest.mark.usefixtures("memory_layer")
async def test_namespaces_have_limits_of_their_own(settings, valkey):
    settings.CHANNEL_LAYERS = layers(PUBSUB_LAYER, valkey.url)
    backends = {}
    for namespace in ("", "one", "{two}:*", "\ud800"):
        settings.PM_REALTIME = {"NAMESPACE": namespace}
        backend = backends[namespace] = get_backend()
        await add_all(backend, f"of-{len(backends)}", user_id="1", limit=1)
    for number, backend in enumerate(backends.values(), 1):
        (found,) = await backend.get_user_connections("1")
        assert found.connection_id == f"of-{number}"
        await backend.remove(f"of-{number}")


def test_keys_of_all_namespaces_are_those_of_the_acl(settings, valkey):
    settings.CHANNEL_LAYERS = layers(PUBSUB_LAYER, valkey.url)
    settings.PM_REALTIME = {"NAMESPACE": "shop"}

    async def keys():
        await add_all(get_backend(), "a")
        with valkey.client() as client:
            found = client.keys("*")
        await get_backend().remove("a")
        return found

    assert all(key.startswith("pm_realtime:{asgi}:") for key in asyncio.run(keys()))
