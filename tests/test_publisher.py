"""What threads publish: the way the layer itself would, on few connections that are kept."""

import asyncio
import os
import threading
import time

import pytest
from channels.layers import channel_layers, get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer

from pm_realtime import publisher, send_to_room
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import sending
from pm_realtime.observability import outage
from pm_realtime.publisher import POOL_SIZE, get_publisher
from tests.support.valkey import Valkey

PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


class OwnWay(RedisPubSubChannelLayer):
    """A site's own layer, which sends in its own way."""

    async def group_send(self, group, message):
        await self._get_layer().group_send(group, message)


@pytest.fixture
def use(settings):
    """Use a layer: ``use(url, ...)``; nothing of it is left after the test."""

    def use(*hosts, path=PUBSUB, **config):
        config = {"hosts": list(hosts), **config}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": path, "CONFIG": config}}
        return get_channel_layer()

    yield use
    channel_layers.backends.clear()
    sending._refusal = None
    outage.end(sending._publish)


async def received_by(layer, count, send):
    """What a channel in the group ``g`` receives of what ``send`` sends."""
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await layer.group_send("g", {"n": "ready"})
    async with asyncio.timeout(10):
        assert await layer.receive(channel) == {"n": "ready"}
        await asyncio.to_thread(send)
        found = [(await layer.receive(channel))["n"] for _ in range(count)]
    await layer.flush()
    return found


def connections(server):
    """How many connections the server has, but for the one that asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"prefix": "mine"},
        {"symmetric_encryption_keys": ["a secret"]},
        {"serializer_format": "json"},
    ],
    ids=str,
)
async def test_the_layer_understands_what_is_published(valkey, use, config):
    layer = use(valkey.url, **config)

    def send():
        for n in range(100):
            sending.send("g", {"n": n})

    assert await received_by(layer, 100, send) == list(range(100))
    assert get_publisher(layer, 1) is not None


async def test_over_several_servers_each_group_is_on_its_own(valkey, use):
    other = Valkey()
    try:
        layer = use(valkey.url, other.url)
        channel = await layer.new_channel()
        for n in range(20):
            await layer.group_add(f"g{n}", channel)
            await layer.group_send(f"g{n}", {"n": "ready"})
        async with asyncio.timeout(10):
            assert len([await layer.receive(channel) for _ in range(20)]) == 20
            for n in range(20):
                await asyncio.to_thread(sending.send, f"g{n}", {"n": n})
            assert {(await layer.receive(channel))["n"] for _ in range(20)} == set(range(20))
        await layer.flush()
    finally:
        other.kill()


def test_many_threads_share_few_connections(valkey, use):
    use(valkey.url)

    def push():
        for n in range(100):
            send_to_room("r", "news", n)

    threads = [threading.Thread(target=push) for _ in range(16)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, connections(valkey))
    for thread in threads:
        thread.join()
    assert 1 <= most <= POOL_SIZE


def test_a_forked_child_publishes_on_sockets_of_its_own(valkey, use):
    use(valkey.url)
    send_to_room("r", "news")
    with valkey.client() as client:
        before = {each["id"] for each in client.client_list()}
        for n in range(10):
            child = os.fork()
            if not child:
                try:
                    send_to_room("r", "news", n)
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        send_to_room("r", "news")
        assert {each["id"] for each in client.client_list()} == before
        assert client.info("commandstats")["cmdstat_publish"]["calls"] == 12


def test_a_connection_that_was_closed_meanwhile_is_opened_again(valkey, use):
    use(valkey.url)
    send_to_room("r", "news")
    valkey.kill()
    valkey.start()
    send_to_room("r", "news")


def test_the_caller_is_told_when_redis_is_away(valkey, use, caplog):
    use(valkey.url)
    valkey.kill()
    for _ in range(3):
        with pytest.raises(OutageError, match=f"Redis at 127.0.0.1:{valkey.port}"):
            send_to_room("r", "news")
    valkey.start()
    send_to_room("r", "news")
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "WARNING"]


def test_of_those_who_would_wait_for_a_frozen_redis_one_does(valkey, use):
    use(valkey.url)
    send_to_room("r", "news")
    with valkey.frozen():
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(OutageError):
                send_to_room("r", "news")
        assert time.monotonic() - started < 2 * sending.TIMEOUT


def test_after_a_failure_the_way_is_tried_again(valkey, use, monkeypatch):
    monkeypatch.setattr(sending, "REFUSAL", 0)
    use(valkey.url)
    with valkey.frozen(), pytest.raises(OutageError):
        send_to_room("r", "news")
    send_to_room("r", "news")


def test_another_layer_gets_a_publisher_of_its_own(valkey, use):
    first = get_publisher(use(valkey.url), 1)
    assert get_publisher(get_channel_layer(), 1) is first
    assert get_publisher(use(valkey.url), 1) is not first


@pytest.mark.parametrize("path", ["channels_redis.core.RedisChannelLayer", f"{__name__}.OwnWay"])
async def test_a_layer_with_a_way_of_its_own_is_asked_itself(valkey, use, path):
    layer = use(valkey.url, path=path)
    assert get_publisher(layer, 1) is None
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await asyncio.to_thread(sending.send, "g", {"type": "pm_realtime.push", "n": 1})
    async with asyncio.timeout(10):
        assert (await layer.receive(channel))["n"] == 1


async def test_options_that_only_the_layer_understands_leave_it_to_the_layer(valkey, use):
    asked = []

    async def on_connect(connection):
        asked.append(connection)
        await connection.on_connect()

    layer = use({"address": valkey.url, "redis_connect_func": on_connect})
    assert get_publisher(layer, 1) is None
    assert await received_by(layer, 1, lambda: sending.send("g", {"n": 1})) == [1]
    assert asked


def test_a_layer_that_has_changed_inside_is_asked_itself(valkey, use, monkeypatch):
    monkeypatch.setattr(publisher, "RedisPubSubLoopLayer", None)
    layer = use(valkey.url)
    assert get_publisher(layer, 1) is None
    send_to_room("r", "news")
