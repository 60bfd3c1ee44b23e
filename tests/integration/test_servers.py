"""The protocol as a client sees it, on each server of the documentation."""

import asyncio
import contextlib
import json
import statistics
import time

import pytest
import websockets

from tests.integration.client import connect
from tests.site.rules import SLOW_SECONDS

pytestmark = pytest.mark.parametrize("kind", ["uvicorn", "daphne"])

CLOSE_TIMEOUT_SECONDS = 10
#: The usual time that a pong takes while a query blocks another connection, and the longest one on
#: a busy machine.
PONG_SECONDS, MAX_PONG_SECONDS = 0.1, 1


async def test_session_cookie_authenticates_and_opens_the_rooms_of_its_role(serve, kind):
    server = serve(kind)
    roles = ("user", "editor", "admin", "master")
    cookies = server.make_sessions(*roles)
    for role in roles:
        async with connect(server, cookies[role]) as client:
            assert client.connected["type"] == "connected"
            assert client.connected["payload"]["role"] == role
            assert len(client.connected["payload"]["userId"]) == 36
            assert (await client.subscribe("any:room"))["type"] == "subscribed"
            reply = await client.ask("message", {"room": "any:room", "content": "hi"}, id="m")
            assert reply["payload"]["from"] == {
                "userId": client.connected["payload"]["userId"],
                "name": role,
            }
            assert reply["id"] == "m"


async def test_pushes_from_sync_and_async_views_and_threads_reach_sockets(serve, kind):
    server = serve(kind)
    async with connect(server) as client:
        await client.subscribe("open")
        await server.aget("/push/?room=open&payload=[1]")
        assert (await client.receive())["payload"] == [1]
        stats = (await server.aget("/apush/?room=open")).json()
        assert stats["roomStats"] == {"open": 1}
        assert [(await client.receive())["payload"]["by"] for _ in range(2)] == [
            "sync_to_async",
            "async",
        ]
        await server.aget("/pool/?room=open")
        pooled = [(await client.receive())["payload"]["n"] for _ in range(20)]
        assert sorted(pooled) == list(range(20))


async def test_push_is_sent_once_after_a_commit_and_never_after_a_rollback(serve, kind):
    server = serve(kind)
    async with connect(server) as client:
        await client.subscribe("open")
        await server.aget("/transaction/?room=open")
        await server.aget("/push/?room=open")
        received = [await client.receive() for _ in range(3)]
    assert [envelope["type"] for envelope in received] == ["early", "note", "pushed"]
    assert received[1]["payload"] == {"text": "kept"}


async def test_burst_arrives_in_few_frames_with_the_batch_subprotocol(serve, kind):
    server = serve(kind)
    async with contextlib.AsyncExitStack() as stack:
        batched, single, sender = [
            await stack.enter_async_context(connect(server, subprotocols=offered, max_queue=None))
            for offered in (["pm-realtime.v1.batch", "pm-realtime.v1"], ["pm-realtime.v1"], None)
        ]
        assert batched.socket.subprotocol == "pm-realtime.v1.batch"
        assert single.socket.subprotocol == "pm-realtime.v1"
        for client in (batched, single, sender):
            await client.subscribe("open")
        for number in range(200):
            await sender.send("message", {"room": "open", "content": number})
        received, frames = [], 0
        while len(received) < 200:
            frame = await batched.receive()
            received += frame if isinstance(frame, list) else [frame]
            frames += 1
        assert frames < 150
        assert received == [await single.receive() for _ in range(200)]
        assert [each["payload"]["content"] for each in received] == list(range(200))


async def test_sixth_connection_closes_the_oldest(serve, kind):
    server = serve(kind)
    cookie = server.make_sessions("user")["user"]
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server, cookie)) for _ in range(6)]
        assert await clients[0].closed() == 4502
        for client in clients[1:]:
            assert (await client.ask("ping"))["type"] == "pong"


async def test_connection_over_the_limit_is_refused_with_its_code(serve, kind):
    server = serve(kind, CONNECTION_LIMIT_POLICY="refuse", MAX_CONNECTIONS_PER_USER=1)
    cookie = server.make_sessions("user")["user"]
    async with connect(server, cookie) as first:
        assert await close_code(server, cookie) == 4505
        assert (await first.ask("ping"))["type"] == "pong"


async def test_anonymous_connection_is_closed_without_allow_anonymous(serve, kind):
    assert await close_code(serve(kind, ALLOW_ANONYMOUS=False)) == 4501


async def close_code(server, cookie=None):
    headers = {"Cookie": cookie} if cookie else {}
    async with websockets.connect(server.ws_url, additional_headers=headers) as socket:
        await asyncio.wait_for(socket.wait_closed(), CLOSE_TIMEOUT_SECONDS)
        return socket.close_code


async def test_limits_of_rooms_and_rate_are_exact(serve, kind):
    server = serve(kind, RATE_LIMIT="60/m", ROOMS={"pair": {"public": True, "max_connections": 2}})
    async with connect(server) as first, connect(server) as second, connect(server) as third:
        assert (await first.subscribe("pair"))["type"] == "subscribed"
        assert (await second.subscribe("pair"))["type"] == "subscribed"
        assert (await third.subscribe("pair"))["payload"]["code"] == "ROOM_FULL"
        replies = [await third.ask("ping") for _ in range(60)]
        assert [reply["type"] for reply in replies] == ["pong"] * 59 + ["error"]
        assert replies[-1]["payload"]["code"] == "RATE_LIMITED"
        assert 0 < replies[-1]["payload"]["retryAfter"] <= 60_000


