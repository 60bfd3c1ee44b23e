"""Tasks that take turns in an event loop."""

import asyncio

from pm_realtime.concurrency import FairQueue


async def test_waiting_tasks_go_on_in_order_one_a_turn():
    queue, served, turns = FairQueue(), [], 0

    async def wait(number):
        await queue.wait()
        served.append((number, turns))

    tasks = [asyncio.create_task(wait(number)) for number in range(50)]
    while len(served) < 50:
        await asyncio.sleep(0)
        turns += 1
    assert [number for number, _ in served] == list(range(50))
    assert len({turn for _, turn in served}) == 50
    assert len(queue) == 0
    await asyncio.wait(tasks)


async def test_single_task_goes_on_in_next_turn():
    queue, turns = FairQueue(), 0
    task = asyncio.create_task(queue.wait())
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns <= 3


async def test_cancelled_task_does_not_wait_any_more():
    queue = FairQueue()
    tasks = [asyncio.create_task(queue.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    assert len(queue) == 2
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert len(queue) == 0
    await queue.wait()
