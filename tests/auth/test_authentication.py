"""Handshakes at the same time are authenticated together, as if each came alone."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from contextvars import ContextVar

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import override_settings

from pm_realtime.auth import sessions
from pm_realtime.connection import RealtimeConsumer
from tests.support.helpers import Connection


class FailingBackend(ModelBackend):
    """A site's own authentication backend, which fails for one user."""

    def get_user(self, user_id):
        user = super().get_user(user_id)
        if user is not None and user.username == "unlucky":
            raise LookupError("no such shelf")
        return user


FAILING_BACKEND = f"{__name__}.FailingBackend"
BACKENDS = ["django.contrib.auth.backends.ModelBackend", FAILING_BACKEND]


@pytest.fixture
def visitors(make_user, users, settings):
    """Users by what happened to them, and a cookie of each."""
    settings.AUTHENTICATION_BACKENDS = BACKENDS
    settings.PM_REALTIME = {**settings.PM_REALTIME, "MAX_CONNECTIONS_PER_USER": 100}
    fates = ["fine", "deleted", "inactive", "changed", "expired", "unlisted", "guarded", "unlucky"]
    people = {fate: make_user("editor", fate) for fate in fates} | users
    keys = {
        fate: log_in(user, FAILING_BACKEND if fate in ("guarded", "unlucky") else BACKENDS[0])
        for fate, user in people.items()
    }
    keys["unlisted"] = log_in(people["unlisted"], "site.no_such.Backend")
    people["deleted"].delete()
    change(people["inactive"], is_active=False)
    change(people["changed"], password="another")
    Session.objects.filter(session_key=keys["expired"]).delete()
    keys["twin"], people["twin"] = keys["fine"], people["fine"]
    keys["unknown"] = "0123456789abcdef0123456789abcdef"
    return people, {fate: (b"cookie", f"sessionid={key}".encode()) for fate, key in keys.items()}


def change(user, **fields):
    type(user).objects.filter(pk=user.pk).update(**fields)


def log_in(user, backend):
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = backend
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return store.session_key


@pytest.mark.parametrize("at_once", [1, 100])
async def test_handshake_among_others_gets_the_identity_it_gets_alone(visitors, at_once):
    people, cookies = visitors
    found = {}
    at_a_time = asyncio.Semaphore(at_once)

    async def connect(fate):
        async with at_a_time:
            connection = Connection(headers=[cookies[fate]])
            await connection.connect()
            first = await connection.receive_json_from()
            found[fate] = (first["type"], first["payload"].get("userId"))
            await connection.disconnect()

    await asyncio.gather(*map(connect, cookies))
    expected = {fate: ("connected", str(people[fate].pk)) for fate in people}
    for fate in ("deleted", "inactive", "changed", "expired", "unlisted", "unknown"):
        expected[fate] = ("connected", None)
    expected["unlucky"] = ("error", None)
    assert found == expected


async def test_hundred_handshakes_at_once_take_few_queries(visitors, users, caplog):
    cookies = [cookie for fate, cookie in visitors[1].items() if fate in users] * 25
    connections = [Connection(headers=[cookie]) for cookie in cookies]
    async with AsyncExitStack() as stack:
        with caplog.at_level("DEBUG", "django.db.backends"), override_settings(DEBUG=True):
            await asyncio.gather(*(stack.enter_async_context(each) for each in connections))
        roles = Counter(connection.connected["role"] for connection in connections)
    assert roles == dict.fromkeys(users, 25)
    assert 3 <= len([r for r in caplog.records if r.name == "django.db.backends"]) < 150


async def test_key_that_the_database_cannot_read_fails_no_other_handshake(visitors, monkeypatch):
    """MySQL fails over characters that its column cannot hold, and PostgreSQL over NUL."""
    read_many = sessions.read_many

    def picky(keys):
        if not all(key.isascii() for key in keys):
            raise OperationalError("Illegal mix of collations")
        return read_many(keys)

    monkeypatch.setattr(sessions, "read_many", picky)
    poisoned = Connection(headers=[(b"cookie", "sessionid=éééééééé".encode())])
    others = [Connection(headers=[visitors[1]["fine"]]) for _ in range(5)]
    await asyncio.gather(*(each.connect() for each in [poisoned, *others]))
    firsts = [await each.receive_json_from() for each in [poisoned, *others]]
    assert [first["type"] for first in firsts] == ["error", *["connected"] * 5]
    assert all(first["payload"]["userId"] for first in firsts[1:])
    await asyncio.gather(*(each.disconnect() for each in others))


tenant = ContextVar("tenant", default=None)


class TenantRouter:
    """A database router of a site whose middleware chooses a database for each handshake."""

    seen = []

    def db_for_read(self, model, **hints):
        if model is Session:
            self.seen.append(tenant.get())

    db_for_write = db_for_read


async def test_database_router_sees_the_context_of_each_handshake(visitors, settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.TenantRouter"]
    TenantRouter.seen.clear()
    application = RealtimeConsumer.as_asgi()

    async def middleware(scope, receive, send):
        tenant.set(dict(scope["headers"])[b"x-tenant"])
        await application(scope, receive, send)

    tenants = [b"a", b"b", b"c"]
    connections = [
        Connection(application=middleware, headers=[visitors[1]["fine"], (b"x-tenant", name)])
        for name in tenants
    ]
    await asyncio.gather(*(each.connect() for each in connections))
    assert {*TenantRouter.seen} == {*tenants}
    await asyncio.gather(*(each.disconnect() for each in connections))
