"""Calls to a layer outside of this process: in time, few at once, refused in an outage."""

import asyncio
from contextlib import suppress

import pytest

from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.hub import get_hub
from pm_realtime.layer import adapter_for
from pm_realtime.layer.adapter import (
    MAX_LAYER_CALLS,
    GuardedCalls,
    calls_of_loop,
    outage_error,
    reason_of,
)
from pm_realtime.layer.process_channel import OPEN_RETRY_SECONDS
from tests.support.hubs import Member


@pytest.fixture(autouse=True)
async def short_timeout():
    calls_of_loop.set(GuardedCalls(timeout_seconds=0.15))


async def test_call_without_an_answer_fails_in_time(far):
    far.is_frozen = True
    with pytest.raises(OutageError, match=r"^The channel layer: no answer within 0\.15 s$"):
        await adapter_for(far).group_send("g", {})


async def test_mistake_in_a_call_is_no_outage(far):
    async def group_send(group, message):
        raise TypeError("not a group")

    far.group_send = group_send
    with pytest.raises(BackendError, match="TypeError: not a group") as raised:
        await adapter_for(far).group_send("g", {})
    assert not isinstance(raised.value, OutageError)


async def test_few_calls_are_under_way_at_once(far):
    await asyncio.gather(*(adapter_for(far).group_send("g", {"n": n}) for n in range(100)))
    assert [message["n"] for _, message in far.sent] == list(range(100))
    assert far.most_calls == MAX_LAYER_CALLS


async def test_open_breaker_refuses_all_calls_but_probes(far):
    calls_of_loop.get().outage_reason = "gone"
    with pytest.raises(OutageError, match=r"^The channel layer: gone$"):
        await adapter_for(far).group_send("g", {})
    await adapter_for(far).group_send("g", {"n": 1}, is_probe=True)
    calls_of_loop.get().outage_reason = None
    await adapter_for(far).group_send("g", {"n": 2})
    assert [message["n"] for _, message in far.sent] == [1, 2]


async def test_failed_open_is_not_repeated_at_once(far):
    hub, member = get_hub(), Member("1")
    far.is_away = True
    with pytest.raises(OutageError, match="the layer is away"):
        await hub.add(member)
    far.is_away = False
    with pytest.raises(OutageError, match="it was away a moment ago"):
        await hub.add(member)
    assert far.queues == {}
    await asyncio.sleep(OPEN_RETRY_SECONDS)
    await hub.add(member)
    await hub.remove(member)


async def test_call_that_swallows_its_cancellation_delays_no_other(far):
    async def group_send(group, message):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        await asyncio.sleep(1)

    far.group_send = group_send
    async with asyncio.timeout(0.5):
        with pytest.raises(OutageError):
            await adapter_for(far).group_send("g", {})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("reset"), "ConnectionError: reset"),
        (TimeoutError("no answer within 1 s"), "no answer within 1 s"),
        (outage_error("no answer within 1 s"), "no answer within 1 s"),
        (BackendError("Redis at host: gone"), "Redis at host: gone"),
    ],
)
def test_reason_of_an_error_does_not_name_the_layer(error, reason):
    assert reason_of(error) == reason
