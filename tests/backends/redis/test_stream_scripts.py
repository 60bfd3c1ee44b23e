"""The promises of streams when Redis loses, evicts or cannot take something."""

import asyncio
import math
import time
from itertools import pairwise
from unittest.mock import ANY

import pytest
from channels.layers import channel_layers
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from pm_realtime.backends import get_backend, get_streams
from pm_realtime.backends.streams import TOP_TTL_SECONDS, Position
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer import (
    CORE_LAYER,
    PUBSUB_LAYER,
    RefreshRoom,
    control_message,
    control_text,
    get_layer,
    sending,
)
from tests.backends.redis.support import PATH
from tests.contracts.streams import GROUP, LONG_AGO, message, publish_all, read_all, top_of
from tests.support.address import Address
from tests.support.valkey import Valkey

TTL_SECONDS = 60
KEY = f"pm_realtime:{{asgi:{GROUP}}}:"
LOG, TOP = f"{KEY}log", f"{KEY}top"
WAYS = ["task", "thread"]


class OwnWay(RedisPubSubChannelLayer):
    """A subclass of a site, which sends in its own way."""

    async def group_send(self, group, message):
        await self._get_layer().group_send(group, message)


class FailsOnce(RedisChannelLayer):
    """Loses its first message, as a process that dies in between."""

    has_failed = False

    async def group_send(self, group, message):
        if self.has_failed:
            await super().group_send(group, message)
        self.has_failed = True


@pytest.fixture
def use(settings, memory_layer):
    """Use the streams of a layer on these hosts: ``use(url, layer=path)``."""

    def use(*urls, layer=PUBSUB_LAYER, realtime=(), **options):
        channel_layers.backends.clear()
        hosts = [{"address": url, "socket_timeout": None} for url in urls]
        config = {"BACKEND": layer, "CONFIG": {"hosts": hosts, **options}}
        settings.CHANNEL_LAYERS = {"default": config}
        settings.PM_REALTIME = {"BACKEND": PATH, **dict(realtime)}
        return get_streams()

    yield use
    channel_layers.backends.clear()
    sending.forget()


@pytest.fixture
def streams(use, client, shared_url):
    return use(shared_url)


async def publish(streams, way, *args, **kwargs):
    if way == "task":
        return await streams.publish(message(*args, **kwargs))
    return await asyncio.to_thread(streams.publish_from_thread, message(*args, **kwargs))


async def receiver():
    """An async function: the next message that members of ``GROUP`` get."""
    layer = get_layer()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)

    async def receive():
        return await asyncio.wait_for(layer.receive(channel), 5)

    return receive


# Losses of Redis


async def test_position_that_was_evicted_is_found_in_the_log(streams, client):
    birth = await top_of(streams)
    cursors = await publish_all(streams, "a", "b")
    client.delete(TOP)
    assert await top_of(streams) == cursors[-1]
    client.delete(TOP)
    await publish_all(streams, "c")
    assert await read_all(streams, birth) == (["a", "b", "c"], True)
    assert await read_all(streams, cursors[-1]) == (["c"], True)


async def test_position_that_was_evicted_is_found_in_a_log_without_messages(streams, client):
    (cursor,) = await publish_all(streams, "a")
    client.xtrim(LOG, 0)
    client.delete(TOP)
    assert await read_all(streams, cursor) == ([], True)
    await publish_all(streams, "b")
    assert await read_all(streams, cursor) == (["b"], True)


async def test_log_that_was_evicted_is_a_gap(streams, client):
    birth = await top_of(streams)
    cursors = await publish_all(streams, "a", "b")
    client.delete(LOG)
    assert await read_all(streams, birth) == ([], False)
    assert await read_all(streams, cursors[-1]) == ([], True)
    await publish_all(streams, "c")
    assert await read_all(streams, cursors[0]) == (["c"], False)
    assert await read_all(streams, cursors[-1]) == (["c"], True)


