"""The background loop for sync callers."""

import asyncio
import threading

import pytest

from pm_realtime.concurrency import run_in_background


async def running_loop():
    return asyncio.get_running_loop()


def test_all_calls_share_one_loop_in_another_thread():
    async def thread_name():
        return threading.current_thread().name

    assert run_in_background(running_loop()) is run_in_background(running_loop())
    assert run_in_background(thread_name()) == "pm_realtime-push"


def test_call_that_takes_too_long_is_cancelled_and_raises():
    was_cancelled = threading.Event()

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    with pytest.raises(TimeoutError):
        run_in_background(wait(), timeout_seconds=0.05)
    assert was_cancelled.wait(5)


def test_error_of_call_is_raised():
    async def fail():
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        run_in_background(fail())
