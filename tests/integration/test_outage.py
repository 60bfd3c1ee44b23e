"""Clients, views and the log during an outage of Valkey under load, and after it."""

import asyncio
import time

import pytest
import redis

from tests.integration.traffic import (
    RECOVERY_SECONDS,
    ROOMS,
    Traffic,
    until_end_of_outage_is_logged,
)

MAX_ANSWER_SECONDS = 3.5
OUTAGE_SECONDS = 5


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


async def kill_and_start_later(valkey):
    valkey.kill()
    await asyncio.sleep(OUTAGE_SECONDS)
    valkey.start()


async def kill_and_start_at_once(valkey):
    valkey.kill()
    valkey.start()


async def flush(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()


#: The possible outcomes of each kind of request.
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
    "break_valkey",
    [
        kill_and_start_at_once,
        pytest.param(flush, marks=pytest.mark.slow),
        # Alone: many requests wait then for the same moment.
        pytest.param(kill_and_start_later, marks=[pytest.mark.slow, pytest.mark.load]),
    ],
)
async def test_service_recovers_from_an_outage_by_itself(servers, valkey, break_valkey):
    async with Traffic(servers) as traffic:
        await traffic.until_all_have_answers()
        began = time.monotonic()
        await break_valkey(valkey)
        ended = time.monotonic()
        await traffic.until_pushes_arrive(RECOVERY_SECONDS)
        recovered = time.monotonic()
        await traffic.stop()
        await traffic.until_counted(ended + RECOVERY_SECONDS)
        await traffic.assert_pushes_reach_all_members()
        assert all(listener.is_open for listener in traffic.listeners)
    # A message that Valkey accepted may be lost. All other requests are answered.
    assert_answers(traffic, lossy_until=recovered if break_valkey is flush else began)
    if break_valkey is kill_and_start_later:
        assert_refusals(traffic, began + MAX_ANSWER_SECONDS, ended)
    for server in servers:
        await until_end_of_outage_is_logged(server)


def assert_answers(traffic, lossy_until):
    for answer in traffic.answers:
        if answer.kind == "message" and answer.began <= lossy_until:
            continue
        assert answer.outcome in OUTCOMES[answer.kind], answer
        assert answer.seconds < MAX_ANSWER_SECONDS, answer


def assert_refusals(traffic, start, end):
    """Between these times all requests that need Valkey were refused, and no others."""
    found = {}
    for answer in traffic.answers:
        if start < answer.began and answer.began + answer.seconds < end:
            found.setdefault(answer.kind, set()).add(answer.outcome)
    assert found.pop("subscribe") >= {"INTERNAL_ERROR"}
    assert found == {
        "ping": {"pong"},
        "message": {"INTERNAL_ERROR"},
        "unsubscribe": {"unsubscribed"},
        "handshake": {"4013"},
        "push": {"refused"},
        "saved": {"saved"},
    }
