"""Connections whose rights change, for the tests of revocation."""

from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group

from pm_realtime import arefresh_user
from tests.connection.fakes import application
from tests.support.helpers import Connection


def opened(browser, **timings):
    """A connection of ``browser``, to a consumer with other ``timings``."""
    return Connection(headers=browser.headers, application=application(**timings))


def now(function):
    """Call a sync ``function`` that uses the database."""
    return sync_to_async(function)()


@asynccontextmanager
async def surviving(engine, connection, browser):
    """The connection of ``browser`` after its session changed: a new one if it has another key."""
    if engine == "signed_cookies":
        assert await connection.is_alive()
        yield connection
        return
    await connection.assert_closed(4013)
    async with opened(browser) as again:
        assert again.connected["userId"] == connection.connected["userId"]
        yield again


async def rechecked(connection):
    """Return when a re-check that was asked for now is done."""
    await arefresh_user(connection.connected["userId"])
    await connection.so_far()
    await connection.subscribe("fence")
    await connection.ask("unsubscribe", {"room": "fence"})


async def demoted(connection):
    gone = await connection.assert_push("unsubscribed")
    assert gone["payload"] == {"room": "support", "success": True, "reason": "forbidden"}


async def everyone_of(name):
    return [group async for group in Group.objects.filter(name=name)]
