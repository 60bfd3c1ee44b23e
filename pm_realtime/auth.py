"""Who is at the other end: the origin of a handshake, and the user behind its session cookie."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

from pm_realtime.conf import conf
from pm_realtime.exceptions import CloseConnection
from pm_realtime.protocol import CloseCode
from pm_realtime.roles import role_of
from pm_realtime.threads import run_handshake

Scope = Mapping[str, Any]

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a connection as it was found at the handshake.

    ``user_id`` is the primary key as JSON can hold it (numbers stay numbers), None for an
    anonymous user; ``name`` is what others see; ``session_key`` is None without a Django session.
    """

    user: Any
    user_id: int | str | None = None
    name: str = ""
    role: str | None = None
    session_key: str | None = None

    @property
    def is_authenticated(self) -> bool:
        return self.user_id is not None


async def authenticate(scope: Scope) -> Identity:
    """The identity behind ``scope``, found in one hop to the database (none without a cookie).

    A user that an outer middleware has put into ``scope["user"]`` is taken as it is. Raises
    ``CloseConnection`` for an anonymous one where ``ALLOW_ANONYMOUS`` is False.
    """
    given = scope.get("user")
    session_key = cookies(scope).get(settings.SESSION_COOKIE_NAME)
    if given is not None:
        identity = await run_handshake(_identify_given, given, scope.get("session"))
    elif session_key:
        identity = await run_handshake(_identify, session_key)
    else:
        identity = anonymous()
    if not identity.is_authenticated and not conf.ALLOW_ANONYMOUS:
        raise CloseConnection(CloseCode.SESSION_ENDED, "log in first")
    return identity


def anonymous() -> Identity:
    """The identity of nobody: Django's ``AnonymousUser``."""
    return Identity(get_user(_request({})))


def cookies(scope: Scope) -> dict[str, str]:
    """The cookies of a handshake."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            found.update(parse_cookie(value.decode("latin1")))
    return found


class _ReadOnlySession(dict[str, Any]):
    """The data of a session for :func:`django.contrib.auth.get_user`, which may want to write.

    After a rotation of ``SECRET_KEY`` it renews the session's key, and a handshake cannot hand
    the browser the new cookie: the next request would find itself logged out. That request does
    the renewing.
    """

    def cycle_key(self) -> None:
        pass

    def flush(self) -> None:
        self.clear()


def _identify(session_key: str) -> Identity:
    store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return _identity(get_user(_request(store.load())), session_key)


def _request(session_data: dict[str, Any]) -> Any:
    """As much of a request as ``get_user`` looks at."""
    return SimpleNamespace(session=_ReadOnlySession(session_data))


def _identify_given(user: Any, session: Any) -> Identity:
    return _identity(user, getattr(session, "session_key", None))


def _identity(user: Any, session_key: str | None) -> Identity:
    """All that is asked of ``user``, while the database may be used."""
    if not user.is_authenticated:
        return Identity(user)
    if user.pk is None:
        raise ValueError(f"expected a user with a primary key, got {user!r}")
    user_id = user.pk if isinstance(user.pk, int) else str(user.pk)
    return Identity(user, user_id, _name_of(user), role_of(user), session_key)


def _name_of(user: Any) -> str:
    """The full name where the user model has one, else the user name."""
    get_full_name = getattr(user, "get_full_name", None)
    return str((get_full_name and get_full_name()) or user.get_username())


def is_allowed_origin(scope: Scope) -> bool:
    """Whether the page that opens this connection belongs to the site.

    By default a page is ours when its host is one of ``ALLOWED_HOSTS`` and its port the one of
    the request or its scheme's own, or when ``CSRF_TRUSTED_ORIGINS`` lists it. Under ``"*"`` only
    the request's own host is ours. A handshake without ``Origin`` comes from no browser.
    """
    headers = dict(scope["headers"])
    raw_origin = headers.get(b"origin")
    if raw_origin is None:
        return True
    origin = raw_origin.decode("latin1").lower()
    if (allowed := conf.ALLOWED_ORIGINS) is not None:
        return "*" in allowed or _is_listed(origin, allowed)
    return _is_listed(origin, settings.CSRF_TRUSTED_ORIGINS) or _is_own(origin, scope, headers)


def _is_listed(origin: str, patterns: Iterable[str]) -> bool:
    """As Django reads ``CSRF_TRUSTED_ORIGINS``: exact, or ``https://*.example.com``."""
    scheme, host, port = _split_origin(origin)
    if not host:
        return False
    for pattern in patterns:
        their_scheme, their_host, their_port = _split_origin(pattern.lower())
        if (scheme, port) != (their_scheme, their_port):
            continue
        if is_same_domain(host, their_host.removeprefix("*")):
            return True
    return False


def _is_own(origin: str, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    scheme, host, port = _split_origin(origin)
    if not host or (scope.get("scheme") in ("wss", "https") and scheme != "https"):
        return False
    own_host, own_port = _request_host(headers)
    if port not in (own_port or _DEFAULT_PORTS[scheme], _DEFAULT_PORTS[scheme]):
        return False
    patterns = settings.ALLOWED_HOSTS
    if settings.DEBUG and not patterns:
        patterns = [".localhost", "127.0.0.1", "[::1]"]
    named = [pattern for pattern in patterns if pattern != "*"]
    return validate_host(host, named) or ("*" in patterns and host == own_host)


def _request_host(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Host and port the browser asked for, by Django's rule for proxies."""
    raw = headers.get(b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else None
    host: tuple[str, str] = split_domain_port((raw or headers.get(b"host", b"")).decode("latin1"))
    return host


def _split_origin(origin: str) -> tuple[str, str, str]:
    """Scheme, host and port of an origin; the host is empty where it is none."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return "", "", ""
    if parts.scheme not in _DEFAULT_PORTS or origin != f"{parts.scheme}://{parts.netloc}":
        return "", "", ""
    host = parts.hostname or ""
    if "@" in parts.netloc:
        return "", "", ""
    return (
        parts.scheme,
        f"[{host}]" if ":" in host else host,
        str(port) if port is not None else _DEFAULT_PORTS[parts.scheme],
    )
