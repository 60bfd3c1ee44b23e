"""Clients that do not read, or that send what no limit of messages counts."""

import contextlib

import pytest

from tests.integration.crowd import CLOSE, PING, PONG, TEXT, client_frame, fragment
from tests.integration.raw import RawClient, open_sockets, resident_bytes
from tests.integration.server import Server
from tests.support.helpers import eventually

SERVERS = [
    "uvicorn-default",
    "daphne",
    pytest.param("uvicorn-websockets", marks=pytest.mark.slow),
    pytest.param("uvicorn-wsproto", marks=pytest.mark.slow),
]
RATE_LIMITED = 4003
TOO_BIG = 1009
FLOOD_SECONDS = 5
MAX_GROWTH_BYTES = 25_000_000
FLOODS = {
    "pings": client_frame(b"x" * 125, PING) * 500,
    "empty pings": client_frame(b"", PING) * 500,
    "pongs": client_frame(b"", PONG) * 500,
    "empty continuations": fragment(b"", TEXT) + fragment(b"") * 500,
    "small continuations": fragment(b"{", TEXT) + fragment(b" ") * 500,
}


@pytest.fixture(scope="module", params=SERVERS)
def site(request, tmp_path_factory):
    settings = {
        "ROOMS": {"open": {"public": True}},
        "MAX_CONNECTIONS_PER_USER": 1,
        "RATE_LIMIT": "100/m",
    }
    folder = tmp_path_factory.mktemp("site")
    application = "tests.site.quick_asgi:application"
    with Server(request.param, folder, settings, application=application) as server:
        yield server, server.make_sessions("user", "editor")
        assert "Traceback" not in server.log


@pytest.fixture
async def server(site):
    """A running server. No socket of an earlier test is left."""
    server, _ = site
    await eventually(lambda: open_sockets(server) == 0)
    return server


def subscribe(client):
    client.send(client_frame(b'{"type": "subscribe", "timestamp": 0, "payload": {"room": "open"}}'))
    while b"subscribed" not in client.frame()[1]:
        pass


async def test_socket_of_an_ended_connection_that_does_not_read_is_dropped(server, site):
    _, cookies = site
    with contextlib.ExitStack() as stack:
        replaced = stack.enter_context(RawClient(server, cookies["user"]))
        frozen = stack.enter_context(RawClient(server, cookies["editor"]))
        leaving, flooding = (stack.enter_context(RawClient(server)) for _ in range(2))
        clients = [replaced, frozen, leaving, flooding]
        for client in clients:
            subscribe(client)
        # 2 MB: the kernel keeps them.
        await server.aget("/burst/?room=open&count=40&size=50000")
        leaving.send(client_frame(b"\x03\xe8", CLOSE))
        flooding.flood(FLOODS["pings"], 0.2)
        newer = stack.enter_context(RawClient(server, cookies["user"]))
        subscribe(newer)
        assert open_sockets(server) >= 2
        # The others get more than fits anywhere.
        await server.aget("/burst/?room=open&count=200&size=50000")
        await eventually(lambda: open_sockets(server) == 0)


async def test_flood_of_frames_without_a_message_is_closed_and_takes_no_memory(server):
    with RawClient(server) as honest:
        before = resident_bytes(server.process)
        for data in FLOODS.values():
            with RawClient(server) as client:
                client.send(data)
                assert client.close_code() == RATE_LIMITED
        with RawClient(server) as client:
            assert not client.flood(FLOODS["pings"], FLOOD_SECONDS)
        await eventually(lambda: open_sockets(server) == 1)
        assert resident_bytes(server.process) < before + MAX_GROWTH_BYTES
        honest.send(client_frame(b'{"type": "ping", "timestamp": 0}'))
        while b"pong" not in honest.frame()[1]:
            pass


async def test_few_control_frames_and_fragments_do_not_count(server):
    message = b'{"type": "ping", "timestamp": 0}'
    with RawClient(server) as client:
        for _ in range(3):
            client.send(*[client_frame(b"x", PING)] * 10, *[client_frame(b"x", PONG)] * 10)
            client.send(fragment(message[:1], TEXT), *[fragment(b"")] * 5)
            client.send(fragment(message[1:20]), fragment(message[20:], is_last=True))
            while b"pong" not in client.frame()[1]:
                pass


async def test_client_that_reads_nothing_is_dropped(server):
    with RawClient(server) as client:
        subscribe(client)
        await server.aget("/burst/?room=open&count=12&size=800000")
        await eventually(lambda: open_sockets(server) == 0)


async def test_message_is_refused_while_it_is_read(server):
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(RawClient(server))
            parts = [fragment(b"x" * 50000, TEXT), *[fragment(b"x" * 50000)] * 3]
            client.send(*parts)
            assert client.close_code() == TOO_BIG
        sized = stack.enter_context(RawClient(server))
        sized.send(fragment(b"x" * 60000, TEXT), fragment(b"x" * 60000, is_last=True))
        while b"MESSAGE_TOO_LARGE" not in sized.frame()[1]:
            pass


async def test_server_agrees_to_no_compression(server):
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    with RawClient(server, headers=offer) as client:
        assert "deflate" not in client.headers
        subscribe(client)
