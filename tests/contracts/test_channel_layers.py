"""The contract of every channel layer and its adapter, the tests' fakes included.

A layer is used as the package uses it: one channel that receives, and groups to which is sent.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections import deque

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from pm_realtime.exceptions import OutageError
from pm_realtime.layer import LocalChannelLayer, adapter_for
from pm_realtime.redis import is_lost_connection
from tests.support.far_layer import FarLayer
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, eventually
from tests.support.hubs import LoggedLayer
from tests.support.valkey import Valkey

PREFIX = "pm_realtime."
#: Longer than RedisChannelLayer blocks, and than a socket of redis-py 8 stays silent by default.
SILENCE_SECONDS = 5.5

IN_PROCESS = {
    "local": LocalChannelLayer,
    "in-memory": lambda: InMemoryChannelLayer(capacity=10_000),
    "far": FarLayer,
    "logged": LoggedLayer,
}


def pubsub(*servers, **options):
    return RedisPubSubChannelLayer(hosts=[server.url for server in servers], **options)


def core(*servers, **options):
    hosts = [{"address": server.url, "socket_timeout": None} for server in servers]
    return RedisChannelLayer(hosts=hosts, capacity=10_000, **options)


ON_REDIS = {"pubsub": pubsub, "core": core}
every_layer = pytest.mark.parametrize("kind", [*IN_PROCESS, *ON_REDIS])
every_layer_on_redis = pytest.mark.parametrize("kind", ON_REDIS)


def is_marker(message):
    return "marker" in message


class Subject:
    """A layer, its adapter and one channel that receives."""

    def __init__(self, layer):
        self.layer = layer
        self.adapter = adapter_for(layer)
        self._markers = itertools.count()

    async def open(self):
        self.channel = await self.layer.new_channel(PREFIX)

    async def join(self, group):
        """Add the channel to ``group``; return when messages for it arrive."""
        await self.layer.group_add(group, self.channel)
        if not self.adapter.confirms_joins:
            await self.until_markers_arrive(group)

    async def until_markers_arrive(self, group):
        """Send markers to ``group`` until one of them is received; drop all messages before it."""
        sent = set()
        receiving = asyncio.create_task(self._receive_one_of(sent))
        async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
            while not receiving.done():
                sent.add(marker := next(self._markers))
                await self.layer.group_send(group, {"marker": marker})
                await asyncio.wait({receiving}, timeout=0.05 * len(sent))
        await receiving

    async def _receive_one_of(self, markers):
        while (await self.adapter.receive(self.channel)).get("marker") not in markers:
            pass

    async def send(self, group, *numbers):
        for number in numbers:
            await self.layer.group_send(group, {"n": number})

    async def receive(self, count):
        """The next messages, without markers."""
        found = []
        async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
            while len(found) < count:
                message = await self.adapter.receive(self.channel)
                if not is_marker(message):
                    found.append(message["n"])
        return found

    async def close(self):
        if isinstance(self.layer, RedisPubSubChannelLayer):
            await self.layer.flush()
        elif isinstance(self.layer, RedisChannelLayer):
            await self.layer.close_pools()


@pytest.fixture(scope="module")
def server():
    """A Valkey for the tests that leave it running."""
    server = Valkey()
    yield server
    server.kill()


@pytest.fixture
async def make():
    """Make a subject of a kind, on these servers."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(kind, *servers):
            if kind in IN_PROCESS:
                subject = Subject(IN_PROCESS[kind]())
            else:
                subject = Subject(ON_REDIS[kind](*servers, prefix=uuid.uuid4().hex))
            await subject.open()
            stack.push_async_callback(subject.close)
            return subject

        yield make


@pytest.fixture
async def subject(make, kind, server):
    return await make(kind, server)


def sockets(server):
    """The ids of the server's connections, without the one that asks."""
    with server.client() as client:
        return {each["id"] for each in client.client_list()} - {str(client.client_id())}


