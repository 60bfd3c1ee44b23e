"""A layer that is spread over several servers, each of which may be lost."""

import asyncio
import time

import pytest

from pm_realtime import aget_stats, asend_to_room, send_to_room
from pm_realtime.exceptions import BackendError
from pm_realtime.hub import get_hub
from pm_realtime.layer import adapter_for, get_layer, room_group
from pm_realtime.layer.groups import probe_group
from tests.backends.redis.site import (
    CORE,
    PUBSUB,
    assert_pushes_arrive,
    is_healthy,
    until_heard_anew,
)
from tests.support.helpers import Connection, errors_of, eventually
from tests.support.valkey import Valkey

LAYERS = [PUBSUB, CORE]


@pytest.fixture
def shards():
    servers = [Valkey() for _ in range(3)]
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def site(use, shards, request):
    """A site whose layer is on all of them."""
    use(request.param, *(server.url for server in shards))
    return shards


on_each_layer = pytest.mark.parametrize("site", LAYERS, indirect=True)


def knows(server, group):
    """Whether ``server`` is the one that has a group, as channels-redis calls it."""
    with server.client() as client:
        names = [*client.pubsub_channels(), *client.scan_iter("*")]
    return any(name in names for name in (f"asgi__group__{group}", f"asgi:group:{group}"))


def shard_of(shards, group):
    (found,) = [server for server in shards if knows(server, group)]
    return found


async def join_a_room_on_each(connection, shards):
    """Subscribe to rooms until each server has one; a room for each server."""
    rooms = {}
    for number in range(100):
        room = f"room-{number}"
        await connection.subscribe(room)
        rooms.setdefault(shard_of(shards, room_group(room)), room)
        if len(rooms) == len(shards):
            return rooms
    raise AssertionError(f"no room is on some of the servers: {rooms}")


def choose(shards, what):
    """The server to lose: of the counts, of the hub's own channel, or of neither."""
    layer, channel = get_layer(), get_hub()._channel._channel
    if hasattr(layer, "consistent_hash"):
        index = layer.consistent_hash(layer.non_local_name(channel))
    else:
        index = layer._shards.index(layer._get_shard(channel))
    others = (server for server in shards[1:] if server is not shards[index])
    return {"counts": shards[0], "channel": shards[index], "neither": next(others)}[what]


@on_each_layer
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_of_many_groups_one_is_chosen_for_each_server(site, use, request, count):
    servers = site[:count]
    use(request.node.callspec.params["site"], *(server.url for server in servers))
    layer = get_layer()
    for attempt in range(10):
        groups = adapter_for(layer).one_group_of_each_server(
            lambda n, a=attempt: probe_group(f"channel-{a}", n)
        )
        channel = await layer.new_channel()
        for group in groups:
            await layer.group_add(group, channel)
        assert {shard_of(servers, group) for group in groups} == set(servers)
        assert len(groups) == count


@on_each_layer
async def test_rooms_on_all_servers_get_what_is_sent(site, caplog):
    async with Connection() as connection:
        rooms = await join_a_room_on_each(connection, site)
        await until_heard_anew()
        for room in rooms.values():
            await assert_pushes_arrive(connection, room)
        assert len(get_hub()._channel.probe._groups) == len(site)
        assert (await aget_stats())["totalConnections"] == 1
    assert caplog.records == []


@on_each_layer
@pytest.mark.parametrize("what", ["counts", "channel", "neither"])
async def test_a_server_that_is_lost_is_noticed_and_when_it_is_back_empty_all_goes_on(
    site, what, caplog
):
    async with Connection() as connection:
        rooms = await join_a_room_on_each(connection, site)
        lost = choose(site, what)
        lost.kill()
        await eventually(lambda: not is_healthy() and errors_of(caplog), 5)
        (line,) = errors_of(caplog)
        assert "Lost the channel layer" in line.getMessage()
        started = time.monotonic()
        id = await connection.command("subscribe", {"room": "another"})
        await connection.assert_error(id, "INTERNAL_ERROR")
        assert time.monotonic() - started < 5
        with pytest.raises(BackendError):
            await asyncio.to_thread(send_to_room, rooms[lost], "lost")
        lost.start()
        await eventually(is_healthy, 5)
        await connection.subscribe("another")
        for room in [*rooms.values(), "another"]:
            await assert_pushes_arrive(connection, room)
        assert (await aget_stats())["roomStats"]["another"] == 1
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.slow
@on_each_layer
async def test_a_server_that_answers_nothing_is_noticed_and_comes_back(site, caplog):
    async with Connection() as connection:
        rooms = await join_a_room_on_each(connection, site)
        with site[1].frozen():
            await eventually(lambda: not is_healthy() and errors_of(caplog), 8)
            id = await connection.command("subscribe", {"room": "another"})
            await connection.assert_error(id, "INTERNAL_ERROR")
        await eventually(is_healthy, 8)
        await connection.subscribe("another")
        for room in rooms.values():
            await asend_to_room(room, "back", {"room": room})
            await connection.assert_push("back", {"room": room})
