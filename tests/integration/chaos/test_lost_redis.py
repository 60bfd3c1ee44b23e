"""A Redis that forgets: emptied, killed with a file that lacks its last second, or promoted too
early. Nothing that it still has is lost, doubled or taken for an old message."""

import asyncio
import contextlib
import random

import pytest

from tests.integration.chaos import faults
from tests.integration.chaos.run import Run
from tests.support.address import Address
from tests.support.helpers import eventually
from tests.support.valkey import Valkey

pytestmark = pytest.mark.slow

TRAFFIC = {"per_second": 50, "sends_per_second": 2}
#: A stream without new messages is looked at within 25 seconds.
CHECK_SECONDS = 30


@pytest.mark.timeout(180)
async def test_emptied_redis_is_one_gap_in_each_stream(tmp_path, valkey):
    async with Run(tmp_path, valkey.url) as run:
        await run.start_traffic(**TRAFFIC)
        await asyncio.sleep(1)
        offline = faults.some(run, random.Random(2))
        # A message that is in Redis, but has no answer, is sent again. Redis does not know it then.
        await run.until_answered()
        run.network.cut(offline)
        await run.clients.do("send", perSecond=TRAFFIC["sends_per_second"])
        await asyncio.sleep(0.5)
        await asyncio.to_thread(lambda: valkey.client().flushall())
        await asyncio.sleep(1)
        run.network.abort(offline)
        run.network.heal(offline)
        await asyncio.sleep(1)
        await faults.reset_wires(run, valkey, random.Random(1))
        await asyncio.sleep(2)
        found = await run.finish(settle_seconds=3)
        found.check(run.roles.keys() - set(offline), gaps=1)
        found.check(offline, gaps=1, may_miss=None)


@pytest.mark.timeout(180)
async def test_emptied_redis_is_a_gap_although_nothing_is_pushed_afterwards(tmp_path, valkey):
    async with Run(tmp_path, valkey.url, kinds=("uvicorn", "daphne"), members=1) as run:
        await run.start_traffic(**TRAFFIC)
        await asyncio.sleep(1)
        await run.stop_traffic()
        await asyncio.to_thread(lambda: valkey.client().flushall())
        expected = sum(len(run.streams_of(client)) for client in run.roles)
        async with asyncio.timeout(CHECK_SECONDS):
            while await run.gaps() < expected:
                await asyncio.sleep(0.5)
        (await run.finish()).check(gaps=1)


async def lose_the_last_second(run, forget, lose):
    """Call ``forget()``, from which on Redis keeps nothing, and ``lose()`` a second later."""
    await run.start_traffic(**TRAFFIC)
    await asyncio.sleep(1)
    kept = await run.stop_traffic()
    await forget()
    offline = faults.some(run, random.Random(1))
    run.network.cut(offline)
    await run.start_traffic(per_second=50, sends_per_second=0)
    await asyncio.sleep(1)
    pushed = await run.stop_traffic()
    await lose()
    run.network.abort(offline)
    run.network.heal(offline)
    await run.start_traffic(**TRAFFIC)
    await asyncio.sleep(3)
    lost = {
        (stream, sender, number)
        for stream, counts in pushed.items()
        for sender, count in counts.items()
        for number in range(kept[stream][sender], count)
    }
    found = await run.finish(settle_seconds=3)
    # These have seen the messages that Redis has lost, too.
    found.check(run.roles.keys() - set(offline))
    found.check(offline, may_miss=lost)
    assert found.missed


@pytest.mark.timeout(180)
async def test_killed_redis_whose_file_lacks_the_last_second(tmp_path):
    """As after a power cut with ``appendfsync everysec``."""
    valkey = Valkey("--appendonly", "yes", "--appendfsync", "everysec")
    sizes = []

    def log():
        return next(valkey.folder.glob("appendonlydir/*.incr.aof"))

    async def forget():
        sizes.append(log().stat().st_size)

    def crash():
        valkey.crash()
        with log().open("r+b") as file:
            file.truncate(sizes[0])
        valkey.restart()

    async def lose():
        await asyncio.to_thread(crash)

    try:
        async with Run(tmp_path, valkey.url) as run:
            await lose_the_last_second(run, forget, lose)
    finally:
        valkey.kill()


@pytest.mark.timeout(180)
async def test_promoted_replica_that_lacks_the_last_second(tmp_path, valkey):
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(Address(valkey))
        front = stack.enter_context(Address(valkey))
        replica = Valkey("--replicaof", f"127.0.0.1 {wire.port}")
        stack.callback(replica.kill)

        def offsets():
            found = [server.client().info("replication") for server in (valkey, replica)]
            return found[0]["master_repl_offset"], found[1].get("slave_repl_offset")

        async def forget():
            await eventually(lambda: len(set(offsets())) == 1)
            wire.forget()

        async def lose():
            await asyncio.to_thread(valkey.crash)
            replica.client().replicaof("NO", "ONE")
            front.point_to(replica)
            front.cut()

        async with Run(tmp_path, front.url) as run:
            await lose_the_last_second(run, forget, lose)
