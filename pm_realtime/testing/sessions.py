"""The session of a user of a test."""

from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest


async def session_cookie(user: Any) -> bytes:
    """The value of the ``Cookie`` header of a browser in which ``user`` has just logged in."""
    key = await sync_to_async(_log_in)(user)
    return f"{settings.SESSION_COOKIE_NAME}={key}".encode()


def _log_in(user: Any) -> str:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.save()
    return str(request.session.session_key)
