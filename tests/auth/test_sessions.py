"""Sessions of every engine are read without writing, and their names do not reveal their keys."""

import time
from unittest import mock

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.sessions.backends import signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session as Row
from django.core.cache.backends.base import BaseCache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from pm_realtime.auth import sessions
from tests.site import sessions as site_sessions
from tests.support.helpers import Connection
from tests.support.sessions import ENGINES, Browser, store_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=ENGINES)
def engine(request, settings, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return request.param


def logged_in(user, age=None):
    browser = Browser(user, age)
    browser.log_in_now()
    return browser


def test_session_is_read_with_its_user_and_expiry(engine, user):
    browser = logged_in(user, age=1000)
    session = sessions.read(browser.key)
    assert session.auth[SESSION_KEY] == str(user.pk)
    assert abs(session.expires_at - time.time() - 1000) < 5
    assert not session.is_expired


def test_session_without_an_age_has_that_of_the_settings(engine, user):
    session = sessions.read(logged_in(user).key)
    assert abs(session.expires_at - time.time() - django_settings.SESSION_COOKIE_AGE) < 5


def test_text_that_is_no_session_key_is_none(engine, user):
    for key in ("", "x", "abcdefghijklmnopqrstuvwxyz012345", "a:b:c", "é", "../../etc/passwd"):
        assert sessions.read(key) is None


def test_session_without_a_user_is_none(engine):
    store = store_of(None)
    store["cart"] = 1
    store.save()
    assert sessions.read(store.session_key) is None


def test_cached_sessions_are_read_with_one_call(settings, users):
    """Short ones are read often."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    keys = [logged_in(user).key for user in users.values()]
    ask = BaseCache.get_many
    with mock.patch.object(BaseCache, "get_many", autospec=True, side_effect=ask) as get_many:
        assert set(sessions.read_many(keys)) == set(keys)
    assert get_many.call_count == 1


def test_custom_engine_reads_its_own_sessions(settings, user):
    settings.SESSION_ENGINE = "tests.site.sessions"
    stays, goes = logged_in(user), logged_in(user)
    site_sessions.revoked.add(goes.key)
    assert set(sessions.read_many([stays.key, goes.key])) == {stays.key}


class SessionStore(SessionBase):
    """Creates a session where it finds none, as that of django-user-sessions does."""

    @property
    def _rows(self):
        return Row.objects.filter(session_key=self.session_key)

    def load(self):
        if row := self._rows.first():
            return self.decode(row.session_data)
        self.create()
        return {}

    def create(self):
        self._session_key = self._get_new_session_key()
        self.save(must_create=True)
        self._session_cache = {}

    def save(self, must_create=False):
        data = self._get_session(no_load=must_create)
        Row(
            session_key=self._get_or_create_session_key(),
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
        ).save()

    def exists(self, session_key):
        return Row.objects.filter(session_key=session_key).exists()

    def delete(self, session_key=None):
        self._rows.delete()


def test_engine_that_creates_a_session_where_it_finds_none_goes_on(settings):
    settings.SESSION_ENGINE = __name__
    store = store_of("abcdefghijklmnopqrstuvwxyz012345")
    store["cart"] = 1
    store.save()
    assert store_of(store.session_key)["cart"] == 1


@pytest.mark.parametrize("is_kept", [True, False])
async def test_logout_under_an_engine_of_the_site_counts_after_its_commit(
    settings, user, configure, is_kept
):
    def log_out(request):
        with transaction.atomic():
            logout(request)
            transaction.set_rollback(is_kept)

    settings.SESSION_ENGINE = __name__
    configure(SESSION_RECHECK_INTERVAL=600)
    browser = await Browser.of(user)
    async with Connection(headers=browser.headers) as socket:
        await browser.request(log_out)
        if is_kept:
            await socket.subscribe("lobby")
        else:
            await socket.assert_closed(4501)


@pytest.mark.parametrize("name", ["db", "cached_db"])
def test_new_session_is_not_looked_for(settings, name):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
    with CaptureQueriesContext(connection) as context:
        store_of(None).create()
    selects = [each["sql"] for each in context if each["sql"].startswith("SELECT")]
    assert len(selects) == 1, selects  # Whether its key is free.


def test_reading_writes_nothing(engine, user):
    browser = logged_in(user)
    before = list(Row.objects.values())
    sessions.read(browser.key)
    sessions.read("abcdefghijklmnopqrstuvwxyz012345")
    sessions.read_many([browser.key] * 3)
    assert list(Row.objects.values()) == before


def test_many_sessions_are_read_with_one_query(engine, users, django_assert_max_num_queries):
    keys = [logged_in(user).key for user in users.values()]
    queries = 1 if engine in ("db", "cached_db") else 0
    with django_assert_max_num_queries(queries):
        found = sessions.read_many([*keys, "abcdefghijklmnopqrstuvwxyz012345"])
    assert list(found) == keys or set(found) == set(keys)
    assert [found[key].auth[SESSION_KEY] for key in keys] == [str(u.pk) for u in users.values()]


def test_name_does_not_reveal_the_key_and_survives_a_new_cookie(engine, user):
    browser = logged_in(user)
    before = sessions.read(browser.key)
    assert browser.key not in before.name
    assert browser.key not in repr(before)
    old_key = browser.key
    browser.request_now(lambda request: request.session.update({"cart": 1}))
    after = sessions.read(browser.key)
    assert after.name == before.name
    assert (browser.key != old_key) == (engine == "signed_cookies")


def test_two_sessions_have_different_names(engine, user):
    assert sessions.read(logged_in(user).key).name != sessions.read(logged_in(user).key).name


def test_signed_cookie_ends_within_a_second_and_by_its_signature(settings, user):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = logged_in(user, age=100)
    assert -0.1 <= sessions.read(browser.key).expires_at - time.time() - 100 <= 1
    settings.SESSION_COOKIE_AGE = 50
    assert sessions.read(browser.key).expires_at - time.time() <= 50
    assert signed_cookies.SessionStore(browser.key).load()[SESSION_KEY] == str(user.pk)
