import asyncio
import os

import pytest

from pm_realtime.backends import get_backend, get_results
from pm_realtime.backends.memory_results import BYTES_PER_RESULT, MemoryResults
from tests.contracts.results import RUNNING, TAKEN, TTL_SECONDS, ResultsContract, done


@pytest.fixture
def results(clock):
    return MemoryResults(clock=clock.monotonic)


@pytest.fixture
def others(results):
    return results


async def keep_all(results, keys, result="1", ttl_seconds=TTL_SECONDS):
    for key in keys:
        await results.claim(key, "owner", ttl_seconds)
        await results.keep(key, "owner", result, ttl_seconds)


async def states(results, keys):
    return [await results.claim(key, "probe", TTL_SECONDS) for key in keys]


class TestMemoryResults(ResultsContract):
    pass


async def test_earliest_results_go_if_all_are_too_large(clock):
    result = "x" * 1000
    size = BYTES_PER_RESULT + len("a") + len(result)
    results = MemoryResults(clock=clock.monotonic, max_bytes=3 * size)
    await keep_all(results, "abcd", result)
    assert await states(results, "bcd") == [done(result)] * 3
    assert await states(results, "a") == [TAKEN]


async def test_bytes_of_a_result_are_counted_in_utf_8(clock):
    results = MemoryResults(clock=clock.monotonic, max_bytes=2 * (BYTES_PER_RESULT + 1) + 3000)
    await keep_all(results, "ab", "é" * 1000)
    assert await states(results, "ab") == [TAKEN, done("é" * 1000)]


async def test_commands_that_run_are_never_dropped(clock):
    results = MemoryResults(clock=clock.monotonic, max_bytes=0)
    assert await results.claim("running", "owner", TTL_SECONDS) == TAKEN
    await keep_all(results, "abc")
    assert await states(results, "abc") == [TAKEN] * 3
    assert await states(results, ["running"]) == [RUNNING]


async def test_memory_of_old_results_and_claims_is_freed(results, clock):
    await keep_all(results, map(str, range(100)))
    for number in range(100):
        await results.claim(f"running {number}", "owner", TTL_SECONDS)
    assert len(results) == 200
    clock.now += TTL_SECONDS
    for number in range(30):
        await results.claim(f"new {number}", "owner", TTL_SECONDS)
    assert len(results) == 30


async def test_result_that_is_kept_for_longer_does_not_hold_up_the_others(results, clock):
    await keep_all(results, ["long"], ttl_seconds=10 * TTL_SECONDS)
    await keep_all(results, map(str, range(20)))
    clock.now += TTL_SECONDS
    await keep_all(results, map("new {}".format, range(20)))
    assert len(results) == 21


def test_child_of_a_fork_has_none_of_the_claims():
    results = MemoryResults()
    asyncio.run(results.claim("key", "owner", TTL_SECONDS))
    with results._lock:  # As if another thread held it.
        if (child := os.fork()) == 0:
            try:
                os._exit(asyncio.run(results.claim("key", "child", TTL_SECONDS)) != TAKEN)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_store_in_use_is_that_of_the_backend():
    assert get_results() is get_backend().results