async def test_emptied_redis_is_a_gap_before_anything_is_sent(streams, client):
    cursors = await publish_all(streams, "a", "b")
    await asyncio.sleep(0.002)
    client.delete(LOG, TOP)
    birth = await top_of(streams)
    assert birth > cursors[-1]
    assert await read_all(streams, cursors[-1]) == ([], False)
    await publish_all(streams, "c")
    assert await read_all(streams, cursors[-1]) == (["c"], False)
    assert await read_all(streams, birth) == (["c"], True)


async def test_messages_after_a_failover_that_lost_some_are_new(streams, client):
    (kept,) = await publish_all(streams, "kept")
    lost = await publish_all(streams, "lost", "lost too")
    client.xdel(LOG, *(redis_id(cursor) for cursor in lost))
    client.set(TOP, kept)
    await asyncio.sleep(0.002)
    (new,) = await publish_all(streams, "new")
    assert new > lost[-1]
    for cursor in (kept, *lost):
        assert await read_all(streams, cursor) == (["new"], True)


def redis_id(cursor):
    position = Position.read(cursor)
    return f"{position.ms}-{position.sequence}"


# The clock


@pytest.mark.parametrize("sequence", [0, 999_998, 999_999])
async def test_clock_that_went_back_does_not_take_positions_back(streams, client, sequence):
    ahead = Position(round(time.time() * 1000) + 3_600_000, sequence)
    client.set(TOP, str(ahead))
    cursors = [str(ahead), *await publish_all(streams, "a", "b", "c")]
    assert all(before < after for before, after in pairwise(cursors))
    assert Position.read(cursors[-1]).ms - ahead.ms <= 1
    assert await read_all(streams, str(ahead)) == (["a", "b", "c"], True)


# Sizes and ages


async def test_messages_that_are_too_old_take_no_memory(streams, client):
    await publish_all(streams, *"abc", ttl_seconds=0.1)
    await asyncio.sleep(0.15)
    await publish_all(streams, "d", ttl_seconds=0.1)
    assert client.xlen(LOG) == 1
    assert client.pttl(LOG) <= 100


async def test_keys_of_a_stream_expire(streams, client):
    await publish_all(streams, "a", key="k")
    assert 0 < client.pttl(LOG) <= TTL_SECONDS * 1000
    assert TOP_TTL_SECONDS - 10 < client.ttl(TOP) <= TOP_TTL_SECONDS
    assert 0 < client.ttl(f"{KEY}key:k") <= 300
    keys = {LOG, TOP, f"{KEY}key:k"}
    assert set(client.scan_iter("pm_realtime:*")) == keys
    await publish_all(streams, "b")
    (call,) = set(client.scan_iter("pm_realtime:*")) - keys
    assert 0 < client.ttl(call) <= 10


async def test_message_that_is_not_kept_touches_no_key(streams, client):
    await publish_all(streams, "a", size=0)
    await asyncio.to_thread(streams.publish_from_thread, message("a", size=0))
    assert list(client.scan_iter("pm_realtime:*")) == []


async def test_stream_that_keeps_less_than_before_forgets_the_rest(streams, client):
    birth = await top_of(streams)
    await publish_all(streams, *map(str, range(300)))
    await publish_all(streams, "last", size=3)
    assert await read_all(streams, birth) == (["298", "299", "last"], False)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 129, 299, 300, 10_000_000])
async def test_start_is_found_over_many_messages(streams, count):
    await publish_all(streams, *map(str, range(300)))
    start = await streams.find_start(GROUP, count, TTL_SECONDS)
    texts, is_whole = await read_all(streams, start)
    assert (texts, is_whole) == ([*map(str, range(300))][-count:], True)


async def test_start_of_very_many_messages_is_found_in_several_steps(streams, client):
    """So that a client that asks for them keeps nobody waiting."""
    cursors = await publish_all(streams, *["a"] * 1300, size=2000)
    await streams.find_start(GROUP, 1, TTL_SECONDS)  # Now Redis knows the script.
    for count in (511, 512, 513, 1024, 1025, 1299):
        client.config_resetstat()
        assert await streams.find_start(GROUP, count, TTL_SECONDS) == cursors[-1 - count]
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert calls == math.ceil(count / 512)


