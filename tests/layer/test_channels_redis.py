"""The adapter of channels-redis: the publisher of threads, lost subscriptions, socket timeouts."""

import asyncio
import contextlib
import logging
import os
import threading
import time

import pytest
from channels.layers import channel_layers, get_channel_layer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from pm_realtime import send_to_room
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer import (
    BLOCKING_SECONDS,
    CORE_LAYER,
    PUBSUB_LAYER,
    SUBSCRIPTIONS,
    adapter_for,
    channels_redis,
    sending,
    short_socket_timeout,
)
from pm_realtime.layer.adapter import LAYER_CALL_TIMEOUT_SECONDS
from pm_realtime.observability import outage
from pm_realtime.redis import default_socket_timeout
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, eventually
from tests.support.hubs import Member, members
from tests.support.valkey import Valkey


class SendingLayer(RedisPubSubChannelLayer):
    """A site's own layer, which sends in its own way."""

    async def group_send(self, group, message):
        await self._get_layer().group_send(group, message)


@pytest.fixture
def use(settings):
    """Use a layer: ``use(url, ...)``; nothing of it is left after the test."""

    def use(*hosts, path=PUBSUB_LAYER, **config):
        config = {"hosts": list(hosts), **config}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": path, "CONFIG": config}}
        return get_channel_layer()

    yield use
    channel_layers.backends.clear()
    sending.forget()


async def received_by(layer, count, send):
    """The messages that a channel in the group ``g`` receives when a thread runs ``send``."""
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await layer.group_send("g", {"n": "ready"})
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        assert await layer.receive(channel) == {"n": "ready"}
        await asyncio.to_thread(send)
        found = [(await layer.receive(channel))["n"] for _ in range(count)]
    await layer.flush()
    return found


