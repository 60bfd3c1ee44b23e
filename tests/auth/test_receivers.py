"""Django's signals reach connections, and a failure there never fails their sender."""

import asyncio
import uuid

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import SESSION_KEY, get_user_model, logout
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import connection as database
from django.db import models
from django.test.utils import isolate_apps

from pm_realtime import send_to_user
from pm_realtime.auth import receivers
from tests.people.models import Member
from tests.support.helpers import Connection, errors_of, eventually
from tests.support.sessions import Browser, store_of

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()


@pytest.fixture
def rarely(configure):
    configure(SESSION_RECHECK_INTERVAL=600)


class Stranger:
    """A user of a site's own authentication backend, not of Django's user model."""

    is_authenticated = True


async def test_user_of_another_model_can_log_out(rarely, user):
    def view(request):
        request.user = Stranger()
        logout(request)

    browser = await Browser.of(user)
    async with Connection(headers=browser.headers) as connection:
        await browser.request(view)
        await connection.assert_closed(4501)


@pytest.mark.parametrize("engine", ["db", "signed_cookies"])
@pytest.mark.parametrize("signal", [user_logged_in, user_logged_out])
def test_signal_of_a_login_without_a_session_is_ignored(settings, user, engine, signal):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    signal.send(sender=User, request=None, user=user)


def test_user_is_saved_if_the_layer_is_broken(settings, user, caplog):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "not.installed.Layer"}}
    user.first_name = "Another"
    user.save()
    assert User.objects.get().first_name == "Another"
    assert [record.name for record in errors_of(caplog)] == ["pm_realtime.auth"]


async def test_change_in_an_async_view_under_wsgi_is_sent(far, rarely, user):
    """The loop of such a view ends with it."""
    browser = await Browser.of(user)

    async def view():
        store = store_of(browser.key)
        await store.aget(SESSION_KEY)
        await store.acycle_key()
        await store.asave()

    async with Connection(headers=browser.headers):
        await asyncio.to_thread(async_to_sync(view))
        kinds = [message.get("instruction") for _, message in far.sent]
        assert kinds.count("expect_session") == 1
        await eventually(lambda: "move_session" in [m.get("instruction") for _, m in far.sent])


def test_site_without_users_starts(settings):
    settings.INSTALLED_APPS = ["pm_realtime"]
    receivers.connect_receivers()


@pytest.mark.parametrize("name", ["Employee", "Clerk"])
async def test_user_deactivated_through_the_parent_model_is_disconnected(rarely, settings, name):
    settings.AUTH_USER_MODEL = f"people.{name}"
    user = await get_user_model().objects.acreate(username="someone")
    async with Connection(user=user) as connection:
        member = await Member.objects.aget()
        member.is_active = False
        await member.asave()
        await connection.assert_closed(4504)


@pytest.fixture(params=["the user's key", "a key of its own"])
def child_model(request, transactional_db, monkeypatch):
    """A model that inherits from the user model, with a row of its own beside the user's."""
    is_own_key = request.param == "a key of its own"
    with isolate_apps("tests.site"):

        class Customer(User):
            user_ptr = models.OneToOneField(
                User, models.CASCADE, parent_link=True, primary_key=not is_own_key
            )
            if is_own_key:
                number = models.UUIDField(primary_key=True, default=uuid.uuid4)

            class Meta:
                app_label = "site"

    monkeypatch.setattr(receivers, "_user_models", lambda: [User, Customer])
    receivers.connect_receivers()
    with database.schema_editor() as editor:
        editor.create_model(Customer)
    yield Customer
    with database.schema_editor() as editor:
        editor.delete_model(Customer)


@pytest.mark.parametrize("is_user_kept", [True, False])
async def test_deleting_only_the_child_row_keeps_the_connection(
    rarely, child_model, user, is_user_kept
):
    def become():
        customer = child_model(user_ptr=user)
        customer.save_base(raw=True)
        return child_model.objects.get()

    customer = await sync_to_async(become)()
    async with Connection(user=user) as connection:
        await sync_to_async(customer.delete)(keep_parents=is_user_kept)
        if is_user_kept:
            await connection.subscribe("lobby")
        else:
            await connection.assert_closed(4504)


async def test_user_is_reached_and_disconnected_through_a_child_row(
    rarely, child_model, user, caplog
):
    def deactivate():
        child_model(user_ptr=user).save_base(raw=True)
        customer = child_model.objects.get()
        send_to_user(customer, "news")
        customer.is_active = False
        customer.save()

    async with Connection(user=user) as connection:
        await sync_to_async(deactivate)()
        await connection.assert_push("news")
        await connection.assert_closed(4504)
    assert errors_of(caplog) == []
