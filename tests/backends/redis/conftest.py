import os

import pytest
import redis
from channels.layers import channel_layers

from tests.backends.redis.support import PATH
from tests.support.valkey import Valkey


@pytest.fixture
def use(settings):
    """Use a layer on these hosts, with rooms that are open to everybody."""

    def use(layer, *hosts):
        config = {"BACKEND": layer, "CONFIG": {"hosts": list(hosts)}}
        settings.CHANNEL_LAYERS = {"default": config}
        settings.PM_REALTIME = {"DEFAULT_ROOM": {"public": True}}

    yield use
    channel_layers.backends.clear()


@pytest.fixture(scope="session")
def shared_url():
    """``REDIS_URL``, or a server for all tests that leave it running."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    server = Valkey()
    yield server.url
    server.kill()


@pytest.fixture
def url(shared_url, settings, memory_layer):
    """The shared server without keys of this package and of layers; the settings name it."""
    with redis.Redis.from_url(shared_url) as client:
        for pattern in ("pm_realtime:*", "asgi*"):
            for key in client.scan_iter(pattern):
                client.delete(key)
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": shared_url}
    return shared_url


@pytest.fixture
def client(url):
    """A client of that server."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.fixture
def server(settings, memory_layer):
    """A server for one test; the settings name it."""
    server = Valkey()
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": server.url}
    yield server
    server.kill()