def connections(server):
    """The number of the server's connections, without the one that asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


def send_soon(*arguments):
    """Send to a room as soon as threads are not refused any more."""
    deadline = time.monotonic() + EVENT_TIMEOUT_SECONDS
    while True:
        try:
            return send_to_room(*arguments)
        except OutageError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


# The publisher of threads


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
async def test_published_messages_are_those_of_the_layer(valkey, use, config):
    layer = use(valkey.url, **config)
    publisher = adapter_for(layer).publisher()

    def send():
        for n in range(100):
            publisher.send("g", {"n": n})

    assert await received_by(layer, 100, send) == list(range(100))


async def until_subscribed(layer, channel, groups):
    """Wait for a message of each of ``groups``: a server may read PUBLISH before SUBSCRIBE."""
    while groups:
        for group in groups:
            await layer.group_send(group, {"ready": group})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while groups:
                    groups.discard((await layer.receive(channel))["ready"])


async def test_publisher_sends_to_the_server_of_each_group(valkey, use):
    other = Valkey()
    try:
        layer = use(valkey.url, other.url)
        publisher = adapter_for(layer).publisher()
        channel = await layer.new_channel()
        for n in range(20):
            await layer.group_add(f"g{n}", channel)
        async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
            await until_subscribed(layer, channel, {f"g{n}" for n in range(20)})
            for n in range(20):
                await asyncio.to_thread(publisher.send, f"g{n}", {"n": n})
            numbers = set()
            while len(numbers) < 20:
                message = await layer.receive(channel)
                numbers |= {message["n"]} if "n" in message else set()
            assert numbers == set(range(20))
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
    assert 1 <= most <= 4


def test_forked_child_publishes_on_its_own_sockets(valkey, use):
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


def test_socket_that_the_server_closed_is_opened_again(valkey, use):
    use(valkey.url)
    send_to_room("r", "news")
    valkey.kill()
    valkey.start()
    send_to_room("r", "news")


def test_outage_raises_in_the_thread_and_is_logged_once(valkey, use, caplog):
    use(valkey.url)
    valkey.kill()
    for _ in range(3):
        with pytest.raises(OutageError, match=f"Redis at 127.0.0.1:{valkey.port}"):
            send_to_room("r", "news")
    valkey.start()
    send_to_room("r", "news")
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "WARNING"]


def test_only_one_thread_waits_for_a_frozen_redis(valkey, use):
    use(valkey.url)
    send_to_room("r", "news")
    with valkey.frozen():
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(OutageError):
                send_to_room("r", "news")
        assert time.monotonic() - started < 2 * LAYER_CALL_TIMEOUT_SECONDS


def test_threads_send_again_after_a_frozen_redis(valkey, use):
    use(valkey.url)
    with valkey.frozen(), pytest.raises(OutageError):
        send_to_room("r", "news")
    send_soon("r", "news")


def test_each_layer_has_its_own_publisher(valkey, use):
    first = adapter_for(use(valkey.url)).publisher()
    assert adapter_for(get_channel_layer()).publisher() is first
    assert adapter_for(use(valkey.url)).publisher() is not first


def test_publisher_of_a_former_layer_is_closed(valkey, use):
    publisher = adapter_for(use(valkey.url)).publisher()
    publisher.send("g", {"n": 1})
    assert connections(valkey) == 1
    adapter_for(use(valkey.url))
    assert connections(valkey) == 0
    publisher.send("g", {"n": 2})


@pytest.mark.parametrize("path", [CORE_LAYER, f"{__name__}.SendingLayer"])
async def test_layer_that_sends_in_its_own_way_has_no_publisher(valkey, use, path):
    layer = use(valkey.url, path=path)
    assert adapter_for(layer).publisher() is None
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await asyncio.to_thread(sending.send, "g", {"type": "test", "n": 1})
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        assert (await layer.receive(channel))["n"] == 1


async def test_options_that_only_the_layer_understands_need_the_layer(valkey, use):
    asked = []

    async def on_connect(connection):
        asked.append(connection)
        await connection.on_connect()

    layer = use({"address": valkey.url, "redis_connect_func": on_connect})
    assert adapter_for(layer).publisher() is None
    assert await received_by(layer, 1, lambda: sending.send("g", {"n": 1})) == [1]
    assert asked


def test_layer_that_changed_inside_sends_itself(valkey, use, monkeypatch):
    monkeypatch.setattr(channels_redis, "RedisPubSubLoopLayer", None)
    layer = use(valkey.url)
    assert adapter_for(layer).publisher() is None
    send_to_room("r", "news")


def test_hosts_that_cannot_be_used_raise_each_time(use):
    layer = use(("host", "no port"))
    for _ in range(2):
        with pytest.raises(BackendError, match=r"hosts\[0\].*'no port'"):
            adapter_for(layer).publisher()


# Lost subscriptions, which the layer only logs


@pytest.fixture
def pubsub():
    layer = RedisPubSubChannelLayer()
    adapter_for(layer).report_lost_subscriptions()
    return layer


def log_in_channels_redis(error):
    logger = logging.getLogger("channels_redis.pubsub")
    try:
        raise error
    except Exception:
        logger.exception("Unexpected exception in receive task")


async def test_tracebacks_of_lost_connections_become_one_outage(pubsub, caplog):
    adapter_for(pubsub).report_lost_subscriptions()
    was_suspected = asyncio.Event()
    outage.watch("test", was_suspected.set)
    try:
        for _ in range(3):
            log_in_channels_redis(ConnectionError("gone"))
        await asyncio.wait_for(was_suspected.wait(), EVENT_TIMEOUT_SECONDS)
        log_in_channels_redis(TypeError("a mistake"))
    finally:
        outage.unwatch("test")
        outage.end(SUBSCRIPTIONS)
    lost, traceback, back = caplog.records
    assert lost.getMessage().startswith("Lost the channel layer: gone. ")
    assert str(traceback.exc_info[1]) == "a mistake"
    assert back.getMessage().startswith("Back after")


def test_other_records_of_channels_redis_stay(pubsub, caplog):
    logging.getLogger("channels_redis.pubsub").warning("Something else")
    assert caplog.messages == ["Something else"]


async def test_lost_subscription_ends_with_the_next_probe(pubsub, far, caplog):
    async with members(Member("1")):
        log_in_channels_redis(ConnectionError("gone"))
        await eventually(lambda: len(caplog.messages) == 2)
    lost, back = caplog.messages
    assert lost.startswith("Lost the channel layer: gone. ")
    assert back.startswith("Back after")


# Socket timeouts of which an idle RedisChannelLayer dies


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([{"address": "redis://one", "socket_timeout": None}], None),
        ([{"address": "redis://one", "socket_timeout": 30}], None),
        ([{"host": "one", "socket_timeout": "x"}], None),
        (["redis://one?socket_timeout=30"], None),
        (["redis://one?socket_timeout=30", "redis://two?socket_timeout=3"], 3),
        (["redis://one?socket_timeout=5"], BLOCKING_SECONDS),
        (("redis://one?socket_timeout=2",), 2),
        ("redis://one?socket_timeout=2", 2),
    ],
)
def test_short_socket_timeout_is_found(hosts, expected):
    assert short_socket_timeout(hosts) == expected


@pytest.mark.parametrize("hosts", [None, [], ["redis://one"], [("one", 6379)], [{"host": "one"}]])
def test_host_without_a_timeout_has_the_default_of_redis_py(hosts):
    default = default_socket_timeout()
    is_short = default is not None and default <= BLOCKING_SECONDS
    assert short_socket_timeout(hosts) == (default if is_short else None)


# Forgotten channels


async def test_messages_for_forgotten_channels_are_dropped_from_the_core_layer(valkey):
    layer = RedisChannelLayer(hosts=[{"address": valkey.url, "socket_timeout": None}])
    adapter = adapter_for(layer)
    closed, open_ = await layer.new_channel(), await layer.new_channel()
    adapter.forget_channel(closed)
    await layer.send(closed, {"n": 1})
    await layer.send(open_, {"n": 2})
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        assert (await adapter.receive(open_))["n"] == 2
    assert closed in layer.receive_buffer
    adapter.forget_channel(open_)
    assert closed not in layer.receive_buffer
    await layer.close_pools()
