"""Several servers on one Valkey."""

import contextlib
import json

import pytest

from tests.integration.client import connect
from tests.integration.server import Server


@pytest.fixture
def servers(tmp_path, valkey):
    """A uvicorn and a daphne with one database and one Valkey."""
    layer = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [valkey.url]},
    }
    environment = {
        "TEST_CHANNEL_LAYERS": json.dumps({"default": layer}),
        "TEST_DATABASE": str(tmp_path / "site.sqlite3"),
    }
    settings = {
        "ROOMS": {"pair": {"public": True, "max_connections": 2}},
        "RATE_LIMIT": None,
    }
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Server(kind, tmp_path, settings=settings, environment=environment))
            for kind in ("uvicorn", "daphne")
        ]


async def test_a_push_on_one_server_reaches_the_sockets_of_both_once_and_in_order(servers):
    first, second = servers
    async with connect(first) as here, connect(second) as there:
        await here.subscribe("pair")
        await there.subscribe("pair")
        for server in servers:
            await server.aget("/burst/?room=pair&count=50")
            for client in (here, there):
                received = [(await client.receive())["payload"]["n"] for _ in range(50)]
                assert received == list(range(50))
        for client in (here, there):
            assert (await client.ask("ping"))["type"] == "pong"


async def test_limits_and_counts_hold_over_both(servers):
    first, second = servers
    cookie = first.make_sessions("user")["user"]
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(server, cookie))
            for server in (first, second, first, second, first, second)
        ]
        assert await clients[0].closed() == 4502
        await clients[1].subscribe("pair")
        await clients[2].subscribe("pair")
        assert (await clients[3].subscribe("pair"))["payload"]["code"] == "ROOM_FULL"
        for server in servers:
            stats = (await server.aget("/stats/")).json()
            assert stats["totalConnections"] == stats["authenticatedConnections"] == 5
            assert stats["roomStats"] == {"pair": 2}