# Groups


@every_layer
async def test_messages_for_a_group_arrive_in_order(subject):
    await subject.join("g")
    await subject.send("g", *range(500))
    assert await subject.receive(500) == list(range(500))


@every_layer
async def test_order_is_kept_between_groups(subject):
    for group in ("g", "h"):
        await subject.join(group)
    for number in range(100):
        await subject.send("gh"[number % 2], number)
    assert await subject.receive(100) == list(range(100))


@every_layer
async def test_confirmed_join_receives_the_next_message(subject):
    for number in range(20):
        await subject.layer.group_add(f"g{number}", subject.channel)
        if subject.adapter.confirms_joins:
            await subject.send(f"g{number}", number)
            assert await subject.receive(1) == [number]
        else:
            await subject.until_markers_arrive(f"g{number}")


@every_layer
async def test_join_of_another_group_confirms_those_before_on_one_server(subject):
    for number in range(20):
        await subject.layer.group_add(f"g{number}", subject.channel)
    await subject.join("last")
    for number in range(20):
        await subject.send(f"g{number}", number)
    assert await subject.receive(20) == list(range(20))


@every_layer
async def test_channel_added_twice_receives_once(subject):
    await subject.join("g")
    await subject.join("g")
    await subject.send("g", 1, 2)
    assert await subject.receive(2) == [1, 2]


@every_layer
async def test_discard_ends_delivery(subject):
    for group in ("g", "h"):
        await subject.join(group)
    await subject.layer.group_discard("g", subject.channel)
    await subject.send("g", 1)
    await subject.send("h", 2)
    assert await subject.receive(1) == [2]


@every_layer
async def test_discarded_group_can_be_joined_again(subject):
    for number in range(5):
        await subject.join("g")
        await subject.send("g", number)
        assert await subject.receive(1) == [number]
        await subject.layer.group_discard("g", subject.channel)


@every_layer
async def test_discard_of_an_unknown_group_is_fine(subject):
    await subject.layer.group_discard("unknown", subject.channel)


@every_layer
async def test_group_without_members_drops_its_messages(subject):
    await subject.join("g")
    await subject.send("nobody", 1)
    await subject.send("g", 2)
    assert await subject.receive(1) == [2]


@every_layer
async def test_group_expiry_is_none_or_seconds(subject):
    expiry = getattr(subject.layer, "group_expiry", None)
    assert expiry is None or expiry > 60


@every_layer
async def test_group_for_probes_is_the_first_on_one_server(subject):
    assert subject.adapter.one_group_of_each_server("probe-{}".format) == ["probe-0"]


@every_layer_on_redis
@pytest.mark.parametrize("count", [2, 3])
async def test_groups_for_probes_reach_each_server(make, kind, count):
    with contextlib.ExitStack() as stack:
        servers = [Valkey() for _ in range(count)]
        for server in servers:
            stack.callback(server.kill)
        subject = await make(kind, *servers)
        for attempt in range(5):
            groups = subject.adapter.one_group_of_each_server(f"probe-{attempt}-{{}}".format)
            assert len(groups) == count
            for group in groups:
                await subject.join(group)
            for number, group in enumerate(groups):
                await subject.send(group, number)
            assert sorted(await subject.receive(count)) == list(range(count))
            for server in servers:
                with server.client() as client:
                    keys = [*client.pubsub_channels(), *client.scan_iter("*")]
                assert sum(key.endswith(tuple(groups)) for key in keys) == 1


# Messages


@every_layer
@pytest.mark.parametrize(
    "content",
    [
        None,
        True,
        0,
        -1,
        2**53,
        1.5,
        "",
        "ünï \U0001f600",
        "x" * 1_000_000,
        [1, ["a", None]],
        {"a": {}},
    ],
    ids=lambda content: repr(content)[:20],
)
async def test_content_arrives_as_it_was_sent(subject, content):
    await subject.join("g")
    message = {"type": "test", "n": content}
    await subject.layer.group_send("g", message)
    assert await subject.receive(1) == [content]
    assert message == {"type": "test", "n": content}


