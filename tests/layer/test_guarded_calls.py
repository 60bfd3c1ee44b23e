"""Steps with a layer outside of this process: in time, few at once, and no tale told twice."""

import asyncio
from contextlib import suppress

import pytest

from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer import guarded_calls


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """A step may take a tenth of its time."""
    monkeypatch.setattr(guarded_calls, "TIMEOUT", guarded_calls.TIMEOUT / 10)


async def test_a_step_takes_no_longer_than_its_time(far):
    far.is_frozen = True
    with pytest.raises(OutageError, match=r"no answer within 0\.15 s"):
        await guarded_calls.group_send(far, "g", {})


async def test_a_mistake_in_a_step_is_no_outage(far):
    async def group_send(group, message):
        raise TypeError("not a group")

    far.group_send = group_send
    with pytest.raises(BackendError, match="not a group") as raised:
        await guarded_calls.group_send(far, "g", {})
    assert not isinstance(raised.value, OutageError)


async def test_few_steps_are_under_way_at_once(far):
    await asyncio.gather(*(guarded_calls.group_send(far, "g", {"n": n}) for n in range(100)))
    assert [message["n"] for _, message in far.sent] == list(range(100))
    assert far.most_steps_at_once == guarded_calls.SLOTS


async def test_a_vain_start_is_not_repeated_at_once():
    guarded_calls.check_start()
    guarded_calls.note_vain_start()
    with pytest.raises(OutageError):
        guarded_calls.check_start()


async def test_a_step_that_swallows_its_cancellation_holds_nobody_up(far):
    async def group_send(group, message):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        await asyncio.sleep(1)

    far.group_send = group_send
    async with asyncio.timeout(0.5):
        with pytest.raises(OutageError):
            await guarded_calls.group_send(far, "g", {})
