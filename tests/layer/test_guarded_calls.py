"""Calls to a layer outside of this process: in time, few at once, refused in an outage."""

import asyncio
from contextlib import suppress

import pytest

from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer import guarded_calls
from pm_realtime.layer.guarded_calls import GuardedCalls, calls_of_loop


@pytest.fixture(autouse=True)
async def short_timeout():
    calls_of_loop.set(GuardedCalls(timeout_seconds=0.15))


async def test_call_without_an_answer_fails_in_time(far):
    far.is_frozen = True
    with pytest.raises(OutageError, match=r"^The channel layer: no answer within 0\.15 s$"):
        await guarded_calls.group_send(far, "g", {})


async def test_mistake_in_a_call_is_no_outage(far):
    async def group_send(group, message):
        raise TypeError("not a group")

    far.group_send = group_send
    with pytest.raises(BackendError, match="TypeError: not a group") as raised:
        await guarded_calls.group_send(far, "g", {})
    assert not isinstance(raised.value, OutageError)


async def test_few_calls_are_under_way_at_once(far):
    await asyncio.gather(*(guarded_calls.group_send(far, "g", {"n": n}) for n in range(100)))
    assert [message["n"] for _, message in far.sent] == list(range(100))
    assert far.most_calls == guarded_calls.MAX_LAYER_CALLS


async def test_open_breaker_refuses_all_calls_but_probes(far):
    guarded_calls.open_breaker("gone")
    with pytest.raises(OutageError, match=r"^The channel layer: gone$"):
        await guarded_calls.group_send(far, "g", {})
    await guarded_calls.group_send(far, "g", {"n": 1}, is_probe=True)
    guarded_calls.close_breaker()
    await guarded_calls.group_send(far, "g", {"n": 2})
    assert [message["n"] for _, message in far.sent] == [1, 2]


async def test_failed_open_is_not_repeated_at_once():
    guarded_calls.check_may_open()
    guarded_calls.note_failed_open()
    with pytest.raises(OutageError):
        guarded_calls.check_may_open()


async def test_call_that_swallows_its_cancellation_delays_no_other(far):
    async def group_send(group, message):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        await asyncio.sleep(1)

    far.group_send = group_send
    async with asyncio.timeout(0.5):
        with pytest.raises(OutageError):
            await guarded_calls.group_send(far, "g", {})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("reset"), "ConnectionError: reset"),
        (TimeoutError("no answer within 1 s"), "no answer within 1 s"),
        (guarded_calls.outage_error("no answer within 1 s"), "no answer within 1 s"),
        (BackendError("Redis at host: gone"), "Redis at host: gone"),
    ],
)
def test_reason_of_an_error_does_not_name_the_layer(error, reason):
    assert guarded_calls.reason_of(error) == reason
