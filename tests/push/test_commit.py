"""Pushes inside database transactions."""

import asyncio
from contextlib import suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

import pm_realtime
from pm_realtime.testing import capture_pushes
from tests.site.models import Note
from tests.support.helpers import Connection

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def in_thread(function):
    """Run sync code that uses the database as a view would."""
    return await sync_to_async(function)()


@pytest.fixture
async def listener(user):
    async with Connection(user=user) as connection:
        yield connection


def push(user, name, **options):
    Note.objects.create(text=name)
    pm_realtime.send_to_user(user, name, **options)


async def test_push_waits_for_the_commit(listener, user):
    loop = asyncio.get_running_loop()

    async def what_came():
        return await listener.types_so_far()

    def code():
        with transaction.atomic():
            push(user, "saved")
            inside = asyncio.run_coroutine_threadsafe(what_came(), loop).result()
        return inside

    assert await in_thread(code) == []
    assert await listener.types_so_far() == ["saved"]


async def test_push_of_a_rolled_back_transaction_is_dropped(listener, user):
    def code():
        with suppress(LookupError), transaction.atomic():
            push(user, "lost")
            raise LookupError

    await in_thread(code)
    assert await listener.so_far() == []
    assert await Note.objects.acount() == 0


async def test_only_the_push_of_a_rolled_back_savepoint_is_dropped(listener, user):
    def code():
        with transaction.atomic():
            push(user, "before")
            with suppress(LookupError), transaction.atomic():
                push(user, "lost")
                raise LookupError
            with transaction.atomic():
                push(user, "inner")
            push(user, "after")

    await in_thread(code)
    assert await listener.types_so_far() == ["before", "inner", "after"]


async def test_on_commit_false_sends_at_once_even_if_the_transaction_is_rolled_back(listener, user):
    def code():
        with suppress(LookupError), transaction.atomic():
            push(user, "later")
            push(user, "at once", on_commit=False)
            raise LookupError

    await in_thread(code)
    assert await listener.types_so_far() == ["at once"]


async def test_pushes_arrive_in_the_order_of_the_calls(listener, user):
    def code():
        pm_realtime.send_to_user(user, "0")
        with transaction.atomic():
            for number in range(1, 50):
                pm_realtime.send_to_user(user, str(number))
        pm_realtime.send_to_user(user, "50")

    await in_thread(code)
    assert await listener.types_so_far() == [str(number) for number in range(51)]


@pytest.mark.parametrize(
    "name", ["send_to_room", "send_to_role", "broadcast", "send_to_connection"]
)
async def test_every_push_waits_for_the_commit(listener, name):
    await listener.subscribe("lobby")
    targets = {
        "send_to_room": ["lobby"],
        "send_to_role": ["user"],
        "broadcast": [],
        "send_to_connection": [listener.connection_id],
    }

    def code():
        with suppress(LookupError), transaction.atomic():
            getattr(pm_realtime, name)(*targets[name], "lost")
            raise LookupError
        with transaction.atomic():
            getattr(pm_realtime, name)(*targets[name], "saved")

    await in_thread(code)
    assert await listener.types_so_far() == ["saved"]


# Async helpers below sync code


@pytest.mark.parametrize("ends_well", [True, False])
async def test_async_push_below_a_transaction_waits_for_its_end(transactional_db, ends_well):
    def save():
        with suppress(LookupError), transaction.atomic():
            async_to_sync(pm_realtime.asend_to_room)("a", "saved")
            async_to_sync(pm_realtime.asend_to_room)("a", "early", on_commit=False)
            if not ends_well:
                raise LookupError

    async with Connection() as listener:
        await pm_realtime.asubscribe(listener.connection_id, "a")
        await listener.assert_push("subscribed")
        await sync_to_async(save)()
        assert await listener.types_so_far() == ["early", *["saved"] * ends_well]


def test_async_push_below_a_transaction_without_a_server_waits_for_its_end(transactional_db):
    with capture_pushes() as pushes:
        with suppress(LookupError), transaction.atomic():
            async_to_sync(pm_realtime.asend_to_room)("a", "rolled back")
            raise LookupError
        with transaction.atomic():
            async_to_sync(pm_realtime.asend_to_room)("a", "saved")
            assert pushes == []
    assert [push.type for push in pushes] == ["saved"]


async def test_task_that_outlives_its_async_to_sync_still_pushes(transactional_db):
    may_go_on = asyncio.Event()
    tasks = []

    async def push_later():
        await may_go_on.wait()
        await pm_realtime.asend_to_connection(listener.connection_id, "late")

    async def start():
        tasks.append(asyncio.create_task(push_later()))

    async with Connection() as listener:
        await sync_to_async(async_to_sync(start))()
        may_go_on.set()
        await listener.assert_push("late")
        await asyncio.gather(*tasks)


async def test_async_push_in_the_thread_of_a_waiting_caller_is_sent(transactional_db):
    def in_a_view():
        asyncio.run(pm_realtime.asend_to_connection(listener.connection_id, "from its own loop"))

    async def below_sync_code():
        await sync_to_async(in_a_view)()

    async with Connection() as listener:
        await sync_to_async(async_to_sync(below_sync_code))()
        await listener.assert_push("from its own loop")
