"""Rights are read from the database that is written to, however far its replicas lag behind."""

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connections

from pm_realtime import arefresh_room, arefresh_user
from pm_realtime.auth import reading_primary
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.roles import resolve_role
from tests.site.models import Note
from tests.site.rules import permission
from tests.support.helpers import Connection
from tests.support.sessions import Browser

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "replica"])

User = get_user_model()
THROUGH = User.groups.through
OWN_BACKEND = "tests.people.backends.OwnBackend"
RESOLVER = "tests.auth.test_replica.first_group"


class ReplicaRouter:
    """As in Django's documentation."""

    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *objects, **hints):
        return True


class ReadRouter:
    """Leaves the choice for writing to Django."""

    def db_for_read(self, model, **hints):
        return "replica"

    def allow_relation(self, *objects, **hints):
        return True


def first_group(user):
    """A role resolver of a site."""
    group = user.groups.first()
    return group.name if group else "user"


@pytest.fixture(scope="module", autouse=True)
def second_database(tmp_path_factory, django_db_setup, django_db_blocker):
    """Another database, to which :func:`fall_behind` copies what is there at that moment."""
    connections.settings["replica"] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path_factory.mktemp("replica") / "replica.sqlite3"),
        "OPTIONS": {},
    }
    with django_db_blocker.unblock():
        call_command("migrate", database="replica", verbosity=0)
        yield
        connections["replica"].close()
    del connections["replica"]
    del connections.settings["replica"]


def fall_behind(settings, router=ReplicaRouter):
    """Copy all rows to the replica, which reads go to from now on."""
    for model in (Group, User, THROUGH, Session, Note):
        model.objects.using("replica").bulk_create(model.objects.using("default").all())
    settings.DATABASE_ROUTERS = [f"{__name__}.{router.__name__}"]


def deactivate(user, browser):
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(user, browser):
    User.objects.filter(pk=user.pk).update(password="another")


def delete_session(user, browser):
    Session.objects.filter(pk=browser.key).delete()


def delete_user(user, browser):
    rows = THROUGH.objects.using("default").filter(user=user)
    rows._raw_delete("default")
    User.objects.using("default").filter(pk=user.pk)._raw_delete("default")


CHANGES = [deactivate, change_password, delete_session, delete_user]
SITES = {
    "cached_db": {"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"},
    "own engine": {"SESSION_ENGINE": "tests.site.sessions"},
    "own backend": {"AUTHENTICATION_BACKENDS": [OWN_BACKEND]},
}


@pytest.fixture(params=SITES)
def site(request, settings, late):
    for name, value in SITES[request.param].items():
        setattr(settings, name, value)


@pytest.fixture
def late(configure, settings):
    """No sweep takes place during the test."""
    configure(SESSION_RECHECK_INTERVAL=600)
    yield
    settings.DATABASE_ROUTERS = []


def make(name):
    user = User.objects.create_user(username=name)
    user.groups.add(Group.objects.get_or_create(name="editor")[0])
    return user


async def ready(settings, router=ReplicaRouter):
    """A user and a browser, as both databases have them."""
    user = await sync_to_async(make)("someone")
    browser = await Browser.of(user)
    await sync_to_async(fall_behind)(settings, router)
    return user, browser


@pytest.mark.parametrize(
    ("change", "router"),
    [*((change, ReplicaRouter) for change in CHANGES), (deactivate, ReadRouter)],
)
async def test_handshake_after_a_change_is_anonymous(settings, late, router, change):
    user, browser = await ready(settings, router)
    async with Connection(headers=browser.headers) as connection:
        assert connection.connected["userId"] == str(user.pk)
        assert connection.connected["role"] == "editor"
    await sync_to_async(change)(user, browser)
    async with Connection(headers=browser.headers) as connection:
        assert connection.connected["userId"] is None


@pytest.mark.parametrize("change", [deactivate, delete_session])
async def test_change_on_a_site_of_its_own_kind_is_seen(settings, site, change):
    user, browser = await ready(settings)
    async with Connection(headers=browser.headers) as connection:
        assert connection.connected["role"] == "editor"
        await sync_to_async(change)(user, browser)
        await arefresh_user(user.pk)
        await connection.assert_closed(4504 if change is deactivate else 4501)
    async with Connection(headers=browser.headers) as connection:
        assert connection.connected["userId"] is None


