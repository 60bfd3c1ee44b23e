"""Coalescing of requests into batches, each request with an answer of its own."""

import asyncio

import pytest

from pm_realtime.concurrency import Coalescer
from pm_realtime.concurrency.coalescing import MAX_BATCHED_REQUESTS
from tests.support.helpers import eventually


class Server:
    """Answers each request with its capitals once the batch is released; ``batches`` has all."""

    def __init__(self):
        self.batches = []
        self.gates = []

    async def answer_all(self, requests):
        self.batches.append(list(requests))
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return [ValueError(each) if each.startswith("bad") else each.upper() for each in requests]

    async def release(self, number):
        await eventually(lambda: len(self.gates) > number)
        self.gates[number].set_result(None)


@pytest.fixture
async def server():
    return Server()


@pytest.fixture
async def coalescer(server):
    return Coalescer(server.answer_all, slow_batch_seconds=60)


def ask(coalescer, *requests):
    return [asyncio.ensure_future(coalescer.ask(request)) for request in requests]


async def test_requests_of_one_turn_are_one_batch(server, coalescer):
    asking = ask(coalescer, "a", "b", "c")
    await server.release(0)
    assert await asyncio.gather(*asking) == ["A", "B", "C"]
    assert server.batches == [["a", "b", "c"]]


async def test_requests_made_during_a_batch_are_the_next_batch(server, coalescer):
    first = ask(coalescer, "a")
    await eventually(lambda: server.batches)
    others = ask(coalescer, "b", "c")
    await server.release(0)
    await server.release(1)
    assert await asyncio.gather(*first, *others) == ["A", "B", "C"]
    assert server.batches == [["a"], ["b", "c"]]


async def test_batch_has_a_maximum_size(server, coalescer):
    requests = [str(number) for number in range(MAX_BATCHED_REQUESTS + 1)]
    asking = ask(coalescer, *requests)
    await server.release(0)
    await server.release(1)
    assert await asyncio.gather(*asking) == requests
    assert [len(batch) for batch in server.batches] == [MAX_BATCHED_REQUESTS, 1]


async def test_slow_batch_does_not_hold_up_the_next(server):
    coalescer = Coalescer(server.answer_all, slow_batch_seconds=0.01)
    (slow,) = ask(coalescer, "slow")
    await eventually(lambda: server.batches)
    (quick,) = ask(coalescer, "quick")
    await server.release(1)
    assert await quick == "QUICK"
    assert not slow.done()
    await server.release(0)
    assert await slow == "SLOW"


async def test_error_as_answer_is_raised_for_its_request_only(server, coalescer):
    asking = ask(coalescer, "a", "bad", "c")
    await server.release(0)
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) for each in results] == ["A", "bad", "C"]
    assert isinstance(results[1], ValueError)


async def test_error_of_batch_is_raised_for_all_its_requests_and_no_later_ones():
    fail = True

    async def answer_all(requests):
        if fail:
            raise OSError("away")
        return requests

    coalescer = Coalescer(answer_all)
    results = await asyncio.gather(*ask(coalescer, "a", "b"), return_exceptions=True)
    assert [str(each) for each in results] == ["away", "away"]
    fail = False
    assert await coalescer.ask("c") == "c"


async def test_request_cancelled_before_its_batch_is_left_out(server, coalescer):
    (first,) = ask(coalescer, "a")
    await eventually(lambda: server.batches)
    cancelled, other = ask(coalescer, "b", "c")
    await asyncio.sleep(0)
    cancelled.cancel()
    await server.release(0)
    await server.release(1)
    assert (await first, await other) == ("A", "C")
    assert server.batches == [["a"], ["c"]]


async def test_request_cancelled_during_its_batch_leaves_others_their_answers(server, coalescer):
    cancelled, other = ask(coalescer, "a", "b")
    await eventually(lambda: server.batches)
    cancelled.cancel()
    await server.release(0)
    assert await other == "B"


@pytest.mark.parametrize("error", [StopIteration("bad"), asyncio.CancelledError()])
async def test_every_request_ends_if_an_answer_cannot_be_raised(error):
    async def answer_all(requests):
        return [error if each == "bad" else each for each in requests]

    asking = ask(Coalescer(answer_all), "bad", "b")
    async with asyncio.timeout(5):
        results = await asyncio.gather(*asking, return_exceptions=True)
    assert results[1] == "b"


async def test_every_request_ends_if_the_batch_is_cancelled():
    async def answer_all(requests):
        raise asyncio.CancelledError

    async with asyncio.timeout(5):
        (result,) = await asyncio.gather(*ask(Coalescer(answer_all), "a"), return_exceptions=True)
    assert isinstance(result, Exception)
