"""A client that was away gets all that its streams were sent, from another process than before."""

import asyncio
import time

import pytest

from tests.integration.chaos.run import Run

PER_SECOND = 40


async def leave(run, clients):
    """The wires of ``clients`` carry nothing any more, and new ones reach the last server."""
    run.network.cut(clients)
    run.network.ports = [run.servers[-1].port]


async def return_(run, clients):
    run.network.abort(clients)
    run.network.heal(clients)


@pytest.mark.parametrize(
    ("period", "short", "long"),
    [
        pytest.param(4, 1, 6, id="scaled"),
        pytest.param(60, 50, 70, id="real", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(180)
async def test_client_recovers_within_the_period_and_is_told_of_a_gap_after_it(
    tmp_path, valkey, period, short, long
):
    settings = {"RECOVERY_PERIOD": period, "RECOVERY_SIZE": 2000}
    async with Run(tmp_path, valkey.url, kinds=("uvicorn", "daphne"), members=2, **settings) as run:
        run.network.ports = [run.servers[0].port]
        soon = [name for name in run.roles if name.endswith("-0")]
        late = [name for name in run.roles if name.endswith("-1")]
        await run.start_traffic(per_second=PER_SECOND, sends_per_second=0)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await leave(run, [*soon, *late])
        await asyncio.sleep(short)
        await return_(run, soon)
        await asyncio.sleep(began + long - time.monotonic())
        await return_(run, late)
        await run.until_open(2)
        found = await run.finish(settle_seconds=3)
        found.check(soon)
        found.check(late, gaps=1, may_miss=None)
        assert found.missed
        for report in run.reports:
            is_soon = report["name"] in soon
            assert report["recovered"] == {"true": int(is_soon), "false": int(not is_soon)}
            assert all(stream["replayed"] for stream in report["streams"].values())


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1])
async def test_single_message_of_a_break_arrives_though_none_came_before(tmp_path, valkey, count):
    async with Run(tmp_path, valkey.url, kinds=("uvicorn", "daphne"), members=1) as run:
        run.network.ports = [run.servers[0].port]
        await leave(run, run.roles)
        for stream in run.streams:
            await run.publishers[0].do("burst", stream=stream, count=count, padding=0)
        await return_(run, run.roles)
        await run.until_open(2)
        for stream in run.streams:
            await run.publishers[0].do("burst", stream=stream, count=1, padding=0)
        (await run.finish()).check()
        for report in run.reports:
            assert report["recovered"] == {"true": 1, "false": 0}
            assert all(stream["replayed"] == count for stream in report["streams"].values())