async def test_large_messages_come_one_by_one(streams):
    birth = await top_of(streams)
    texts = [f"{number}" + "é" * 40_000 for number in range(40)]
    await publish_all(streams, *texts)
    page = await streams.read(GROUP, birth, TTL_SECONDS)
    assert len(page.publications) == 1
    assert await read_all(streams, birth) == (texts, True)


@pytest.mark.parametrize("key", ["a b", "é😀", "key:with}braces{", "x" * 200])
async def test_any_text_is_a_key(streams, key):
    for expected in (False, True):
        assert (await streams.publish(message("a", key=key))).is_repeated is expected


async def test_positions_of_many_groups(streams):
    groups = [f"g{number}" for number in range(600)]
    tops = await streams.get_tops([*groups, *groups[:3]])
    assert tops[600:] == tops[:3]
    assert await streams.get_tops(groups) == tops[:600]


# Layers that send in their own way


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options", [{"layer": f"{__name__}.OwnWay"}, {"serializer_format": "json"}], ids=str
)
async def test_members_get_positions_through_layers_of_sites(use, client, shared_url, options, way):
    streams = use(shared_url, **options)
    receive = await receiver()
    receipts = [await publish(streams, way, text) for text in ("é😀", '{"a":"\\u0000"}')]
    pushes = [await receive(), await receive()]
    assert [push["text"] for push in pushes] == ["é😀", '{"a":"\\u0000"}']
    assert [push["cursor"] for push in pushes] == [receipt.cursor for receipt in receipts]
    assert pushes[1]["previous"] == pushes[0]["cursor"]


@pytest.mark.parametrize("layer", [PUBSUB_LAYER, CORE_LAYER])
async def test_control_messages_have_positions(use, client, shared_url, layer):
    streams = use(shared_url, layer=layer)
    receive = await receiver()
    control = control_message(GROUP, RefreshRoom(room="r"), target="another")
    receipt = await streams.publish(message(control_text(control))._replace(is_control=True))
    assert await receive() == {**control, "cursor": receipt.cursor, "previous": ANY}
    assert (await read_all(streams, LONG_AGO))[0] == [control_text(control)]


@pytest.mark.parametrize("way", WAYS)
async def test_message_whose_sender_died_is_sent_by_the_next_one(use, client, shared_url, way):
    path = f"{FailsOnce.__module__}.FailsOnce"
    streams = use(shared_url, layer=path)
    receive = await receiver()
    first = await publish(streams, way, "first", exclude="me", key="k")
    again = await publish(streams, way, "second", key="k")
    assert again == (first.cursor, True)
    push = await receive()
    assert (push["text"], push["exclude"], push["cursor"]) == ("first", "me", first.cursor)


async def test_repeated_message_that_is_not_kept_any_more_is_not_sent(use, client, shared_url):
    streams = use(shared_url, layer=CORE_LAYER)
    receive = await receiver()
    await streams.publish(message("a", key="k"))
    client.delete(LOG)
    await streams.publish(message("a", key="k"))
    await streams.publish(message("b"))
    assert [(await receive())["text"] for _ in range(2)] == ["a", "b"]


# Broken sockets


@pytest.fixture
def address(valkey):
    with Address(valkey) as address:
        yield address


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("layer", [PUBSUB_LAYER, CORE_LAYER])
async def test_answer_that_is_lost_doubles_nothing(use, address, way, key, layer):
    streams = use(address.url, layer=layer)
    await publish(streams, way, "before")
    await asyncio.sleep(0.05)
    address.answers_to_lose = 1
    receipt = await publish(streams, way, "news", key=key)
    assert address.answers_to_lose == 0
    assert (await read_all(streams, LONG_AGO))[0] == ["before", "news"]
    assert receipt.cursor == await top_of(streams)