async def test_rate_limit_has_a_sliding_window(serve, kind):
    server = serve(kind, RATE_LIMIT="3/s")
    async with connect(server) as client:
        replies = [await client.ask("ping") for _ in range(4)]
        assert [reply["type"] for reply in replies] == ["pong"] * 3 + ["error"]
        await asyncio.sleep(replies[-1]["payload"]["retryAfter"] / 1000)
        assert (await client.ask("ping"))["type"] == "pong"


async def test_connection_that_repeatedly_exceeds_the_rate_is_closed(serve, kind):
    server = serve(kind, RATE_LIMIT="20/m")
    async with connect(server) as client:
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(200):
                await client.send("ping")
        assert await client.closed() == 4003


async def test_client_that_stops_pinging_is_closed(serve, kind):
    server = serve(kind, HEARTBEAT_INTERVAL=0.3, HEARTBEAT_TIMEOUT=0.2)
    async with connect(server) as pinged, connect(server) as never_pinged:
        assert (await pinged.ask("ping"))["type"] == "pong"
        assert await pinged.closed() == 4001
        assert (await never_pinged.ask("message"))["payload"]["code"] == "INVALID_PAYLOAD"


async def test_message_that_is_too_large_is_refused_and_the_connection_stays(serve, kind):
    server = serve(kind)
    async with connect(server) as client:
        await client.socket.send("x" * 65537)
        assert (await client.receive())["payload"]["code"] == "MESSAGE_TOO_LARGE"
        await client.socket.send(b"\x00")
        assert (await client.receive())["payload"]["code"] == "INVALID_MESSAGE"
        await client.socket.send(json.dumps({"type": "ping"}))
        assert (await client.receive())["payload"]["code"] == "INVALID_MESSAGE"
        assert (await client.ask("ping"))["type"] == "pong"


async def handshake(server, **headers):
    """Return the status of a handshake, and the type of the first frame if it was accepted."""
    try:
        async with websockets.connect(server.ws_url, **headers) as socket:
            return 101, json.loads(await socket.recv())["type"]
    except websockets.InvalidStatus as refused:
        return refused.response.status_code, None


async def test_pages_of_other_origins_get_403(serve, kind):
    server = serve(kind)
    for origin in (
        "http://evil.example",
        "null",
        "https://127.0.0.1.evil.example",
        f"http://127.0.0.1:{server.port + 1}",
        f"http://evil.example:{server.port}",
        "capacitor://localhost",
    ):
        assert await handshake(server, origin=origin) == (403, None), origin
    assert "Origin 'http://evil.example', Host '127.0.0.1:" in server.log
    for origin in (None, f"http://127.0.0.1:{server.port}", "https://127.0.0.1"):
        assert await handshake(server, origin=origin) == (101, "connected"), origin


async def test_only_pages_of_allowed_origins_connect(serve, kind):
    server = serve(kind, ALLOWED_ORIGINS=["https://*.bücher.example", "capacitor://localhost"])
    for origin in ("https://a.xn--bcher-kva.example", "capacitor://localhost"):
        assert await handshake(server, origin=origin) == (101, "connected"), origin
    for origin in ("http://a.xn--bcher-kva.example", f"http://127.0.0.1:{server.port}"):
        assert await handshake(server, origin=origin) == (403, None), origin


async def test_handshake_with_two_origins_is_refused(serve, kind):
    server = serve(kind)
    own = f"http://127.0.0.1:{server.port}"
    for other in ("http://evil.example", own):
        status, _ = await handshake(server, origin=own, additional_headers={"Origin": other})
        assert status in (400, 403)  # Some servers refuse it by themselves.


async def test_plain_http_gets_426(serve, kind):
    answer = await serve(kind).aget("/api/ws")
    assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")


async def test_slow_query_delays_no_other_connection(serve, kind):
    slow = {"public": True, "authorize": "tests.site.rules.slow_query"}
    server = serve(kind, ROOMS={"slow": slow})
    cookie = server.make_sessions("user")["user"]
    async with connect(server, cookie) as blocked, connect(server, cookie) as other:
        await blocked.send("subscribe", {"room": "slow"})
        began = time.monotonic()
        pongs, handshakes = [], 0
        while time.monotonic() - began < SLOW_SECONDS - 0.5:
            pinged = time.monotonic()
            assert (await other.ask("ping"))["type"] == "pong"
            pongs.append(time.monotonic() - pinged)
            async with connect(server, cookie) as added:
                assert added.connected["payload"]["role"] == "user"
                handshakes += 1
        assert statistics.median(pongs) < PONG_SECONDS
        assert max(pongs) < MAX_PONG_SECONDS
        assert handshakes > 10
        assert (await blocked.receive())["type"] == "subscribed"
        assert time.monotonic() - began > SLOW_SECONDS - 0.1


async def test_clients_of_a_stopping_server_are_closed_with_4012(serve, kind):
    server = serve(kind)
    async with connect(server) as client:
        await client.subscribe("open")
        assert await asyncio.to_thread(server.stop) == 0
        assert await client.closed() == 4012
    assert "Traceback" not in server.log
