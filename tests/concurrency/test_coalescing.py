"""Many questions, few answers: who is answered together, and that nobody spoils it for others."""

import asyncio

import pytest

from pm_realtime.concurrency import Coalescer
from pm_realtime.concurrency import coalescing as desk_module
from pm_realtime.concurrency.coalescing import MOST
from tests.support.helpers import eventually


class Office:
    """Answers with the question in capitals, when it is let; ``asked`` has what came together."""

    def __init__(self):
        self.asked = []
        self.gates = []

    async def answer(self, questions):
        self.asked.append(list(questions))
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return [ValueError(each) if each.startswith("bad") else each.upper() for each in questions]

    async def open(self, number):
        await eventually(lambda: len(self.gates) > number)
        self.gates[number].set_result(None)


@pytest.fixture
async def office():
    return Office()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(desk_module, "PATIENCE", 60)


def ask(desk, *questions):
    return [asyncio.ensure_future(desk.ask(question)) for question in questions]


async def test_those_who_ask_in_one_turn_are_answered_together(office):
    asking = ask(Coalescer(office.answer), "a", "b", "c")
    await office.open(0)
    assert await asyncio.gather(*asking) == ["A", "B", "C"]
    assert office.asked == [["a", "b", "c"]]


async def test_who_asks_meanwhile_is_answered_next_together(office):
    desk = Coalescer(office.answer)
    first = ask(desk, "a")
    await eventually(lambda: office.asked)
    others = ask(desk, "b", "c")
    await office.open(0)
    await office.open(1)
    assert await asyncio.gather(*first, *others) == ["A", "B", "C"]
    assert office.asked == [["a"], ["b", "c"]]


async def test_no_more_than_so_many_are_answered_together(office):
    desk = Coalescer(office.answer)
    asking = ask(desk, *(str(number) for number in range(MOST + 1)))
    await office.open(0)
    await office.open(1)
    assert await asyncio.gather(*asking) == [str(number) for number in range(MOST + 1)]
    assert [len(each) for each in office.asked] == [MOST, 1]


async def test_an_answer_that_is_late_is_waited_for_by_nobody_else(office, monkeypatch):
    monkeypatch.setattr(desk_module, "PATIENCE", 0.01)
    desk = Coalescer(office.answer)
    (slow,) = ask(desk, "slow")
    await eventually(lambda: office.asked)
    (quick,) = ask(desk, "quick")
    await office.open(1)
    assert await quick == "QUICK"
    assert not slow.done()
    await office.open(0)
    assert await slow == "SLOW"


async def test_an_error_is_the_answer_to_its_own_question_only(office):
    asking = ask(Coalescer(office.answer), "a", "bad", "c")
    await office.open(0)
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) for each in results] == ["A", "bad", "C"]
    assert isinstance(results[1], ValueError)


async def test_what_is_raised_is_the_answer_to_all_and_the_next_are_answered():
    fail = True

    async def answer(questions):
        if fail:
            raise OSError("away")
        return questions

    desk = Coalescer(answer)
    results = await asyncio.gather(*ask(desk, "a", "b"), return_exceptions=True)
    assert [str(each) for each in results] == ["away", "away"]
    fail = False
    assert await desk.ask("c") == "c"


async def test_who_has_gone_is_not_asked_about(office):
    desk = Coalescer(office.answer)
    (first,) = ask(desk, "a")
    await eventually(lambda: office.asked)
    gone, stays = ask(desk, "b", "c")
    await asyncio.sleep(0)  # They ask.
    gone.cancel()
    await office.open(0)
    await office.open(1)
    assert (await first, await stays) == ("A", "C")
    assert office.asked == [["a"], ["c"]]


async def test_who_goes_while_the_answer_is_on_its_way_harms_nobody(office):
    desk = Coalescer(office.answer)
    gone, stays = ask(desk, "a", "b")
    await eventually(lambda: office.asked)
    gone.cancel()
    await office.open(0)
    assert await stays == "B"


@pytest.mark.parametrize("error", [StopIteration("bad"), asyncio.CancelledError()])
async def test_nobody_waits_for_ever_whatever_an_answer_is(error):
    async def answer(questions):
        return [error if each == "bad" else each for each in questions]

    asking = ask(Coalescer(answer), "bad", "b")
    async with asyncio.timeout(5):
        results = await asyncio.gather(*asking, return_exceptions=True)
    assert results[1] == "b"


async def test_nobody_waits_for_ever_where_what_answers_is_cancelled():
    async def answer(questions):
        raise asyncio.CancelledError

    async with asyncio.timeout(5):
        (result,) = await asyncio.gather(*ask(Coalescer(answer), "a"), return_exceptions=True)
    assert isinstance(result, Exception)
