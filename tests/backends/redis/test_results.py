"""The contract of results on a real server, and what becomes of them if processes or Redis fail."""

import asyncio
import subprocess
import sys
import time

import pytest
import redis

from pm_realtime.backends import get_backend, get_results
from pm_realtime.backends.redis import NodeTimings, RedisBackend
from pm_realtime.exceptions import BackendError, OutageError
from tests.backends.redis.support import FAST, environment
from tests.contracts.results import RUNNING, TAKEN, TTL_SECONDS, ResultsContract, done
from tests.support.helpers import eventually

#: Two processes, one of which never renews: as if it were frozen or dead.
NEVER = NodeTimings(claim_lease=0.3, claim_renew_interval=100)


@pytest.fixture
async def pass_time():
    return asyncio.sleep


@pytest.fixture
def results(url):
    return RedisBackend(FAST).results


@pytest.fixture
def others(url):
    return RedisBackend(FAST).results


class TestRedisResults(ResultsContract):
    pass


async def becomes(results, key, claim, seconds=3):
    """Wait until a claim of ``key`` is answered with ``claim``."""
    async with asyncio.timeout(seconds):
        while await results.claim(key, "waiting", TTL_SECONDS) != claim:
            await asyncio.sleep(0.02)


async def until_kept(server, key):
    with server.client() as client:
        name = f"pm_realtime:{{asgi}}:result:{key}"
        await eventually(lambda: (client.get(name) or "").startswith("d"))


def test_store_in_use_is_that_of_the_backend(url):
    assert get_results() is get_backend().results


async def test_claim_lasts_for_as_long_as_the_command_runs(results, others):
    """That is longer than the lease, which is renewed."""
    for number in range(300):
        await results.claim(str(number), "owner", TTL_SECONDS)
    await asyncio.sleep(FAST.claim_lease + 0.2)
    for number in (0, 150, 299):
        assert await others.claim(str(number), "other", TTL_SECONDS) == RUNNING
        await results.keep(str(number), "owner", "1", TTL_SECONDS)
        assert await others.claim(str(number), "other", TTL_SECONDS) == done("1")


async def test_claim_that_is_renewed_ends_after_its_time(results, others):
    await results.claim("key", "owner", FAST.claim_lease + 0.5)
    await asyncio.sleep(FAST.claim_lease + 0.1)
    assert await others.claim("key", "other", TTL_SECONDS) == RUNNING
    await becomes(others, "key", TAKEN)


async def test_nothing_is_renewed_once_no_command_runs(results, client):
    await results.claim("key", "owner", TTL_SECONDS)
    await results.release("key", "owner")
    await asyncio.sleep(3 * FAST.claim_renew_interval)
    (claims,) = results._claims.values()
    assert claims._timer is claims._renewal is None


