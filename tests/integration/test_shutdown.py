"""SIGTERM on real servers: all connections are closed with 4012 and no key is left in Valkey."""

import asyncio
import json
import signal
import time
from bisect import bisect_right
from collections import Counter
from urllib.parse import urlencode

import pytest

from tests.integration.client import connect
from tests.integration.crowd import CLOSE, PING, PONG, TEXT, Subscriber, client_frame
from tests.integration.test_load import frozen_reader
from tests.support.helpers import eventually

RESTARTING = 4012
#: The close code of uvicorn itself.
SERVICE_RESTART = 1012
#: The default of SHUTDOWN_PERIOD.
SHUTDOWN_PERIOD_SECONDS = 5
#: The longest time in which a process ends if it has nothing to wait for.
END_TIMEOUT_SECONDS = 15
JOIN_TIMEOUT_SECONDS = 60
JOINING_AT_ONCE = 50
#: The time in which a process closes 600 connections after a second signal.
MAX_SECOND_SIGNAL_SECONDS = 3.5


class Observer(Subscriber):
    """A subscriber that records its pushes, and the code and time of its close."""

    def __init__(self, server):
        super().__init__(server.ws_url, "open", 0)
        self.numbers = []
        self.code = 1006
        self.closed_at = None

    def frame(self, opcode, data):
        if opcode == CLOSE:
            self.code = int.from_bytes(data[:2])
            self.closed_at = time.monotonic()
            self.transport.write(client_frame(data, CLOSE))
        elif opcode == PING:
            self.transport.write(client_frame(data, PONG))
        elif opcode == TEXT:
            self.take(json.loads(data))

    def take(self, envelope):
        if envelope["type"] == "subscribed":
            self.joined.set_result(None)
        elif envelope["type"] == "burst":
            self.numbers.append(envelope["payload"]["n"])

    def connection_lost(self, error):
        self.closed_at = self.closed_at or time.monotonic()


async def gather(server, count):
    """Open ``count`` connections and wait until all have joined the room ``open``."""
    loop, observers = asyncio.get_running_loop(), []
    while len(observers) < count:
        size = min(JOINING_AT_ONCE, count - len(observers))
        added = [Observer(server) for _ in range(size)]
        for observer in added:
            await loop.create_connection(lambda made=observer: made, "127.0.0.1", server.port)
        async with asyncio.timeout(JOIN_TIMEOUT_SECONDS):
            await asyncio.gather(*(each.joined for each in added))
        observers += added
    return observers


async def closes_of(observers, seconds=END_TIMEOUT_SECONDS):
    """Wait until all ``observers`` are closed and count them by close code."""
    await eventually(lambda: all(each.closed_at for each in observers), seconds)
    return Counter(each.code for each in observers)


def keys_of_processes(valkey):
    """The keys that live as long as a process; those of streams stay."""
    return [key for key in valkey.client().keys("*") if not key.startswith("pm_realtime:{asgi:")]


async def exit_code_of(server, seconds=END_TIMEOUT_SECONDS):
    """Wait at most ``seconds`` for the end of ``server`` and return its exit code."""
    return await asyncio.to_thread(server.process.wait, seconds)


@pytest.mark.parametrize(
    ("kind", "options"), [("uvicorn", ""), ("uvicorn", "--workers 2"), ("daphne", "")]
)
async def test_connections_get_all_pushes_before_they_are_closed(cluster, valkey, kind, options):
    [server] = cluster(kind, options={kind: options}, SHUTDOWN_PERIOD=1)
    observers = await gather(server, 60)
    assert (await server.aget("/burst/?room=open&count=50")).body == "sent"
    server.process.send_signal(signal.SIGTERM)
    assert await exit_code_of(server) == 0
    assert await closes_of(observers) == {RESTARTING: 60}
    assert {tuple(each.numbers) for each in observers} == {tuple(range(50))}
    assert keys_of_processes(valkey) == []
    assert server.log == ""


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_draining_server_refuses_handshakes_and_answers_plain_http(cluster, valkey, kind):
    [server] = cluster(kind, SHUTDOWN_PERIOD=3)
    observers = await gather(server, 300)
    server.process.send_signal(signal.SIGTERM)
    await eventually(lambda: any(each.closed_at for each in observers))
    assert await code_of_new_connection(server) == RESTARTING
    assert (await server.aget("/notes/")).json() == {"count": 0}
    assert not all(each.closed_at for each in observers)
    assert await exit_code_of(server) == 0
    assert await closes_of(observers) == {RESTARTING: 300}
    assert keys_of_processes(valkey) == []
    assert server.log == ""


