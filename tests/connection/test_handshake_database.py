"""A handshake, the database and the session."""

import re
import threading

import pytest
from django.contrib.sessions.models import Session

from pm_realtime.auth.database import run_handshake
from tests.support.helpers import (
    Connection,
    cookie_of,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def sessions():
    return [row async for row in Session.objects.order_by("pk").values()]


@pytest.mark.parametrize(
    ("changed", "is_known"),
    [
        ({}, True),
        ({"SESSION_SAVE_EVERY_REQUEST": True}, True),
        ({"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["only for tests"]}, True),
        ({"SECRET_KEY": "new"}, False),
    ],
)
async def test_handshake_leaves_the_session_as_it_is(settings, user, changed, is_known):
    cookie = await cookie_of(user)
    before = await sessions()
    for name, value in changed.items():
        setattr(settings, name, value)
    async with Connection(headers=[cookie]) as connection:
        assert (connection.connected["userId"] == str(user.pk)) is is_known
    assert await sessions() == before
    assert len(before) == 1


@pytest.fixture
def hops(monkeypatch):
    """A list of the calls to ``run_handshake``."""
    hops = []

    async def counted(*args):
        hops.append(args)
        return await run_handshake(*args)

    monkeypatch.setattr("pm_realtime.auth.authentication.run_handshake", counted)
    return hops


@pytest.mark.parametrize(
    "case",
    [
        ("editor", ["django_session", "site_user", "auth_group"]),
        ("master", ["django_session", "site_user"]),
    ],
)
async def test_handshake_reads_each_table_once_in_one_hop(settings, caplog, hops, users, case):
    role, tables = case
    cookie = await cookie_of(users[role])
    settings.DEBUG = True
    with caplog.at_level("DEBUG", "django.db.backends"):
        async with Connection(headers=[cookie]):
            pass
    queries = [r for r in caplog.records if r.name == "django.db.backends"]
    assert [re.search(r'FROM "(\w+)"', r.sql)[1] for r in queries] == tables
    assert len({record.thread for record in queries}) == 1
    assert queries[0].thread != threading.get_ident()
    assert len(hops) == 1


async def test_anonymous_handshake_needs_no_database():
    # pytest-django fails the test at the first query without a database fixture.
    async with Connection() as connection:
        assert await connection.is_alive()
