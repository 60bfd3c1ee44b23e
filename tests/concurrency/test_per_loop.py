"""One object for each event loop."""

import asyncio
import weakref

import pytest

from pm_realtime.concurrency import PerLoop


class Thing:
    pass


@pytest.fixture
def things():
    return PerLoop(Thing)


def run_in_new_loop(function, *args):
    """The result of ``function`` in a new loop, which is then closed."""

    async def call():
        return function(*args)

    return asyncio.run(call())


async def test_each_loop_has_one_object_of_its_own(things):
    ours = things.get()
    theirs = await asyncio.to_thread(run_in_new_loop, things.get)
    assert type(ours) is type(theirs) is Thing
    assert theirs is not ours
    assert things.get() is ours


async def test_find_makes_no_object(things):
    assert things.find() is None
    ours = things.get()
    assert things.find() is ours
    assert await asyncio.to_thread(run_in_new_loop, things.find) is None


async def test_get_after_drop_makes_a_new_object(things):
    first = things.get()
    things.drop(first)
    assert things.find() is None
    assert things.get() is not first


async def test_drop_ignores_objects_of_other_loops(things):
    first = things.get()
    things.drop(first)
    things.drop(first)
    second = things.get()
    things.drop(first)
    await asyncio.to_thread(run_in_new_loop, things.drop, second)
    assert things.find() is second


def test_first_use_in_a_loop_drops_objects_of_closed_loops_only(things):
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


async def test_get_after_failed_get_tries_again():
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
