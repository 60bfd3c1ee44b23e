"""Django's accounts, which a site may be without, and what a site's own code says of a user."""

import inspect
from collections.abc import Awaitable
from typing import Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string


def has_accounts() -> bool:
    """Whether ``django.contrib.auth`` is installed. Without it nobody can log in with Django."""
    return apps.is_installed("django.contrib.auth")


def user_model() -> Any:
    """The user model; None if the site has none. It may have one without ``contrib.auth``."""
    try:
        return get_user_model()
    except ImproperlyConfigured:
        return None


def is_of_user_model(user: object) -> bool:
    """Whether ``user`` is an object of the user model."""
    model = user_model()
    return model is not None and isinstance(user, model)


def key_of(user: Any) -> Any:
    """The primary key of ``user``; None without one.

    A child model of the user model may have a key of its own, by which nobody knows the user.
    """
    model = user_model()
    if model is not None and isinstance(user, model):
        return getattr(user, model._meta.pk.attname)
    return getattr(user, "pk", None)


def is_logged_in(user: Any) -> bool:
    """Whether ``user`` says so. A method is always true, as those of users before Django 1.10."""
    return user.is_authenticated is True


def ask_resolver(setting: str, path: str, user: object) -> Any:
    """The answer for ``user`` of the resolver at ``path`` in ``setting``, which may be async.

    May query the database. An async resolver runs in the event loop that uses this thread, so this
    is not for the thread of the loop. Raises ``ImproperlyConfigured`` if nothing is at ``path``.
    """
    try:
        resolver = import_string(path)
    except Exception as error:
        text = f'PM_REALTIME["{setting}"]: expected the dotted path of a function, got {path!r}'
        raise ImproperlyConfigured(f"{text} ({error}).") from error
    found = resolver(user)
    return async_to_sync(_result_of)(found) if inspect.isawaitable(found) else found


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
