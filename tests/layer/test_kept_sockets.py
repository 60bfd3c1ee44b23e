"""Kept sockets to a server that was demoted, or that the network between has forgotten."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from channels.layers import channel_layers, get_channel_layer

from pm_realtime import asend_to_room, get_stats, send_to_room
from pm_realtime.exceptions import OutageError
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER, sending
from pm_realtime.layer.channels_redis import PubSubNames
from pm_realtime.layer.thread_publisher import ThreadPublisher
from pm_realtime.observability import outage
from tests.backends.redis.support import assert_pushes_arrive, until_heard_anew
from tests.support.address import Address
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, eventually
from tests.support.valkey import Valkey


@pytest.fixture
def two():
    """Two servers: a master, and one that follows no one yet."""
    servers = [Valkey(), Valkey()]
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def address(two):
    with Address(two[0]) as address:
        yield address


@pytest.fixture
def use(settings, memory_layer, configure):
    """Use a layer: ``use(url, path)``; rooms are open to everybody, with other options too."""

    def use(url, path=PUBSUB_LAYER, **options):
        config = {"hosts": [{"address": url, "socket_timeout": None}]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": path, "CONFIG": config}}
        configure(DEFAULT_ROOM={"public": True, **options})
        return get_channel_layer()

    yield use
    channel_layers.backends.clear()
    sending.forget()


def publisher_of(layer, clock):
    return ThreadPublisher(PubSubNames(layer), layer.serialize, clock)


def fail_over(two, address):
    """The address leads to the second server, and the first follows it; no socket is closed."""
    master, replica = two
    address.point_to(replica)
    with master.client() as client:
        client.replicaof("127.0.0.1", replica.port)


def published(server):
    """The messages that clients published on ``server``."""
    with server.client() as client:
        stats = client.info("commandstats").get("cmdstat_publish", {"calls": 0})
    return stats["calls"]


def test_thread_publishes_nothing_into_a_demoted_server(two, address, use):
    use(address.url)
    send_to_room("r", "before")
    before = published(two[0])
    fail_over(two, address)
    for _ in range(3):
        send_to_room("r", "after")
    assert published(two[1]) == 3
    with two[0].client() as client:
        assert client.info("commandstats")["cmdstat_publish"]["calls"] - before <= 3  # Replicated.


@pytest.mark.parametrize(
    ("serves_stale_data", "text"), [("yes", "read only"), ("no", "MASTER is down")]
)
def test_thread_is_refused_while_its_address_leads_to_a_replica(
    two, address, use, serves_stale_data, text
):
    use(address.url)
    with two[0].client() as client:
        client.config_set("replica-serve-stale-data", serves_stale_data)
        client.replicaof("127.0.0.1", 1 if serves_stale_data == "no" else two[1].port)
    with pytest.raises(OutageError, match=text):
        send_to_room("r", "news")
    address.point_to(two[1])
    send_to_room("r", "news")
    assert published(two[1]) == 1


def test_thread_pushes_over_a_new_socket_if_the_network_forgot_the_old(two, address, use):
    use(address.url)
    send_to_room("r", "before")
    address.forget()
    for _ in range(3):
        send_to_room("r", "after")
    assert published(two[0]) == 4
    assert address.count == 2


def test_thread_pushes_over_a_new_socket_of_the_core_layer_too(address, use, caplog):
    use(address.url, CORE_LAYER)
    send_to_room("r", "before")
    opened = address.count
    address.forget()
    for _ in range(3):
        send_to_room("r", "after")
    assert address.count == 2 * opened
    assert caplog.messages == []


def test_threads_ask_over_a_new_socket_if_the_network_forgot_the_old(address, use):
    use(address.url)
    get_stats()
    address.forget()
    with ThreadPoolExecutor() as threads:
        for answer in [threads.submit(get_stats) for _ in range(6)]:
            assert answer.result()["totalConnections"] == 0


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
def test_thread_pushes_to_the_new_server_after_a_suspicion(two, address, use, path):
    """The old one still takes writes: its network is cut off from that of the others."""
    use(address.url, path)
    send_to_room("r", "before")
    address.point_to(two[1])
    outage.suspect()
    send_to_room("r", "after")
    for server in two:
        with server.client() as client:
            (log,) = client.scan_iter("pm_realtime:*:log")
            assert client.xlen(log) == 1


def test_thread_pushes_again_at_once_if_its_sockets_are_cut(two, address, use):
    use(address.url)
    for _ in range(5):
        send_to_room("r", "news")
        address.cut()
    assert published(two[0]) == 5


def test_thread_replaces_sockets_that_are_old(two, address, use):
    now = 0.0
    publisher = publisher_of(use(address.url), lambda: now)
    for seconds in (0.0, 20.0, 40.0):
        now = seconds
        publisher.send("g", {"n": seconds})
    assert address.count == 2


def test_sockets_that_were_in_use_are_closed_when_they_are_replaced(valkey, use):
    now = 0.0
    publisher = publisher_of(use(valkey.url), lambda: now)

    def push():
        for n in range(200):
            publisher.send("g", {"n": n})

    for _ in range(5):
        threads = [threading.Thread(target=push) for _ in range(4)]
        for thread in threads:
            thread.start()
        now += 100.0
        for thread in threads:
            thread.join()
    with valkey.client() as client:
        assert len(client.client_list()) <= 4 + 1


def test_users_without_a_right_to_keys_publish_what_is_not_kept(use):
    server = Valkey("--user", "bob", "on", ">secret", "resetchannels", "&asgi*", "+publish")
    try:
        use(f"redis://bob:secret@127.0.0.1:{server.port}", history=0)
        for _ in range(3):
            send_to_room("r", "news")
        assert published(server) == 3
        with server.client() as client:
            (refused,) = [each for each in client.acl_log() if each["object"] == "evalsha"]
            assert int(refused["count"]) == 1
    finally:
        server.kill()


@pytest.mark.parametrize("option", [("maxmemory", "1"), ("min-replicas-to-write", "3")])
def test_server_that_refuses_writes_takes_pushes_that_are_not_kept(valkey, use, option):
    use(valkey.url, history=0)
    with valkey.client() as client:
        client.config_set(*option)
    send_to_room("r", "news")
    assert published(valkey) == 1


@pytest.mark.parametrize(
    ("option", "text"),
    [(("maxmemory", "1"), "used memory"), (("min-replicas-to-write", "3"), "ot enough good repl")],
)
def test_push_that_cannot_be_kept_raises(valkey, use, option, text):
    use(valkey.url)
    with valkey.client() as client:
        client.config_set(*option)
    with pytest.raises(OutageError, match=text):
        send_to_room("r", "news")
    assert published(valkey) == 0


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
async def test_site_leaves_a_demoted_server(two, address, use, path):
    use(address.url, path)
    async with Connection() as connection:
        await connection.subscribe("r")
        fail_over(two, address)
        with two[1].client() as client:
            await eventually(lambda: client.pubsub_channels() or client.keys("asgi:group:*"))
        await until_heard_anew(10)
        # A socket that still listened to the first server would hear nothing any more.
        with two[0].client() as client:
            client.replicaof("NO", "ONE")
        await assert_pushes_arrive(connection, "r")


def until_sent():
    deadline = time.monotonic() + EVENT_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            return send_to_room("r", "after")
        except OutageError:
            time.sleep(0.1)
    raise TimeoutError


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
async def test_loop_without_sockets_leaves_a_demoted_server(two, address, use, path):
    use(address.url, path)
    await asend_to_room("r", "before")
    fail_over(two, address)
    with two[1].client() as client:
        client.config_resetstat()

        def arrived():
            stats = client.info("commandstats")
            return {"cmdstat_publish", "cmdstat_zremrangebyscore"} & stats.keys()

        async def push():
            while not arrived():
                await asend_to_room("r", "after")
                await asyncio.sleep(0.2)

        await asyncio.wait_for(push(), 5)


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
async def test_loop_pushes_again_at_once_if_its_sockets_are_cut(two, address, use, path):
    use(address.url, path)
    for _ in range(3):
        await asend_to_room("r", "news")
        address.cut()
    await asend_to_room("r", "news")


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
async def test_loop_without_sockets_pushes_over_a_new_socket_if_the_network_forgot_the_old(
    address, use, path
):
    use(address.url, path)
    await asend_to_room("r", "before")
    opened = address.count
    address.forget()
    await asend_to_room("r", "after")
    assert address.count == 2 * opened


@pytest.mark.parametrize("path", [PUBSUB_LAYER, CORE_LAYER])
async def test_connection_hears_pushes_after_the_network_forgot_all_sockets(
    two, address, use, path
):
    use(address.url, path)
    async with Connection() as connection:
        await connection.subscribe("r")
        address.forget()
        await asyncio.to_thread(until_sent)
        await eventually(lambda: address.count > 2)
