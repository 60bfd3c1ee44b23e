"""The contract of streams on a real server, over each kind of channel layer."""

import asyncio

import pytest
import redis
from channels.layers import channel_layers

from pm_realtime.backends import get_backend
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER, get_layer
from tests.backends.redis.support import PATH
from tests.contracts.streams import GROUP, StreamsContract
from tests.support.valkey import Valkey


@pytest.fixture(scope="module")
def two_servers(shared_url):
    server = Valkey()
    yield [shared_url, server.url]
    server.kill()


@pytest.fixture
async def pass_time():
    return asyncio.sleep


class RedisContract(StreamsContract):
    layer = PUBSUB_LAYER
    options = {}
    number_of_hosts = 1

    @pytest.fixture
    def streams(self, settings, two_servers, memory_layer):
        for url in two_servers:
            with redis.Redis.from_url(url) as client:
                for key in client.scan_iter("pm_realtime:*"):
                    client.delete(key)
        hosts = [
            {"address": url, "socket_timeout": None} for url in two_servers[: self.number_of_hosts]
        ]
        config = {"hosts": hosts, **self.options}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": self.layer, "CONFIG": config}}
        settings.PM_REALTIME = {"BACKEND": PATH}
        yield get_backend().streams
        channel_layers.backends.clear()

    @pytest.fixture(autouse=True)
    async def received(self, streams):
        """As a hub, it drops what it had."""
        channel_layer = get_layer()
        channel = await channel_layer.new_channel()
        await channel_layer.group_add(GROUP, channel)
        last = set()

        async def receive():
            while True:
                push = await asyncio.wait_for(channel_layer.receive(channel), 5)
                cursor = push.get("cursor")
                if cursor is None or cursor not in last:
                    last.add(cursor)
                    return push

        yield receive
        await channel_layer.group_discard(GROUP, channel)


class TestPubSub(RedisContract):
    pass


class TestTwoServers(RedisContract):
    number_of_hosts = 2


class TestCore(RedisContract):
    layer = CORE_LAYER
    options = {"capacity": 1000}


class TestEncrypted(RedisContract):
    options = {"symmetric_encryption_keys": ["a key"]}
