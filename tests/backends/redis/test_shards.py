"""A site whose layer is on several servers, each of which may be lost."""

import asyncio
import time

import pytest

from pm_realtime import aget_stats, asend_to_room, send_to_room
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER, control_group, get_layer, room_group
from tests.backends.redis.support import (
    assert_pushes_arrive,
    is_healthy,
    until_heard_anew,
)
from tests.support.helpers import Connection, errors_of, eventually
from tests.support.valkey import Valkey

LAYERS = [PUBSUB_LAYER, CORE_LAYER]


@pytest.fixture
def shards():
    servers = [Valkey() for _ in range(3)]
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture
def site(use, shards, request):
    """The servers of a site whose layer is on all of them."""
    use(request.param, *(server.url for server in shards))
    return shards


on_each_layer = pytest.mark.parametrize("site", LAYERS, indirect=True)


def knows(server, group):
    """Whether ``server`` has a group, under the name that channels-redis gives it."""
    with server.client() as client:
        names = [*client.pubsub_channels(), *client.scan_iter("*")]
    return any(name in names for name in (f"asgi__group__{group}", f"asgi:group:{group}"))


def count_probe_groups(server):
    with server.client() as client:
        names = [*client.pubsub_channels(), *client.scan_iter("*")]
    return sum("pm_realtime.probe." in name for name in names)


def shard_of(shards, group):
    (found,) = [server for server in shards if knows(server, group)]
    return found


async def join_a_room_on_each(connection, shards):
    """Subscribe to rooms until each server has one. Returns one room for each server."""
    rooms = {}
    for number in range(100):
        room = f"room-{number}"
        await connection.subscribe(room)
        rooms.setdefault(shard_of(shards, room_group(room)), room)
        if len(rooms) == len(shards):
            return rooms
    raise AssertionError(f"no room is on some of the servers: {rooms}")


def channels_of_group(layer, group, shards):
    """The channels that ``layer`` has in ``group``."""
    if hasattr(layer, "groups"):
        return layer.groups[f"asgi__group__{group}"]
    with shard_of(shards, group).client() as client:
        return client.zrange(f"asgi:group:{group}", 0, -1)


def choose(shards, what):
    """The server to lose: of the counts, of the hub's own channel, or of neither."""
    layer = get_layer()
    (channel,) = channels_of_group(layer, control_group(), shards)
    if hasattr(layer, "consistent_hash"):
        index = layer.consistent_hash(layer.non_local_name(channel))
    else:
        index = layer._shards.index(layer._get_shard(channel))
    others = (server for server in shards[1:] if server is not shards[index])
    return {"counts": shards[0], "channel": shards[index], "neither": next(others)}[what]


@on_each_layer
async def test_rooms_on_all_servers_receive_pushes(site, caplog):
    async with Connection() as connection:
        rooms = await join_a_room_on_each(connection, site)
        await until_heard_anew()
        for room in rooms.values():
            await assert_pushes_arrive(connection, room)
        assert sum(count_probe_groups(server) for server in site) == len(site)
        assert (await aget_stats())["totalConnections"] == 1
    assert caplog.records == []


@on_each_layer
@pytest.mark.parametrize("what", ["counts", "channel", "neither"])
async def test_lost_server_is_noticed_and_used_again_once_it_is_back(site, what, caplog):
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
async def test_frozen_server_is_noticed_and_used_again(site, caplog):
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