@pytest.mark.parametrize("way", WAYS)
async def test_call_that_a_frozen_server_carries_out_late_doubles_nothing(use, valkey, way):
    streams = use(valkey.url)
    birth = await top_of(streams)
    await publish(streams, way, "before")
    with valkey.frozen(), pytest.raises(OutageError):
        await publish(streams, way, "late")
    sending.forget()
    assert (await read_all(streams, birth))[0] in (["before"], ["before", "late"])


@pytest.mark.parametrize("way", WAYS)
async def test_restarted_server_is_a_gap_and_nothing_else(use, valkey, way):
    streams = use(valkey.url)
    first = await publish(streams, way, "before")
    valkey.kill()
    await asyncio.to_thread(valkey.start)
    await publish(streams, way, "after")
    assert await read_all(streams, first.cursor) == (["after"], False)
    assert await read_all(streams, LONG_AGO) == (["after"], False)


async def test_replica_gives_no_positions(use, valkey):
    streams = use(valkey.url)
    top = await top_of(streams)
    with valkey.client() as client:
        client.replicaof("127.0.0.1", valkey.port)
        for reading in (
            streams.get_tops([GROUP]),
            streams.read(GROUP, top, TTL_SECONDS),
            streams.find_start(GROUP, 3, TTL_SECONDS),
            publish(streams, "task", "news"),
            publish(streams, "thread", "news"),
        ):
            with pytest.raises(OutageError, match=r"read only|READONLY|MASTER"):
                await reading


# Foreign keys


@pytest.mark.parametrize("way", WAYS)
async def test_key_of_another_type_is_named(streams, client, way):
    client.set(LOG, "of another program")
    with pytest.raises(BackendError, match=rf"delete it: {LOG}") as raised:
        await publish(streams, way, "a")
    assert not isinstance(raised.value, OutageError)
    with pytest.raises(BackendError, match="delete it"):
        await streams.read(GROUP, LONG_AGO, TTL_SECONDS)


# Servers, sites and databases


async def test_streams_are_on_the_servers_of_the_layer(use, valkey):
    others = [Valkey(), Valkey()]
    try:
        streams = use(*(each.url for each in others), realtime={"LOCATION": valkey.url})
        for number in range(20):
            await publish_all(streams, "a", group=f"g{number}")
            await publish(streams, "thread", "b", group=f"g{number}")
            assert (await read_all(streams, LONG_AGO, f"g{number}"))[0] == ["a", "b"]
        counts = []
        for server in (valkey, *others):
            with server.client() as client:
                counts.append(len(list(client.scan_iter("pm_realtime:*:log"))))
        assert counts[0] == 0
        assert min(counts[1:]) > 0
        assert sum(counts) == 20
        assert (await streams.get_stats()).streams == 20
    finally:
        for server in others:
            server.kill()


async def test_layer_of_another_kind_has_its_streams_at_location(settings, client, shared_url):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.far_layer.FarLayer"}}
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": shared_url}
    channel_layers.backends.clear()
    streams = get_backend().streams
    for way in WAYS:
        await publish(streams, way, way)
    assert [push["text"] for _, push in get_layer().sent] == WAYS
    assert (await read_all(streams, LONG_AGO))[0] == WAYS
    channel_layers.backends.clear()


@pytest.mark.parametrize(
    "other", [{"realtime": {"NAMESPACE": "shop"}}, {"prefix": "other"}, {"database": 1}], ids=str
)
async def test_two_sites_have_streams_of_their_own(use, client, shared_url, other):
    streams = use(shared_url)
    birth = await top_of(streams)
    await publish_all(streams, "ours", key="k")
    other = {**other}
    url = f"{shared_url.removesuffix('/0')}/{other.pop('database', 0)}"
    theirs = use(url, **other)
    assert not (await theirs.publish(message("theirs", key="k"))).is_repeated
    assert (await read_all(theirs, LONG_AGO))[0] == ["theirs"]
    assert await read_all(use(shared_url), birth) == (["ours"], True)
