"""Blocking code in threads of its own, and the database connections it uses there."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.db import Error, connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper

from pm_realtime.auth import database
from pm_realtime.auth.database import run_check, run_handshake
from pm_realtime.rooms import run_site_code, site_code

pytestmark = pytest.mark.django_db(transaction=True)

POOLS = {
    "_handshakes": (database, run_handshake),
    "_checks": (database, run_check),
    "_threads": (site_code, run_site_code),
}


@pytest.fixture(params=POOLS)
async def run(request, monkeypatch):
    """Run a function in one of the pools, which has a single thread for this test."""
    with ThreadPoolExecutor(1) as pool:
        module, run = POOLS[request.param]
        monkeypatch.setattr(module, request.param, pool)
        yield run
        pool.submit(connections.close_all).result()


@pytest.fixture
def keep(monkeypatch):
    """Have connections kept, and a cut one noticed: what is in a file is never cut."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 600)
    monkeypatch.setattr(DatabaseWrapper, "is_usable", answers)


def answers(wrapper):
    try:
        wrapper.connection.execute("SELECT 1")
    except sqlite3.Error:
        return False
    return True


def cut():
    """End the connection behind Django's back, as a database does that restarts."""
    connection.ensure_connection()
    connection.connection.close()


def raw_connection():
    return connection.connection


class Question:
    """Asks the database, and counts how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return get_user_model().objects.count()


async def test_a_connection_is_closed_after_use_where_none_is_to_be_kept(run):
    assert await run(Question()) == 0
    assert await run(raw_connection) is None


async def test_a_connection_is_kept_as_long_as_it_may_be(run, keep):
    await run(Question())
    kept = await run(raw_connection)
    await run(Question())
    assert await run(raw_connection) is kept
    await run(lambda: setattr(connection, "close_at", 0))
    assert await run(raw_connection) is None
    assert await run(Question()) == 0


async def test_a_kept_connection_that_was_cut_is_replaced_and_the_question_asked_again(run, keep):
    await run(cut)
    question = Question()
    assert await run(question) == 0
    assert question.calls == 2
    assert await run(question) == 0
    assert question.calls == 3


async def test_a_connection_that_was_cut_is_replaced_for_a_transaction_too(run, keep):
    await run(cut)
    calls = []

    def ask():
        calls.append(1)
        with transaction.atomic():
            return get_user_model().objects.count()

    assert await run(ask) == 0
    assert len(calls) == 2


async def test_an_error_on_a_sound_connection_is_not_tried_again(run, keep):
    await run(Question())
    calls = []

    def ask():
        calls.append(1)
        connection.cursor().execute("SELECT * FROM no_such_table")

    with pytest.raises(Error, match="no such table"):
        await run(ask)
    assert len(calls) == 1


async def test_a_connection_that_breaks_on_its_first_use_is_not_tried_again(run, keep):
    calls = []

    def ask():
        calls.append(1)
        cut()
        Question()()

    with pytest.raises(Error, match="closed database"):
        await run(ask)
    assert len(calls) == 1


async def test_a_database_that_stays_away_is_an_error(run, keep, monkeypatch):
    await run(cut)

    def fail(wrapper, parameters):
        raise Error("away")

    monkeypatch.setattr(DatabaseWrapper, "get_new_connection", fail)
    with pytest.raises(Error, match="away"):
        await run(Question())