CLAIM_AND_WAIT = """
import asyncio, django; django.setup()
from pm_realtime.backends.redis import RedisBackend
from tests.backends.redis.support import FAST
async def main():
    results = RedisBackend(FAST).results
    print((await results.claim("key", "dead", 60)).state.value, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_command_of_a_process_that_was_killed_is_free(others, url):
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_WAIT],
        env=environment(LOCATION=url),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert await asyncio.to_thread(process.stdout.readline) == "taken\n"
        await asyncio.sleep(FAST.claim_lease + 0.1)
        assert await others.claim("key", "other", TTL_SECONDS) == RUNNING
    finally:
        process.kill()
        process.wait()
    await becomes(others, "key", TAKEN)


async def test_owner_that_was_frozen_overwrites_nothing(others):
    frozen = RedisBackend(NEVER).results
    for key in ("running", "done", "free"):
        await frozen.claim(key, "frozen", TTL_SECONDS)
    for key in ("running", "done"):
        await becomes(others, key, TAKEN)
    await others.keep("done", "waiting", "2", TTL_SECONDS)
    await next(iter(frozen._claims.values()))._renew()  # It runs on.
    assert await others.claim("done", "other", TTL_SECONDS) == done("2")
    for key in ("running", "done", "free"):
        await frozen.keep(key, "frozen", "1", TTL_SECONDS)
    third = RedisBackend(FAST).results
    assert await third.claim("running", "third", TTL_SECONDS) == RUNNING
    assert await third.claim("done", "third", TTL_SECONDS) == done("2")
    assert await third.claim("free", "third", TTL_SECONDS) == done("1")


async def test_process_that_was_frozen_knows_that_another_may_have_its_key(others):
    frozen = RedisBackend(NEVER).results
    assert await frozen.claim("key", "frozen", TTL_SECONDS) == TAKEN
    may_be_lost = frozen.watch("key", "frozen")
    assert not await asyncio.to_thread(may_be_lost)
    await asyncio.sleep(NEVER.claim_lease + 0.01)
    assert may_be_lost()
    await becomes(others, "key", TAKEN)
    await next(iter(frozen._claims.values()))._renew()
    assert may_be_lost()


async def test_outage_of_redis_is_no_reason_to_think_that_a_key_is_lost(server):
    results = RedisBackend(FAST).results
    for key in ("running", "ended"):
        await results.claim(key, "owner", TTL_SECONDS)
    may_be_lost = results.watch("running", "owner")
    server.crash()
    await results.keep("ended", "owner", "1", TTL_SECONDS)
    await asyncio.sleep(FAST.claim_lease + 0.2)
    assert not may_be_lost()
    server.restart()
    await until_kept(server, "ended")
    assert not may_be_lost()
    assert await RedisBackend(FAST).results.claim("running", "other", TTL_SECONDS) == RUNNING


async def test_command_that_runs_is_claimed_anew_in_a_redis_that_came_back_empty(
    results, others, client
):
    await results.claim("key", "owner", TTL_SECONDS)
    client.flushall()
    # Of the same process at once, of others soon.
    assert await results.claim("key", "other", TTL_SECONDS) == RUNNING
    await eventually(lambda: client.keys("*result:key"))
    assert await others.claim("key", "other", TTL_SECONDS) == RUNNING
    client.flushall()
    await results.keep("key", "owner", "1", TTL_SECONDS)
    assert await others.claim("key", "other", TTL_SECONDS) == done("1")


async def test_end_of_a_command_is_written_once_redis_is_back(server):
    results, others = RedisBackend(FAST).results, RedisBackend(FAST).results
    for key in ("kept", "released"):
        await results.claim(key, "owner", TTL_SECONDS)
    server.crash()
    await results.keep("kept", "owner", "1", TTL_SECONDS)
    await results.release("released", "owner")
    assert await results.claim("kept", "other", TTL_SECONDS) == done("1")
    for key in ("released", "new"):
        with pytest.raises(BackendError, match=f"127.0.0.1:{server.port}"):
            await results.claim(key, "other", TTL_SECONDS)
    server.restart()
    await until_kept(server, "kept")
    assert await others.claim("kept", "other", TTL_SECONDS) == done("1")
    assert await others.claim("released", "other", TTL_SECONDS) == TAKEN


async def test_many_ends_do_not_hold_up_the_leases(results, others):
    """As after an outage, in which clients have tried again and again."""
    await results.claim("key", "owner", TTL_SECONDS)
    (claims,) = results._claims.values()

    async def write_slowly(key, ending):
        await asyncio.sleep(0.01)
        del claims._endings[key]

    claims._write = write_slowly
    ends = [
        asyncio.create_task(results.keep(str(number), "owner", "1", TTL_SECONDS))
        for number in range(500)
    ]
    await asyncio.sleep(0)
    for end in ends:
        end.cancel()
    await asyncio.sleep(FAST.claim_lease + 0.2)
    assert claims._endings
    assert await others.claim("key", "other", TTL_SECONDS) == RUNNING
    claims._endings.clear()


async def test_call_that_waited_does_not_give_up_the_result_of_another(server):
    results = RedisBackend(FAST).results
    await results.claim("key", "owner", TTL_SECONDS)
    server.crash()
    await results.keep("key", "owner", "1", TTL_SECONDS)
    await results.release("key", "waiting")
    assert await results.claim("key", "other", TTL_SECONDS) == done("1")
    server.restart()
    await until_kept(server, "key")


async def test_many_claims_of_a_silent_redis_are_refused_together(server):
    results = RedisBackend(FAST).results
    await results.claim("earlier", "owner", TTL_SECONDS)
    with server.frozen():
        began = time.monotonic()
        claims = [results.claim(str(number), "owner", TTL_SECONDS) for number in range(100)]
        refusals = await asyncio.gather(*claims, return_exceptions=True)
        assert {type(refusal) for refusal in refusals} == {OutageError}
        assert time.monotonic() - began < 5 * FAST.timeout
        began = time.monotonic()
        await results.keep("earlier", "owner", "1", TTL_SECONDS)
        assert time.monotonic() - began < FAST.timeout
    await until_kept(server, "earlier")
    assert await RedisBackend(FAST).results.claim("earlier", "other", 60) == done("1")


async def test_claim_without_an_answer_is_given_back(server):
    results, others = RedisBackend(FAST).results, RedisBackend(FAST).results
    await others.claim("another", "other", TTL_SECONDS)
    with server.frozen(), pytest.raises(BackendError):
        await results.claim("key", "owner", TTL_SECONDS)
    await becomes(others, "key", TAKEN, FAST.claim_lease)


async def test_cancelled_claim_is_given_back(results, others):
    await results.claim("earlier", "owner", TTL_SECONDS)
    task = asyncio.ensure_future(results.claim("key", "owner", TTL_SECONDS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await becomes(others, "key", TAKEN, FAST.claim_lease)


async def test_owner_that_claims_again_after_a_failure_is_not_given_back(server):
    results, others = RedisBackend(FAST).results, RedisBackend(FAST).results
    server.crash()
    with pytest.raises(BackendError):
        await results.claim("key", "owner", TTL_SECONDS)
    server.restart()
    assert await results.claim("key", "owner", TTL_SECONDS) == TAKEN
    await asyncio.sleep(3 * FAST.retry_interval)
    assert await others.claim("key", "other", TTL_SECONDS) == RUNNING


async def test_keys_are_in_the_slot_of_the_state(results, client, configure, url):
    await results.claim("key", "owner", TTL_SECONDS)
    await results.keep("key", "owner", "1", TTL_SECONDS)
    assert client.keys("pm_realtime:*") == ["pm_realtime:{asgi}:result:key"]
    assert 0 < client.ttl("pm_realtime:{asgi}:result:key") <= TTL_SECONDS


async def test_sites_with_different_namespaces_share_no_results(url, settings):
    await get_results().claim("key", "owner", TTL_SECONDS)
    settings.PM_REALTIME = {**settings.PM_REALTIME, "NAMESPACE": "shop"}
    assert await get_results().claim("key", "other", TTL_SECONDS) == TAKEN
    await get_results().forget_all()
    with redis.Redis.from_url(url) as client:
        assert len(client.keys("pm_realtime:*result:key")) == 1
