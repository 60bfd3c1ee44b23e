"""Checks of the apps by which Django knows its users."""

import pytest
from django.apps import apps
from django.db import connections

from pm_realtime.checks import check_environment
from tests.checks.messages import only

SESSIONS = "django.contrib.sessions"
ENGINES = "django.contrib.sessions.backends"


def without(settings, *apps):
    return [app for app in settings.INSTALLED_APPS if app not in apps]


def test_w021_no_accounts(settings):
    settings.INSTALLED_APPS = ["pm_realtime"]
    settings.DEBUG = True
    (message,) = check_environment()  # Checks of Django's apps would fail here.
    assert message.id == "pm_realtime.W021"
    assert message.msg.startswith("'django.contrib.auth' is not in INSTALLED_APPS")
    assert message.hint


@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_w022_no_sessions(check, settings, engine):
    settings.SESSION_ENGINE = f"{ENGINES}.{engine}"
    message = only(check({}, INSTALLED_APPS=without(settings, SESSIONS)), "W022")
    assert f"'{ENGINES}.{engine}'" in message.msg
    assert "'django.contrib.sessions' is not in INSTALLED_APPS" in message.msg
    assert message.hint.startswith("Complete INSTALLED_APPS")


@pytest.mark.parametrize("engine", ["cache", "file", "signed_cookies"])
def test_engine_that_needs_no_app_gets_no_message(check, settings, engine):
    settings.SESSION_ENGINE = f"{ENGINES}.{engine}"
    assert check({}, INSTALLED_APPS=without(settings, SESSIONS)) == []


@pytest.mark.parametrize("engine", ["no.such.engine", "tests.site.rules", "", "redis_sessions"])
def test_e023_engine_cannot_be_imported(check, settings, engine):
    settings.SESSION_ENGINE = engine
    assert repr(engine) in only(check({}), "E023").msg


def test_w022_no_database(check, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "django.db.backends.dummy")
    message = only(check({}), "W022")
    assert "DATABASES names no database" in message.msg
    assert message.hint.startswith("Complete DATABASES")


def test_sessions_in_a_database_that_a_router_chooses_get_no_message(check, settings, monkeypatch):
    settings.DATABASE_ROUTERS = ["tests.auth.test_replica.ReplicaRouter"]
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "django.db.backends.dummy")
    assert check({}) == []


@pytest.fixture
def tenants(monkeypatch):
    """A site with django-tenants, which needs PostgreSQL."""
    is_installed = apps.is_installed
    monkeypatch.setattr(
        apps, "is_installed", lambda name: name == "django_tenants" or is_installed(name)
    )


@pytest.mark.parametrize("app", ["tests.site", "tests.site.apps.SiteConfig"])
def test_w039_users_of_tenants_have_the_same_keys(check, settings, tenants, app):
    settings.TENANT_APPS = ["shop", app]
    message = only(check({}), "W039")
    assert "TENANT_APPS has 'tests.site'" in message.msg


def test_tenants_with_common_users_get_no_message(check, settings, tenants):
    settings.SHARED_APPS = ["tests.site"]
    settings.TENANT_APPS = ["tests.site_of_a_tenant"]
    assert check({}) == []