async def code_of_new_connection(server):
    observer = Observer(server)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: observer, "127.0.0.1", server.port)
    [code] = await closes_of([observer])
    return code


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_client_of_a_stopped_process_goes_on_with_another(cluster, kind):
    first, second = cluster(kind, "uvicorn")
    cookie = first.make_sessions("user")["user"]
    async with connect(first, cookie) as client:
        cursors = client.connected["payload"]["cursors"]
        room = (await client.subscribe("open"))["payload"]["cursor"]
        first.process.send_signal(signal.SIGTERM)
        assert await client.closed() == RESTARTING
    assert await exit_code_of(first) == 0
    assert (await second.aget("/burst/?room=open&count=50")).body == "sent"
    user_id = client.connected["payload"]["userId"]
    await second.aget(f"/push-to/{user_id}/?payload=1")
    query = urlencode({"since": json.dumps(cursors)})
    async with connect(second, cookie, query=query) as client:
        assert client.connected["payload"]["recovered"] is True
        assert (await client.receive())["to"] == "user"
        answer = await client.ask("subscribe", {"room": "open", "since": room})
        assert answer["payload"]["recovered"] is True
        assert [(await client.receive())["payload"]["n"] for _ in range(50)] == [*range(50)]


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_process_with_few_connections_ends_at_once(cluster, valkey, kind):
    [server] = cluster(kind, SHUTDOWN_PERIOD=600)
    async with connect(server) as first, connect(server) as second:
        server.process.send_signal(signal.SIGTERM)
        assert await exit_code_of(server) == 0
        assert {await first.closed(), await second.closed()} == {RESTARTING}
    assert keys_of_processes(valkey) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_second_signal_closes_all_remaining_connections(cluster, valkey, kind):
    [server] = cluster(kind, SHUTDOWN_PERIOD=600)
    observers = await gather(server, 600)
    server.process.send_signal(signal.SIGTERM)
    await eventually(lambda: sum(bool(each.closed_at) for each in observers) > 150)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert await exit_code_of(server) == 0
    # Without the signal, one group after another would take another 4.5 s.
    assert time.monotonic() - began < MAX_SECOND_SIGNAL_SECONDS
    assert await closes_of(observers) == {RESTARTING: 600}
    assert keys_of_processes(valkey) == []
    assert server.log == ""


async def test_interrupt_is_left_to_the_server(cluster):
    [server] = cluster("uvicorn", SHUTDOWN_PERIOD=600)
    observers = await gather(server, 20)
    server.process.send_signal(signal.SIGINT)
    assert await closes_of(observers) == {SERVICE_RESTART: 20}


async def test_client_that_does_not_answer_delays_no_shutdown(cluster, valkey):
    [server] = cluster("daphne", SHUTDOWN_PERIOD=600)
    with frozen_reader(server, "open"):
        observers = await gather(server, 5)
        server.process.send_signal(signal.SIGTERM)
        assert await exit_code_of(server) == 0
    assert await closes_of(observers) == {RESTARTING: 5}
    assert keys_of_processes(valkey) == []


@pytest.mark.load
@pytest.mark.slow
async def test_thousand_connections_are_closed_over_the_shutdown_period(cluster, valkey):
    [server] = cluster("uvicorn")
    observers = await gather(server, 1000)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert await exit_code_of(server) == 0
    took = time.monotonic() - began
    assert SHUTDOWN_PERIOD_SECONDS < took < SHUTDOWN_PERIOD_SECONDS + END_TIMEOUT_SECONDS
    assert await closes_of(observers) == {RESTARTING: 1000}
    moments = sorted(each.closed_at for each in observers)
    assert moments[-1] - moments[0] > 0.9 * (SHUTDOWN_PERIOD_SECONDS - 0.1)
    # The pace is 200 a second. A process that is late because of other load may double it.
    assert most_within(moments, SHUTDOWN_PERIOD_SECONDS / 5) < 500
    assert keys_of_processes(valkey) == []
    assert server.log == ""


def most_within(moments, seconds):
    """Return the largest number of the sorted ``moments`` within that many seconds."""
    return max(bisect_right(moments, start + seconds) - at for at, start in enumerate(moments))