# Receiving


@every_layer
async def test_waiting_messages_are_received_together_if_they_are_shown(subject):
    await subject.join("g")
    await subject.send("g", *range(10))
    messages = deque([await subject.adapter.receive(subject.channel)])
    while is_marker(messages[-1]):
        messages.append(await subject.adapter.receive(subject.channel))
    while len(messages) < 10 and subject.adapter.shows_waiting:
        await subject.adapter.receive_waiting(subject.channel, messages, 100)
        await asyncio.sleep(0.01)
    await subject.adapter.receive_waiting(subject.channel, messages, 100)
    numbers = [message["n"] for message in messages if not is_marker(message)]
    if not subject.adapter.shows_waiting:
        assert numbers == [0]
        numbers += await subject.receive(9)
    assert numbers == list(range(10))


@every_layer
async def test_no_more_messages_are_received_together_than_asked_for(subject):
    await subject.join("g")
    await subject.send("g", *range(10))
    await subject.receive(1)
    await asyncio.sleep(0.1)
    messages = deque([{"n": "here"}])
    await subject.adapter.receive_waiting(subject.channel, messages, 4)
    assert len(messages) == (4 if subject.adapter.shows_waiting else 1)
    assert messages.popleft() == {"n": "here"}
    numbers = [message["n"] for message in messages]
    assert numbers + await subject.receive(9 - len(numbers)) == list(range(1, 10))


@every_layer
async def test_nothing_is_received_together_if_nothing_waits(subject):
    messages = deque()
    await subject.adapter.receive_waiting(subject.channel, messages, 10)
    assert not messages


@every_layer
async def test_receiver_that_waits_is_woken(subject):
    await subject.join("g")
    receiving = asyncio.create_task(subject.receive(100))
    await asyncio.sleep(0.05)
    await subject.send("g", *range(100))
    assert await receiving == list(range(100))


@every_layer
async def test_receiving_goes_on_after_a_cancelled_receiver(subject):
    await subject.join("g")
    receiving = asyncio.create_task(subject.adapter.receive(subject.channel))
    await asyncio.sleep(0.05)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    again = asyncio.create_task(subject.receive(1))
    await asyncio.sleep(0.05)
    await subject.send("g", 1)
    assert await again == [1]


@every_layer
async def test_forgotten_channel_keeps_no_messages(subject):
    await subject.join("g")
    await subject.send("g", 1)
    await asyncio.sleep(0.1)
    subject.adapter.forget_channel(subject.channel)
    assert subject.channel not in getattr(subject.layer, "channels", {})
    await subject.open()
    await subject.join("h")
    await subject.send("h", 2)
    assert await subject.receive(1) == [2]


async def test_idle_receivers_survive_silence(make, server):
    subjects = [await make(kind, server) for kind in (*IN_PROCESS, *ON_REDIS)]

    async def wait_and_receive(subject):
        await subject.join("g")
        receiving = asyncio.create_task(subject.receive(1))
        await asyncio.sleep(SILENCE_SECONDS)
        await subject.send("g", 1)
        return await receiving

    assert await asyncio.gather(*map(wait_and_receive, subjects)) == [[1]] * len(subjects)


# Threads


@every_layer
async def test_publisher_of_threads_keeps_order(subject, kind):
    publisher = subject.adapter.publisher()
    assert (publisher is not None) is (kind == "pubsub")
    if publisher is None:
        return
    await subject.join("g")

    def send():
        for number in range(100):
            publisher.send("g", {"n": number})

    await asyncio.to_thread(send)
    assert await subject.receive(100) == list(range(100))


# Connections