@pytest.mark.parametrize("change", [deactivate, change_password, delete_session])
async def test_sweep_after_a_change_closes(settings, late, configure, change):
    configure(SESSION_RECHECK_INTERVAL=0.1)
    user, browser = await ready(settings)
    async with Connection(headers=browser.headers) as connection:
        await sync_to_async(change)(user, browser)
        await connection.assert_closed(4504 if change is deactivate else 4501)


@pytest.mark.parametrize("change", [deactivate, change_password, delete_session])
async def test_user_that_channels_read_is_read_again(settings, late, change):
    user, browser = await ready(settings)
    application = AuthMiddlewareStack(RealtimeConsumer.as_asgi())
    async with Connection(headers=browser.headers, application=application) as connection:
        assert connection.connected["role"] == "editor"
    await sync_to_async(change)(user, browser)
    async with Connection(headers=browser.headers, application=application) as connection:
        assert connection.connected["userId"] is None


def leave_group(user):
    THROUGH.objects.using("default").filter(user=user)._raw_delete("default")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ROLE_RESOLVER": RESOLVER},
        {"ROLE_RESOLVER": "tests.auth.test_async_resolvers.by_function"},
    ],
)
@pytest.mark.parametrize("middleware", [lambda application: application, AuthMiddlewareStack])
async def test_lost_group_is_seen_at_once(settings, late, options, middleware):
    settings.PM_REALTIME = {**settings.PM_REALTIME, **options}
    user, browser = await ready(settings)
    application = middleware(RealtimeConsumer.as_asgi())
    async with Connection(headers=browser.headers) as connection:
        await connection.subscribe("support")
        await sync_to_async(leave_group)(user)
        await arefresh_user(user.pk)
        assert (await connection.assert_push("unsubscribed"))["payload"]["room"] == "support"
    async with Connection(headers=browser.headers, application=application) as connection:
        assert connection.connected["role"] == "user"


async def test_rule_of_a_room_sees_a_change_at_once(settings, late, configure):
    configure(ROOMS={"listed:<int:pk>": {"authorize": "tests.site.rules.by_note"}})
    user = await sync_to_async(make)("someone")
    await Note.objects.acreate(text=permission(user, "listed:1"))
    browser = await Browser.of(user)
    await sync_to_async(fall_behind)(settings)
    async with Connection(headers=browser.headers) as connection:
        await connection.subscribe("listed:1")
        await Note.objects.using("default").all().adelete()
        await arefresh_room("listed:1")
        assert (await connection.assert_push("unsubscribed"))["payload"]["room"] == "listed:1"


def test_default_resolver_reads_groups_where_they_are_written(settings, late):
    user = make("someone")
    fall_behind(settings)
    assert resolve_role(user) == "editor"
    leave_group(user)
    assert resolve_role(user) == "user"
    assert user.groups.exists()  # Other code reads from the replica.


async def test_other_reads_go_where_the_router_of_the_site_says(settings, late):
    user, browser = await ready(settings)
    async with Connection(headers=browser.headers):
        await sync_to_async(deactivate)(user, browser)
        assert (await User.objects.aget()).is_active


class LegacyRouter:
    """The table of notes is in another database, and Django writes and migrates none there."""

    def db_for_read(self, model, **hints):
        return "replica" if model is Note else None

    def allow_migrate(self, db, app_label, **hints):
        return (db == "replica") == (app_label == "site")


class RaisingRouter(LegacyRouter):
    def db_for_write(self, model, **hints):
        if model is Note:
            raise TypeError("notes are only read")

    def allow_migrate(self, db, app_label, **hints):
        return True


@pytest.mark.parametrize("router", [LegacyRouter, RaisingRouter])
def test_model_that_the_site_only_reads_is_read_where_it_is(settings, router):
    settings.DATABASE_ROUTERS = [f"{__name__}.{router.__name__}"]
    with reading_primary():
        assert Note.objects.all().db == "replica"
        assert Session.objects.all().db == "default"
