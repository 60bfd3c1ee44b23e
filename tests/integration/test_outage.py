"""Valkey goes away under load and comes back: what clients, views and the log see of it."""

import asyncio
import time

import pytest
import redis

from tests.integration.traffic import (
    RECOVERY,
    ROOMS,
    Traffic,
    until_log_says_that_all_is_back,
)

#: Seconds within which whoever asks has an answer.
LONGEST = 3.5


@pytest.fixture(params=["pubsub", pytest.param("core", marks=pytest.mark.slow)])
def servers(request, cluster):
    """A uvicorn and a daphne."""
    return cluster(
        "uvicorn",
        "daphne",
        layer=request.param,
        config={"capacity": 5000} if request.param == "core" else {},
        ROOMS=ROOMS,
        MAX_ROOMS_PER_CONNECTION=1000,
    )


async def kill_and_start_5_s_later(valkey):
    valkey.kill()
    await asyncio.sleep(5)
    valkey.start()


async def kill_and_start_at_once(valkey):
    valkey.kill()
    valkey.start()


async def forget_all(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()


#: How what is asked may end, whatever happens to Valkey.
OUTCOMES = {
    "ping": {"pong"},
    "message": {"message", "INTERNAL_ERROR"},
    "subscribe": {"subscribed", "INTERNAL_ERROR"},
    "unsubscribe": {"unsubscribed"},
    "handshake": {"connected", "4013"},
    "push": {"sent", "refused"},
    "saved": {"saved"},
}


@pytest.mark.parametrize(
    "strike",
    [
        kill_and_start_at_once,
        pytest.param(forget_all, marks=pytest.mark.slow),
        pytest.param(kill_and_start_5_s_later, marks=pytest.mark.slow),
    ],
)
async def test_all_is_well_again_without_anybody_acting(servers, valkey, strike):
    async with Traffic(servers) as traffic:
        await traffic.until_all_have_answers()
        struck = time.monotonic()
        await strike(valkey)
        is_back = time.monotonic()
        await traffic.until_pushes_flow(RECOVERY)
        is_flowing = time.monotonic()
        await traffic.stop()
        await traffic.until_counted(is_back + RECOVERY)
        await traffic.until_all_arrives()
        assert all(listener.is_open for listener in traffic.listeners)
    # What Valkey took, it may forget: nothing else is without an answer.
    assert_answers(traffic, forgetful_until=is_flowing if strike is forget_all else struck)
    if strike is kill_and_start_5_s_later:
        assert_refusals(traffic, struck + LONGEST, is_back)
    for server in servers:
        await until_log_says_that_all_is_back(server)


def assert_answers(traffic, forgetful_until):
    for answer in traffic.answers:
        if answer.what == "message" and answer.began <= forgetful_until:
            continue
        assert answer.outcome in OUTCOMES[answer.what], answer
        assert answer.seconds < LONGEST, answer


def assert_refusals(traffic, start, end):
    """Between these moments nothing is done that needs Valkey, and all else is."""
    found = {}
    for answer in traffic.answers:
        if start < answer.began and answer.began + answer.seconds < end:
            found.setdefault(answer.what, set()).add(answer.outcome)
    assert found.pop("subscribe") >= {"INTERNAL_ERROR"}
    assert found == {
        "ping": {"pong"},
        "message": {"INTERNAL_ERROR"},
        "unsubscribe": {"unsubscribed"},
        "handshake": {"4013"},
        "push": {"refused"},
        "saved": {"saved"},
    }