@every_layer
@pytest.mark.parametrize("step", ["reconnect", "close_idle"])
async def test_groups_that_are_in_use_outlive(subject, step):
    await subject.join("g")
    for number in range(3):
        await getattr(subject.adapter, step)()
        await subject.until_markers_arrive("g")
        await subject.send("g", number)
        assert await subject.receive(1) == [number]


@every_layer_on_redis
async def test_close_idle_closes_every_unused_socket(valkey, make, kind):
    subject = await make(kind, valkey)
    await subject.join("g")
    await subject.layer.group_discard("g", subject.channel)
    subject.adapter.forget_channel(subject.channel)
    before = sockets(valkey)
    assert before
    await subject.adapter.close_idle()
    await eventually(lambda: not before & sockets(valkey))
    await open_again(subject)
    await subject.join("g")
    await subject.send("g", 1)
    assert await subject.receive(1) == [1]


@every_layer
async def test_channel_is_opened_right_after_close_idle(subject):
    for number in range(20):
        subject.adapter.forget_channel(subject.channel)
        await subject.adapter.close_idle()
        await open_again(subject)
        await subject.join("g")
        await subject.send("g", number)
        assert await subject.receive(1) == [number]
        await subject.layer.group_discard("g", subject.channel)


async def open_again(subject):
    """Open a channel while the layer may be reconnecting, as the process channel does."""
    try:
        await subject.open()
    except Exception as error:
        if not is_lost_connection(error):
            raise
        await subject.adapter.close_idle()
        await subject.open()


async def test_close_idle_ends_the_attempts_of_an_unused_layer(valkey, make, caplog):
    subject = await make("pubsub", valkey)
    await subject.join("g")
    await subject.layer.group_discard("g", subject.channel)
    subject.adapter.forget_channel(subject.channel)
    valkey.kill()
    await subject.adapter.close_idle()
    caplog.clear()
    await asyncio.sleep(1.2)
    assert caplog.records == []
    valkey.start()
    await subject.open()
    await subject.join("g")
    await subject.send("g", 1)
    assert await subject.receive(1) == [1]


@every_layer_on_redis
async def test_step_without_a_server_is_a_lost_connection(valkey, make, kind):
    subject = await make(kind, valkey)
    await subject.join("g")
    valkey.kill()
    with pytest.raises(Exception, match=r".") as caught:
        await subject.send("g", 1)
    assert is_lost_connection(caught.value)
    joining = subject.layer.group_add("h", subject.channel)
    (error,) = await asyncio.gather(joining, return_exceptions=True)
    # A socket whose other end has just closed may still take what is written.
    assert is_lost_connection(error) if error else not subject.adapter.confirms_joins


async def test_failed_channel_leaves_no_queue(valkey):
    layer = pubsub(valkey)
    valkey.kill()
    with pytest.raises(OutageError):
        await adapter_for(layer).new_channel()
    assert layer.channels == {}
    await layer.flush()


@every_layer_on_redis
async def test_layer_works_again_after_an_empty_restart(valkey, make, kind):
    subject = await make(kind, valkey)
    await subject.join("g")
    received, failures = [], []

    async def receive_forever():
        while True:
            try:
                received.append(await subject.adapter.receive(subject.channel))
            except Exception as error:
                failures.append(error)
                await asyncio.sleep(0.05)

    receiving = asyncio.create_task(receive_forever())
    await asyncio.sleep(0.05)
    valkey.kill()
    valkey.start()
    async with asyncio.timeout(EVENT_TIMEOUT_SECONDS):
        while {"marker": "back"} not in received:
            with contextlib.suppress(Exception):
                await subject.adapter.close_idle()
                await subject.layer.group_add("g", subject.channel)
                await subject.layer.group_send("g", {"marker": "back"})
            await asyncio.sleep(0.05)
    await subject.send("g", *range(10))
    await eventually(lambda: received[-1] == {"n": 9})
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    assert [message["n"] for message in received if not is_marker(message)] == list(range(10))
    assert all(map(is_lost_connection, failures))
