"""A flood does little harm to other connections, and its memory is freed."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.client import Listener, connect

pytestmark = [pytest.mark.load, pytest.mark.slow, pytest.mark.timeout(300)]

HANDSHAKE_COUNT, ABUSER_COUNT = 2000, 200
MIN_FLOOD_SECONDS = 15
FLOOD_END_TIMEOUT_SECONDS = 60
MEMORY_TIMEOUT_SECONDS = 60
PING_INTERVAL_SECONDS = 0.2
#: The 99th percentile of pings, if the server has a core of its own.
MAX_PING_SECONDS = 0.25
MAX_GROWTH_BYTES = 30_000_000
MAX_FLOODS = 4


def pin_to_core(process, number):
    """Run ``process`` on the core with that number, modulo the number of cores."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, {cores[number % len(cores)]})


@contextlib.contextmanager
def flood(server, cookie, handshakes, abusers):
    """Run a flood; yield its process and a dict that has its counts afterwards."""
    arguments = [server.ws_url, cookie, str(handshakes), str(abusers)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.flood", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=server.env,
    )
    pin_to_core(process, 1)
    counts = {}
    try:
        yield process, counts
        out, _ = process.communicate(timeout=FLOOD_END_TIMEOUT_SECONDS)
        counts.update(json.loads(out))
    finally:
        process.kill()
        process.wait()


async def ping_until(done, clients):
    """Ping from all ``clients`` until ``done()``; return the sorted durations in seconds."""

    async def ping(client):
        began = time.monotonic()
        await client.ask("ping")
        return time.monotonic() - began

    tasks = []
    while not done():
        tasks += [asyncio.create_task(ping(client)) for client in clients]
        await asyncio.sleep(PING_INTERVAL_SECONDS)
    return sorted(await asyncio.gather(*tasks))


async def memory_after(server, count, blocks=float("inf")):
    """Return the memory of the server when only ``count`` connections are left.

    Waits until at most ``blocks`` blocks are in use. The server keeps a socket that does not
    answer its close frame for 10 s.
    """
    async with asyncio.timeout(MEMORY_TIMEOUT_SECONDS):
        while (await server.aget("/stats/")).json()["totalConnections"] != count:
            await asyncio.sleep(0.1)
        while (memory := (await server.aget("/memory/")).json())["blocks"] > blocks:
            await asyncio.sleep(0.5)
    return memory


def core_time(process):
    """Return the seconds for which ``process`` has run, and has waited for its core."""
    found = [
        path.read_text().split()[:2]
        for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    ]
    return tuple(sum(map(int, column)) / 1e9 for column in zip(*found, strict=True))


async def measure_flood(server, cookie, others):
    """Run one flood; return its counts, the durations of pings, and the slowdown of the core.

    Other tests run on the same cores. A process that waits as long for its core as it runs is as
    slow as one with half a core, which is a slowdown of 2.
    """
    ran, waited = core_time(server.process)
    with flood(server, cookie, HANDSHAKE_COUNT, ABUSER_COUNT) as (process, counts):
        deadline = time.monotonic() + MIN_FLOOD_SECONDS
        all_in = asyncio.create_task(asyncio.to_thread(process.stdout.readline))
        took = await ping_until(lambda: all_in.done() and time.monotonic() > deadline, others)
    ran, waited = (
        now - then for now, then in zip(core_time(server.process), (ran, waited), strict=True)
    )
    return counts, took, (ran + waited) / ran


async def test_pings_of_others_stay_fast_and_memory_is_freed(serve):
    server = serve("uvicorn", RATE_LIMIT="20/s", CONNECT_RATE_PER_USER=None)
    pin_to_core(server.process, 0)
    cookies = server.make_sessions("user", "editor", "admin")
    async with contextlib.AsyncExitStack() as stack:
        # Each user pings at half the rate limit: pings that were late arrive together.
        others = [
            await stack.enter_async_context(connect(server, cookies[role], kind=Listener))
            for role in ("editor", "admin") * 2
        ]
        await asyncio.gather(*(client.ask("ping") for client in others))
        memory, is_in_time = [await memory_after(server, 4)], False
        blocks = 1.2 * memory[0]["blocks"]
        while len(memory) < 3 or (not is_in_time and len(memory) <= MAX_FLOODS):
            counts, took, slowdown = await measure_flood(server, cookies["user"], others)
            memory.append(await memory_after(server, 4, blocks))
            assert counts["handshakes"]["answered 101"] == HANDSHAKE_COUNT
            assert counts["abuses"]["closed 4003"] > ABUSER_COUNT / 2
            is_in_time |= took[int(len(took) * 0.99)] < MAX_PING_SECONDS * slowdown
            print(took[len(took) // 2], took[int(len(took) * 0.99)], took[-1], slowdown)
    print(memory)
    assert is_in_time, f"pings took {took[-20:]} s, at a slowdown of {slowdown}"
    # Freed memory returns to the system only in part, but the next flood uses it again.
    assert memory[-1]["bytes"] < memory[1]["bytes"] + MAX_GROWTH_BYTES
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log
