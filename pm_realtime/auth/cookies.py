"""The cookies of a handshake."""

from django.conf import settings
from django.http import parse_cookie

from pm_realtime.auth import sessions
from pm_realtime.auth.identity import Scope


def cookies(scope: Scope) -> dict[str, str]:
    """All cookies in the headers of ``scope``."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            found.update(parse_cookie(value.decode("latin1")))
    return found


def session_key(scope: Scope) -> str:
    """The session key in the cookies of ``scope``, valid or not; empty without one."""
    return cookies(scope).get(settings.SESSION_COOKIE_NAME, "")


def session_name(scope: Scope) -> str | None:
    """The name of the session with that key; None without one. Does not read the session."""
    key = session_key(scope)
    return sessions.name_of(key, {}) if key else None
