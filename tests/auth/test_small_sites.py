"""Sites without Django's accounts, without its sessions, or without a database."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from channels.middleware import BaseMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import db

from pm_realtime import asend_to_user
from pm_realtime.auth import anonymous
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.push import user_key
from tests.support.helpers import Connection, cookie_of, errors_of
from tests.support.sessions import Browser

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "site" / "scripts" / "small_site.py"
AUTH = ["django.contrib.auth", "django.contrib.contenttypes"]
SESSIONS = "django.contrib.sessions"
ENGINES = "django.contrib.sessions.backends"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}


@pytest.mark.parametrize(
    ("site", "check"),
    [
        ({"INSTALLED_APPS": ["pm_realtime"]}, "W021"),
        ({"INSTALLED_APPS": ["pm_realtime", SESSIONS], "DATABASES": DATABASES}, "W021"),
        ({"INSTALLED_APPS": ["pm_realtime", *AUTH], "DATABASES": DATABASES}, "W022"),
        ({"INSTALLED_APPS": ["pm_realtime", *AUTH, SESSIONS]}, "W022"),
    ],
)
def test_every_visitor_is_anonymous_and_the_check_says_so(site, check):
    command = [sys.executable, str(SCRIPT), json.dumps(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["checks"] == [f"pm_realtime.{check}"]
    assert found["received"] == [[None, "news", 1]] * 3


@pytest.fixture
def without_sessions(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != SESSIONS]


class SessionStore(db.SessionStore):
    """Of an engine that keeps its sessions in a table of the site's own app."""

    @classmethod
    def get_model_class(cls):
        return db.SessionStore.get_model_class()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("engine", ["db", "cached_db"])
async def test_cookie_is_ignored_without_the_app_of_its_engine(
    settings, user, without_sessions, engine, caplog
):
    settings.SESSION_ENGINE = f"{ENGINES}.{engine}"
    async with Connection(headers=[await cookie_of(user)]) as connection:
        assert connection.connected["userId"] is None
    assert errors_of(caplog) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("engine", ["cache", "file", "signed_cookies"])
async def test_engine_that_needs_no_app_works_without_it(
    settings, user, without_sessions, engine, tmp_path
):
    settings.SESSION_ENGINE = f"{ENGINES}.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.MIDDLEWARE = []  # A process that only serves WebSockets may have none.
    browser = await Browser.of(user)
    async with Connection(headers=browser.headers) as connection:
        assert connection.connected["userId"] == str(user.pk)
        await browser.log_out()
        await connection.assert_closed(4501)


@pytest.mark.django_db(transaction=True)
async def test_engine_with_a_table_of_the_site_works_without_the_app(
    settings, user, without_sessions
):
    settings.SESSION_ENGINE = __name__
    async with Connection(headers=[await cookie_of(user)]) as connection:
        assert connection.connected["userId"] == str(user.pk)


class Member:
    """A user that a middleware makes of a token."""

    is_authenticated = True
    pk = id = 7
    username = "token"

    def get_username(self):
        return self.username


class TokenMiddleware(BaseMiddleware):
    async def __call__(self, scope, receive, send):
        return await super().__call__({**scope, "user": Member()}, receive, send)


async def test_user_of_a_middleware_needs_no_accounts(settings, configure):
    settings.INSTALLED_APPS = ["pm_realtime"]
    settings.AUTH_USER_MODEL = "auth.User"
    configure(SESSION_RECHECK_INTERVAL=0.05, ALLOW_ANONYMOUS=False)
    application = TokenMiddleware(RealtimeConsumer.as_asgi())
    async with Connection(application=application) as connection:
        assert connection.connected["userId"] == 7
        assert connection.connected["role"] == "user"
        for key in (7, "7", Member()):
            await asend_to_user(key, "news")
            await connection.assert_push("news")
        await connection.receive_nothing(0.2)  # Rechecks go on meanwhile.
        assert await connection.is_alive()


class OldVisitor(Member):
    """As the users of Django were before version 1.10."""

    def is_authenticated(self):
        return False


async def test_visitor_who_says_so_by_a_method_is_anonymous(monkeypatch):
    monkeypatch.setitem(globals(), "Member", OldVisitor)
    async with Connection(application=TokenMiddleware(RealtimeConsumer.as_asgi())) as connection:
        assert connection.connected["userId"] is None
        assert connection.connected["role"] is None


def test_user_keys_on_a_site_without_a_user_model(settings):
    settings.INSTALLED_APPS = ["pm_realtime"]
    settings.AUTH_USER_MODEL = "auth.User"
    key = uuid.uuid4()
    assert [user_key(each) for each in (3, "three", key)] == ["3", "three", str(key)]
    for wrong in (None, True, 1.5, [3], {"pk": 3}, anonymous().user):
        with pytest.raises(ValueError, match="expected a saved user or a primary key"):
            user_key(wrong)


def test_visitor_of_a_site_without_accounts_answers_as_djangos(settings):
    django_anonymous = AnonymousUser()
    settings.INSTALLED_APPS = ["pm_realtime"]
    visitor = anonymous().user
    assert not isinstance(visitor, AnonymousUser)
    for name in ("is_authenticated", "is_anonymous", "is_active", "is_staff", "is_superuser"):
        assert getattr(visitor, name) == getattr(django_anonymous, name)
    for name in ("pk", "id", "username"):
        assert getattr(visitor, name) == getattr(django_anonymous, name)
    assert str(visitor) == str(django_anonymous)
    assert visitor.get_username() == ""
    assert not visitor.has_perm("site.add_note")
    assert not visitor.has_perms(["site.add_note"])
    assert not visitor.has_module_perms("site")
