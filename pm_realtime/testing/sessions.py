"""The session of a user of a test."""

from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import load_backend, login
from django.http import HttpRequest


async def session_cookie(user: Any) -> bytes:
    """The value of the ``Cookie`` header of a browser in which ``user`` has just logged in."""
    key = await sync_to_async(_log_in)(user)
    return f"{settings.SESSION_COOKIE_NAME}={key}".encode()


def _log_in(user: Any) -> str:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    login(request, user, backend=_backend())
    request.session.save()
    return str(request.session.session_key)


def _backend() -> str | None:
    """The first that finds users, as in ``Client.force_login``. Others only guard a login, or
    decide about permissions."""
    paths = settings.AUTHENTICATION_BACKENDS
    return next((path for path in paths if hasattr(load_backend(path), "get_user")), None)
