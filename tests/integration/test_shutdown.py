"""SIGTERM on real servers: everybody is told to come back, in turn, and nothing stays behind."""

import asyncio
import json
import signal
import time
from bisect import bisect_right
from collections import Counter

import pytest
import websockets

from tests.integration.client import Client, connect
from tests.integration.crowd import CLOSE, PING, PONG, TEXT, Subscriber, client_frame
from tests.integration.test_load import frozen_reader
from tests.support.helpers import eventually

RESTARTING = 4012
#: What uvicorn itself closes with.
SERVICE_RESTART = 1012
#: The default of SHUTDOWN_PERIOD.
PERIOD = 5
#: Seconds in which a process ends that has nothing to wait for.
SOON = 15


class Witness(Subscriber):
    """A subscriber that notes what it is sent, and with which code and when it is closed."""

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
    """``count`` subscribers of the room ``open`` that have all joined."""
    loop, witnesses = asyncio.get_running_loop(), []
    while len(witnesses) < count:
        fresh = [Witness(server) for _ in range(min(50, count - len(witnesses)))]
        for witness in fresh:
            await loop.create_connection(lambda made=witness: made, "127.0.0.1", server.port)
        await asyncio.wait_for(asyncio.gather(*(each.joined for each in fresh)), 60)
        witnesses += fresh
    return witnesses


async def all_closed(witnesses, seconds=SOON):
    """How often each code was seen, when all are closed."""
    await eventually(lambda: all(each.closed_at for each in witnesses), seconds)
    return Counter(each.code for each in witnesses)


async def end_of(server, seconds=SOON):
    """The exit code of ``server``, which is to end within ``seconds``."""
    return await asyncio.to_thread(server.process.wait, seconds)


@pytest.mark.parametrize(
    ("kind", "options"), [("uvicorn", ""), ("uvicorn", "--workers 2"), ("daphne", "")]
)
async def test_all_get_what_was_pushed_and_are_told_to_come_back(cluster, valkey, kind, options):
    [server] = cluster(kind, options={kind: options}, SHUTDOWN_PERIOD=1)
    witnesses = await gather(server, 60)
    assert (await server.aget("/burst/?room=open&count=50")).body == "sent"
    server.process.send_signal(signal.SIGTERM)
    assert await end_of(server) == 0
    assert await all_closed(witnesses) == {RESTARTING: 60}
    assert {tuple(each.numbers) for each in witnesses} == {tuple(range(50))}
    assert valkey.client().keys() == []
    assert server.log == ""


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_whoever_comes_meanwhile_is_sent_on_and_plain_http_is_answered(cluster, valkey, kind):
    [server] = cluster(kind, SHUTDOWN_PERIOD=3)
    witnesses = await gather(server, 300)
    server.process.send_signal(signal.SIGTERM)
    await eventually(lambda: any(each.closed_at for each in witnesses))
    assert await code_of_late_comer(server) == RESTARTING
    assert (await server.aget("/notes/")).json() == {"count": 0}
    assert not all(each.closed_at for each in witnesses)
    assert await end_of(server) == 0
    assert await all_closed(witnesses) == {RESTARTING: 300}
    assert valkey.client().keys() == []
    assert server.log == ""


async def code_of_late_comer(server):
    late = Witness(server)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: late, "127.0.0.1", server.port)
    [code] = await all_closed([late])
    return code


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_the_place_of_a_connection_that_dropped_stays_in_no_group(cluster, valkey, kind):
    [server] = cluster(kind, layer="core", RESUME_PERIOD=600)
    async with websockets.connect(f"{server.ws_url}?resume=") as first:
        connection_id = json.loads(await first.recv())["payload"]["connectionId"]
        assert (await Client(first, None).subscribe("open"))["type"] == "subscribed"
        async with websockets.connect(f"{server.ws_url}?resume={connection_id},1") as second:
            assert json.loads(await second.recv())["payload"]["resumed"] == connection_id
    server.process.send_signal(signal.SIGTERM)
    assert await end_of(server) == 0
    assert valkey.client().keys() == []
    assert server.log == ""


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
async def test_a_process_with_few_connections_ends_at_once(cluster, valkey, kind):
    [server] = cluster(kind, SHUTDOWN_PERIOD=600)
    async with connect(server) as first, connect(server) as second:
        server.process.send_signal(signal.SIGTERM)
        assert await end_of(server) == 0
        assert {await first.closed(), await second.closed()} == {RESTARTING}
    assert valkey.client().keys() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_a_second_signal_closes_all_that_are_left(cluster, valkey, kind):
    [server] = cluster(kind, SHUTDOWN_PERIOD=600)
    witnesses = await gather(server, 600)
    server.process.send_signal(signal.SIGTERM)
    await eventually(lambda: sum(bool(each.closed_at) for each in witnesses) > 150)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert await end_of(server) == 0
    # One group after another it would have taken another four and a half seconds.
    assert time.monotonic() - began < 3.5
    assert await all_closed(witnesses) == {RESTARTING: 600}
    assert valkey.client().keys() == []
    assert server.log == ""


async def test_an_interrupt_is_left_to_the_server(cluster):
    [server] = cluster("uvicorn", SHUTDOWN_PERIOD=600)
    witnesses = await gather(server, 20)
    server.process.send_signal(signal.SIGINT)
    assert await all_closed(witnesses) == {SERVICE_RESTART: 20}


async def test_a_client_that_does_not_answer_holds_up_nobody(cluster, valkey):
    [server] = cluster("daphne", SHUTDOWN_PERIOD=600)
    with frozen_reader(server, "open"):
        witnesses = await gather(server, 5)
        server.process.send_signal(signal.SIGTERM)
        assert await end_of(server) == 0
    assert await all_closed(witnesses) == {RESTARTING: 5}
    assert valkey.client().keys() == []


@pytest.mark.load
@pytest.mark.slow
async def test_a_thousand_are_closed_over_the_period(cluster, valkey):
    [server] = cluster("uvicorn")
    witnesses = await gather(server, 1000)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert await end_of(server) == 0
    assert PERIOD < time.monotonic() - began < PERIOD + SOON
    assert await all_closed(witnesses) == {RESTARTING: 1000}
    moments = sorted(each.closed_at for each in witnesses)
    assert moments[-1] - moments[0] > 0.9 * (PERIOD - 0.1)
    # At the pace set, 200 in each second; a machine that is busy catches up at twice the pace.
    assert most_within(moments, PERIOD / 5) < 500
    assert valkey.client().keys() == []
    assert server.log == ""


def most_within(moments, seconds):
    """The largest number of the sorted ``moments`` that lie within ``seconds``."""
    return max(bisect_right(moments, start + seconds) - at for at, start in enumerate(moments))
