"""Nothing is lost, doubled or out of order, whatever breaks."""

import asyncio
import os
import random
import time
from collections import Counter

import pytest

from tests.integration.chaos import faults
from tests.integration.chaos.comparison import count_deliveries
from tests.integration.chaos.run import Run

#: Seconds of traffic between two faults.
QUIET_SECONDS = 3
DELIVERIES = 1_000_000
CLIENT_TOO_SLOW = "4002"


@pytest.mark.load
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_nothing_is_lost_in_a_million_deliveries(tmp_path, durable):
    seed = int(os.environ.get("TEST_CHAOS_SEED", random.randrange(10**6)))
    print(f"TEST_CHAOS_SEED={seed}")
    rng = random.Random(seed)
    async with Run(tmp_path, durable.url, members=6) as run:
        began = time.monotonic()
        await run.start_traffic(per_second=200, sends_per_second=8)
        happened = Counter()
        while await run.delivered() < DELIVERIES or len(happened) < len(faults.FAULTS):
            for fault in rng.sample(faults.FAULTS, len(faults.FAULTS)):
                await fault(run, durable, rng)
                happened[fault.__name__] += 1
                await asyncio.sleep(QUIET_SECONDS)
        found = await run.finish()
        seconds = time.monotonic() - began
        print(f"{count_deliveries(run.reports):,} deliveries in {seconds:.0f} s, {happened}")
        found.check()
        assert found.closes[CLIENT_TOO_SLOW] > 0
        assert found.recovered["true"] > 0
        assert found.recovered["false"] == 0


async def test_nothing_is_lost_when_a_server_is_killed_and_wires_break(tmp_path, durable):
    """The long run in short."""
    rng = random.Random(1)
    async with Run(tmp_path, durable.url) as run:
        await run.start_traffic(per_second=50, sends_per_second=2)
        await faults.reset_wires(run, durable, rng)
        await faults.kill_server(run, durable, rng)
        await faults.kill_valkey(run, durable, rng)
        await asyncio.sleep(1)
        (await run.finish()).check()
