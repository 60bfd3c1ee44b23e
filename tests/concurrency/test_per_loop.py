"""What each event loop has of its own, and what becomes of it."""

import asyncio
import weakref

import pytest

from pm_realtime.concurrency import PerLoop


class Thing:
    pass


@pytest.fixture
def things():
    return PerLoop(Thing)


def in_a_loop_of_its_own(function, *args):
    """What ``function`` returns in a loop that has ended after it."""

    async def call():
        return function(*args)

    return asyncio.run(call())


async def test_a_loop_has_one_thing_and_another_loop_another(things):
    ours = things.get()
    theirs = await asyncio.to_thread(in_a_loop_of_its_own, things.get)
    assert type(ours) is type(theirs) is Thing
    assert theirs is not ours
    assert things.get() is ours


async def test_who_looks_for_it_makes_none(things):
    assert things.find() is None
    ours = things.get()
    assert things.find() is ours
    assert await asyncio.to_thread(in_a_loop_of_its_own, things.find) is None


async def test_after_one_is_dropped_the_next_is_made_anew(things):
    first = things.get()
    things.drop(first)
    assert things.find() is None
    assert things.get() is not first


async def test_what_is_not_that_of_the_running_loop_is_not_dropped(things):
    first = things.get()
    things.drop(first)
    things.drop(first)
    second = things.get()
    things.drop(first)
    await asyncio.to_thread(in_a_loop_of_its_own, things.drop, second)
    assert things.find() is second


def test_at_the_first_use_in_another_loop_those_of_closed_ones_go_and_no_others(things):
    async def get():
        return things.get()

    with asyncio.Runner() as lasting:
        kept = lasting.run(get())
        with asyncio.Runner() as short:
            gone = weakref.ref(short.run(get()))
            assert gone() is not None
        with asyncio.Runner() as last:
            last.run(get())
        assert gone() is None
        assert lasting.run(get()) is kept


async def test_where_the_making_fails_the_next_one_tries_anew():
    made = iter([ConnectionError, "a thing"])

    def make():
        if (found := next(made)) is ConnectionError:
            raise found
        return found

    things = PerLoop(make)
    with pytest.raises(ConnectionError):
        things.get()
    assert things.find() is None
    assert things.get() == "a thing"
