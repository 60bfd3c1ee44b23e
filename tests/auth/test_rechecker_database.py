"""The rechecker and the database: few queries, short pauses, and outages that close nothing."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from pm_realtime import arefresh_user
from pm_realtime.auth import Rechecker, set_rechecker
from pm_realtime.layer import (
    Recheck,
    asend,
    authenticated_group,
    control_group,
    control_message,
)
from pm_realtime.testing import session_cookie
from tests.support.helpers import Connection, errors_of, eventually

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()


@pytest.fixture
def rarely(configure):
    """No sweep takes place during the test."""
    configure(SESSION_RECHECK_INTERVAL=600)


class Recorder(Rechecker):
    """Records the results that connections get."""

    def __init__(self):
        super().__init__()
        self.results = []

    def _apply(self, subject, identity, result):
        if subject.identity is identity:
            self.results.append(result)
        super()._apply(subject, identity, result)


@pytest.fixture
async def recorder():
    recorder = Recorder()
    set_rechecker(recorder)
    return recorder


@pytest.fixture
async def thousand(transactional_db, rarely, recorder):
    """A thousand connections of two hundred users, each with a session of its own."""
    users = [User(username=f"user-{number}", password="x") for number in range(200)]
    await User.objects.abulk_create(users)
    group = await Group.objects.acreate(name="editor")
    await group.user_set.aset(users[:100])
    cookies = [await session_cookie(user) for user in users for _ in range(5)]
    async with AsyncExitStack() as stack:
        for cookie in cookies:
            await stack.enter_async_context(Connection(headers=[(b"cookie", cookie)]))
        yield


@pytest.fixture
def queries(monkeypatch):
    """The queries of all threads."""
    queries = []
    execute = CursorWrapper.execute

    def record(self, sql, params=None):
        queries.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", record)
    return queries


class Pulse:
    """The longest time for which the event loop was busy."""

    def __init__(self):
        self.longest = 0.0

    async def __aenter__(self):
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *error):
        self._task.cancel()

    async def _beat(self):
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - began - 0.001)


async def recheck_everyone():
    """Request a recheck of all connections, as after an outage."""
    group = control_group()
    await asend(group, control_message(group, Recheck(), target=authenticated_group()))


async def test_recheck_of_a_thousand_takes_three_queries_and_does_not_block_the_loop(
    thousand, queries, recorder
):
    """The machine is busy with other things too: the best attempt counts."""
    longest = []
    for _ in range(5):
        recorder.results.clear()
        queries.clear()
        async with Pulse() as pulse:
            await recheck_everyone()
            await eventually(lambda: len(recorder.results) == 1000)
        longest.append(pulse.longest)
        assert len(queries) == 3
    assert {result.code for result in recorder.results} == {None}
    assert [result.identity.role for result in recorder.results].count("editor") == 500
    assert min(longest) < 0.05, longest


class Database:
    """Fails as long as ``is_away``; counts the queries that failed."""

    is_away = False
    failures = 0


@pytest.fixture
def database(monkeypatch):
    database = Database()
    execute = CursorWrapper.execute

    def execute_or_fail(self, *args):
        if database.is_away:
            database.failures += 1
            raise OperationalError("the database is away")
        return execute(self, *args)

    monkeypatch.setattr(CursorWrapper, "execute", execute_or_fail)
    return database


async def test_failing_database_is_logged_once_and_closes_no_connection(
    configure, user, database, caplog
):
    configure(SESSION_RECHECK_INTERVAL=0.05)
    async with Connection(user=user) as connection:
        database.is_away = True
        await eventually(lambda: database.failures >= 5)
        database.is_away = False
        assert await connection.is_alive()
        user.is_active = False
        await sync_to_async(User.objects.filter(pk=user.pk).update)(is_active=False)
        await connection.assert_closed(4504)
    assert len(errors_of(caplog)) == 1


async def test_reported_change_that_cannot_be_read_closes_with_4013(rarely, user, database, caplog):
    set_rechecker(Rechecker(request_seconds=0.3))
    async with Connection(user=user) as connection:
        database.is_away = True
        await arefresh_user(user)
        await connection.assert_closed(4013)
        database.is_away = False
    assert len(errors_of(caplog)) == 1


async def test_without_a_reported_change_a_failed_recheck_closes_nothing(
    rarely, user, editor, database
):
    """As when Redis comes back before the database."""
    set_rechecker(Rechecker(request_seconds=0.1))
    async with Connection(user=user) as connection, Connection(user=editor) as changed:
        database.is_away = True
        await recheck_everyone()
        await arefresh_user(editor)
        await changed.assert_closed(4013)
        database.is_away = False
        assert await connection.is_alive()
