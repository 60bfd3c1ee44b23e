"""Calls bounded in number and time."""

import asyncio
import socket
import time

import pytest

from pm_realtime.concurrency import BoundedCalls


async def test_waiting_calls_start_as_long_as_the_queue_moves():
    calls, most, running = BoundedCalls(2, 0.05), 0, 0

    async def call():
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return True

    assert all(await asyncio.gather(*(calls.run(call) for _ in range(30))))
    assert most == 2


async def test_waiting_calls_fail_with_the_call_that_timed_out():
    calls = BoundedCalls(2, 0.1)
    started = time.monotonic()
    silent = [calls.run(asyncio.Event().wait) for _ in range(50)]
    results = await asyncio.gather(*silent, return_exceptions=True)
    assert all(isinstance(result, TimeoutError) for result in results)
    assert time.monotonic() - started < 1
    assert await calls.run(lambda: asyncio.sleep(0, "back")) == "back"


async def test_run_at_once_does_not_wait_for_other_calls():
    calls = BoundedCalls(1, 5)
    first = asyncio.create_task(calls.run(asyncio.Event().wait))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        assert await calls.run_at_once(lambda: asyncio.sleep(0, 1)) == 1
    first.cancel()


async def test_answers_to_a_busy_loop_are_in_time(busy_loop):
    async def call():
        """As many turns as connecting, logging in and asking take."""
        for _ in range(10):
            await asyncio.sleep(0)
        return "answer"

    async with busy_loop(0.03):
        assert await BoundedCalls(1, 0.1).run(call) == "answer"


async def test_answer_that_came_while_the_loop_stood_still_is_in_time():
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(BoundedCalls(1, 0.1).run(lambda: loop.sock_recv(near, 10)))
    await asyncio.sleep(0)
    far.send(b"answer")
    time.sleep(0.3)
    assert await task == b"answer"
    near.close()
    far.close()


async def test_silence_is_noticed_in_a_busy_loop(busy_loop):
    async with busy_loop(0.003):
        with pytest.raises(TimeoutError):
            await BoundedCalls(1, 0.1).run(asyncio.Event().wait)


async def test_silence_costs_a_busy_loop_few_turns(busy_loop):
    loop, turns = asyncio.get_running_loop(), 0

    def count():
        nonlocal turns, handle
        turns += 1
        handle = loop.call_soon(count)

    handle = loop.call_soon(count)
    async with busy_loop(0.01):
        with pytest.raises(TimeoutError):
            await BoundedCalls(1, 0.1).run(asyncio.Event().wait)
    handle.cancel()
    assert turns < 60


async def test_error_of_call_is_raised():
    async def call():
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await BoundedCalls(1, 1).run(call)


async def test_cancelled_caller_cancels_its_call():
    calls, was_cancelled = BoundedCalls(1, 5), asyncio.Event()

    async def call():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    caller = asyncio.create_task(calls.run(call))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait_for(was_cancelled.wait(), 1)
