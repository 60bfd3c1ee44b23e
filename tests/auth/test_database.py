"""Code that uses the database runs in thread pools, which keep or replace their connections."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import Error, connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper

from pm_realtime.auth import (
    release_connections,
    run_in_pool,
    run_once_keeping_connections,
)
from pm_realtime.auth.database import run_handshake, run_recheck
from pm_realtime.rooms import run_site_code

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def run():
    """Run a function in a pool of one thread."""
    with ThreadPoolExecutor(1) as pool:

        async def run(function):
            return await run_in_pool(pool, function)

        yield run
        pool.submit(connections.close_all).result()


async def test_cancelled_call_that_waits_for_async_code_is_cancelled(run):
    began = asyncio.Event()

    async def wait():
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run(async_to_sync(wait)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def keep(monkeypatch):
    """Keep connections, and notice lost ones: a connection to a file is never lost."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 600)
    monkeypatch.setattr(DatabaseWrapper, "is_usable", is_usable)


def is_usable(wrapper):
    try:
        wrapper.connection.execute("SELECT 1")
    except sqlite3.Error:
        return False
    return True


def lose():
    """End the connection without Django, as a database does that restarts."""
    connection.ensure_connection()
    connection.connection.close()


def raw_connection():
    return connection.connection


class Query:
    """Counts how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return get_user_model().objects.count()


@pytest.mark.parametrize(
    ("run", "prefix"),
    [
        (run_handshake, "pm_realtime-handshake"),
        (run_recheck, "pm_realtime-recheck"),
        (run_site_code, "pm_realtime-site"),
    ],
)
async def test_each_kind_of_code_has_threads_of_its_own(run, prefix):
    def use_the_database():
        get_user_model().objects.count()
        return threading.current_thread().name, connections["default"]

    name, used = await run(use_the_database)
    assert name.startswith(prefix)
    assert used.connection is None


async def test_connection_is_closed_after_use_without_a_max_age(run):
    assert await run(Query()) == 0
    assert await run(raw_connection) is None


async def test_connection_is_kept_for_its_max_age(run, keep):
    await run(Query())
    kept = await run(raw_connection)
    await run(Query())
    assert await run(raw_connection) is kept
    await run(lambda: setattr(connection, "close_at", 0))
    assert await run(raw_connection) is None
    assert await run(Query()) == 0


async def test_lost_connection_is_replaced_and_the_function_called_again(run, keep):
    await run(lose)
    query = Query()
    assert await run(query) == 0
    assert query.calls == 2
    assert await run(query) == 0
    assert query.calls == 3


async def test_lost_connection_is_replaced_for_a_transaction(run, keep):
    await run(lose)
    calls = []

    def query_in_transaction():
        calls.append(1)
        with transaction.atomic():
            return get_user_model().objects.count()

    assert await run(query_in_transaction) == 0
    assert len(calls) == 2


async def test_error_on_a_usable_connection_is_not_tried_again(run, keep):
    await run(Query())
    calls = []

    def fail():
        calls.append(1)
        connection.cursor().execute("SELECT * FROM no_such_table")

    with pytest.raises(Error, match="no such table"):
        await run(fail)
    assert len(calls) == 1


async def test_connection_lost_during_its_first_use_is_not_tried_again(run, keep):
    query = Query()

    def fail():
        lose()
        query()

    with pytest.raises(Error, match="closed database"):
        await run(fail)
    assert query.calls == 1


async def test_database_that_stays_away_is_an_error(run, keep, monkeypatch):
    await run(lose)

    def fail(wrapper, parameters):
        raise Error("away")

    monkeypatch.setattr(DatabaseWrapper, "get_new_connection", fail)
    with pytest.raises(Error, match="away"):
        await run(Query())


async def test_connection_that_a_test_shares_with_other_threads_stays_open(run):
    """As of a test whose server runs in a thread of its process."""

    def share():
        connection.ensure_connection()
        connection.inc_thread_sharing()
        return connections["default"]

    def use(shared):
        connections["default"] = shared
        return get_user_model().objects.count()

    def end():
        del connections["default"]

    with ThreadPoolExecutor(1) as thread_of_test:
        shared = thread_of_test.submit(share).result()
        try:
            assert await run(lambda: use(shared)) == 0
            assert await run(Query()) == 0
            assert shared.connection is not None
        finally:
            await run(end)
            shared.dec_thread_sharing()
            thread_of_test.submit(connections.close_all).result()


async def test_transaction_that_code_leaves_open_ends_with_its_connection(run):
    def begin():
        get_user_model().objects.count()
        transaction.set_autocommit(False)

    await run(begin)
    assert await run(raw_connection) is None
    assert await run(transaction.get_autocommit)


def opened():
    """The database's own connection, which is opened if there is none."""
    connection.ensure_connection()
    return connection.connection


@pytest.fixture
async def run_keeping():
    """Run a function in a pool of one thread, which keeps connections."""
    with ThreadPoolExecutor(1) as pool:

        async def run(function):
            return await run_once_keeping_connections(pool, function)

        yield run
        pool.submit(connections.close_all).result()


async def test_calls_in_a_row_share_a_connection_that_is_closed_when_the_thread_is_idle(
    run_keeping,
):
    first = await run_keeping(opened)
    assert await run_keeping(opened) is first
    await run_keeping(release_connections)
    assert await run_keeping(raw_connection) is None


async def test_connection_is_not_shared_after_an_error_of_the_database(run_keeping):
    def fail():
        opened()
        connection.errors_occurred = True
        connection.connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseWrapper, "is_usable", is_usable)
        await run_keeping(fail)
        assert await run_keeping(raw_connection) is None


async def test_connection_of_a_pool_is_given_back_after_each_call(run_keeping, monkeypatch):
    def use():
        opened()
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", True)

    await run_keeping(use)
    assert await run_keeping(raw_connection) is None


async def test_transaction_that_a_call_leaves_open_is_not_that_of_the_next(run_keeping):
    def begin():
        transaction.atomic().__enter__()

    await run_keeping(begin)
    assert not await run_keeping(lambda: connection.in_atomic_block)
    assert await run_keeping(get_user_model().objects.count) == 0
