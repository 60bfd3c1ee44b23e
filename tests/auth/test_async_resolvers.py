"""Resolvers of the site may be async: functions, and whatever else returns an awaitable."""

import asyncio
import functools

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.test import TestCase, override_settings

from pm_realtime.auth.names import name_of
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.roles import role_of
from tests.support.helpers import Connection, cookie_of, errors_of, eventually
from tests.support.sessions import Browser


async def by_function(user):
    group = await user.groups.afirst()
    return group.name if group else "user"


async def _with_default(default, user):
    return await by_function(user) or default


def by_returned_coroutine(user):
    return by_function(user)


class Resolver:
    async def __call__(self, user):
        return await by_function(user)

    async def method(self, user):
        return await by_function(user)


class Awaitable:
    def __init__(self, user):
        self.user = user

    def __await__(self):
        return by_function(self.user).__await__()


by_partial = functools.partial(_with_default, "user")
by_object = Resolver()
by_method = Resolver().method
by_awaitable = Awaitable
by_adapter = sync_to_async(lambda user: user.groups.first().name)

KINDS = ["function", "returned_coroutine", "partial", "object", "method", "awaitable", "adapter"]


async def failing(user):
    raise LookupError("no such shelf")


async def mistaken(user):
    return 5


async def cancelled(user):
    raise asyncio.CancelledError


def without_next(user):
    return next(iter(()))


def exits(user):
    raise SystemExit


async def shown_name(user):
    return f"{user.username} of {await user.groups.acount()} groups"


def path(name):
    return f"{__name__}.{name}"


@pytest.fixture(params=KINDS)
def site(request, configure):
    configure(ROLE_RESOLVER=path(f"by_{request.param}"), SESSION_RECHECK_INTERVAL=600)


async def test_handshake_and_recheck_ask_it(site, editor):
    async with Connection(user=editor) as connection:
        assert connection.connected["role"] == "editor"
        await connection.subscribe("support")
        group, _ = await Group.objects.aget_or_create(name="user")
        await editor.groups.aset([group])
        assert (await connection.assert_push("unsubscribed"))["payload"]["room"] == "support"
        assert await connection.is_alive()


@pytest.mark.parametrize("middleware", [lambda application: application, AuthMiddlewareStack])
async def test_rule_gets_the_same_role_behind_a_middleware(configure, editor, middleware):
    configure(ROLE_RESOLVER=path("by_function"), NAME_RESOLVER=path("shown_name"))
    application = middleware(RealtimeConsumer.as_asgi())
    headers = [await cookie_of(editor)]
    async with Connection(headers=headers, application=application) as connection:
        assert connection.connected["role"] == "editor"
        await connection.subscribe("lobby")
        await connection.command("message", {"room": "lobby", "content": 1})
        sent = await connection.assert_push("message")
        assert sent["payload"]["from"]["name"] == "the-editor of 1 groups"


@pytest.mark.parametrize("key", ["ROLE_RESOLVER", "NAME_RESOLVER"])
@pytest.mark.parametrize("resolver", [failing, mistaken])
async def test_error_in_it_refuses_the_handshake(configure, editor, caplog, key, resolver):
    configure(**{key: path(resolver.__name__)})
    connection = Connection(headers=(await Browser.of(editor)).headers)
    await connection.connect()
    assert (await connection.receive())["payload"]["code"] == "INTERNAL_ERROR"
    await connection.assert_closed(4013)
    (record,) = errors_of(caplog)
    assert record.exc_info[0] is (LookupError if resolver is failing else ImproperlyConfigured)


@pytest.mark.parametrize("resolver", [cancelled, without_next, exits])
async def test_error_that_no_task_takes_refuses_at_once_and_ends_no_recheck(
    configure, editor, caplog, resolver
):
    configure(SESSION_RECHECK_INTERVAL=0.05)
    browser = await Browser.of(editor)
    async with Connection(headers=browser.headers) as first:
        configure(ROLE_RESOLVER=path(resolver.__name__), SESSION_RECHECK_INTERVAL=0.05)
        refused = Connection(headers=browser.headers)
        await refused.connect()
        await refused.assert_closed(4013)
        await eventually(lambda: "rechecked" in caplog.text)
        configure(ROLE_RESOLVER=path("by_function"), SESSION_RECHECK_INTERVAL=0.05)
        await get_user_model().objects.filter(pk=editor.pk).aupdate(is_active=False)
        await first.assert_closed(4504)


def test_call_from_sync_code(configure, editor):
    configure(ROLE_RESOLVER=path("by_function"), NAME_RESOLVER=path("shown_name"))
    assert role_of(editor) == "editor"
    assert name_of(editor) == "the-editor of 1 groups"


class TestCaseTests(TestCase):
    """The resolver sees what the test has written, and has not committed."""

    @override_settings(PM_REALTIME={"ROLE_RESOLVER": path("by_object")})
    def test_role(self):
        user = self.make()
        async_to_sync(self.connect)(user)

    @override_settings(PM_REALTIME={"ROLE_RESOLVER": path("by_function")})
    async def test_role_async(self):
        await self.connect(await sync_to_async(self.make)())

    def make(self):
        user = get_user_model().objects.create_user(username="ada")
        user.groups.add(Group.objects.create(name="editor"))
        return user

    async def connect(self, user):
        async with Connection(user=user) as connection:
            assert connection.connected["role"] == "editor"
