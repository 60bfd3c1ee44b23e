"""Turns: few at once, each in its time, a queue that moves, and none behind a silent server."""

import asyncio
import time

import pytest

from pm_realtime.concurrency import BoundedCalls, FairQueue


async def test_a_long_queue_is_waited_for_while_it_moves():
    turns, most, running = BoundedCalls(2, 0.05), 0, 0

    async def step():
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return True

    assert all(await asyncio.gather(*(turns.run(step) for _ in range(30))))
    assert most == 2


async def test_all_who_wait_behind_a_silent_server_give_up_with_the_first():
    turns = BoundedCalls(2, 0.1)
    started = time.monotonic()
    silent = [turns.run(asyncio.Event().wait) for _ in range(50)]
    found = await asyncio.gather(*silent, return_exceptions=True)
    assert all(isinstance(each, TimeoutError) for each in found)
    assert time.monotonic() - started < 1
    assert await turns.run(lambda: asyncio.sleep(0, "back")) == "back"


async def test_out_of_turn_one_does_not_wait_for_the_others():
    turns = BoundedCalls(1, 5)
    first = asyncio.create_task(turns.run(asyncio.Event().wait))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        assert await turns.run_at_once(lambda: asyncio.sleep(0, 1)) == 1
    first.cancel()


async def test_what_a_step_raises_is_raised():
    async def step():
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await BoundedCalls(1, 1).run(step)


async def test_a_caller_that_is_cancelled_cancels_its_step():
    turns, was_cancelled = BoundedCalls(1, 5), asyncio.Event()

    async def step():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    caller = asyncio.create_task(turns.run(step))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait_for(was_cancelled.wait(), 1)


# With the others of an event loop


async def test_all_who_stand_in_a_line_have_their_turns_in_order():
    line, served, turns = FairQueue(), [], 0

    async def stand(number):
        await line.wait()
        served.append((number, turns))

    tasks = [asyncio.create_task(stand(number)) for number in range(50)]
    while len(served) < 50:
        await asyncio.sleep(0)
        turns += 1
    assert [number for number, _ in served] == list(range(50))
    assert len({turn for _, turn in served}) == 50
    assert len(line) == 0
    await asyncio.wait(tasks)


async def test_a_line_of_one_has_no_pause():
    async with asyncio.timeout(10):
        line = FairQueue(pause=60)
        for _ in range(3):
            await line.wait()


async def test_a_line_takes_as_many_as_it_is_told():
    line = FairQueue()
    tasks = [asyncio.create_task(line.wait(2)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(asyncio.QueueFull):
        await line.wait(2)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    await line.wait(1)
