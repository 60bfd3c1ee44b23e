"""Checks of the apps by which Django knows its users."""

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from pm_realtime.accounts import has_accounts, user_model
from pm_realtime.auth import ENGINE_ERRORS, missing_session_part


def check_accounts() -> Iterator[CheckMessage]:
    """Check that a session cookie can tell who a visitor is."""
    if not has_accounts():
        yield CheckWarning(
            "'django.contrib.auth' is not in INSTALLED_APPS, so every connection is anonymous, but "
            "for those that a middleware of the site gives a user.",
            hint="Add it, or silence this check if your visitors have no accounts in Django.",
            id="pm_realtime.W021",
        )
        return
    yield from _check_tenants()
    try:
        setting = missing_session_part()
    except ENGINE_ERRORS as error:
        yield Error(
            "SESSION_ENGINE must be the path of a module with a SessionStore, got "
            f"{settings.SESSION_ENGINE!r} ({error}).",
            hint="Install its package, or name another engine. Session cookies are refused.",
            id="pm_realtime.E023",
        )
        return
    if setting is not None:
        found = (
            "DATABASES names no database"
            if setting == "DATABASES"
            else "'django.contrib.sessions' is not in INSTALLED_APPS"
        )
        yield CheckWarning(
            f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}, which keeps sessions in the database, "
            f"but {found}: session cookies are ignored, and every connection is anonymous.",
            hint=(
                f"Complete {setting} and run manage.py migrate, or choose a SESSION_ENGINE that "
                "needs no database, such as 'django.contrib.sessions.backends.signed_cookies'."
            ),
            id="pm_realtime.W022",
        )


def _check_tenants() -> Iterator[CheckMessage]:
    """Check that a primary key is that of one user, in a schema of django-tenants too."""
    model = user_model()
    if model is None or not apps.is_installed("django_tenants"):
        return
    name = apps.get_app_config(model._meta.app_label).name
    of_tenants = getattr(settings, "TENANT_APPS", ())
    if any(each == name or each.startswith(f"{name}.") for each in of_tenants):
        yield CheckWarning(
            f"TENANT_APPS has {name!r}, the app of the user model, so users of several tenants "
            "have the same primary key: each gets what is pushed to the other.",
            hint=(
                "Keep users in SHARED_APPS alone, or serve each tenant by processes of its own, "
                "with a NAMESPACE of its own."
            ),
            id="pm_realtime.W039",
        )
