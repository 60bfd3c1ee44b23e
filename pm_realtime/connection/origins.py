"""The check of a handshake's ``Origin`` against the hosts of the site."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final, NamedTuple

import idna
from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

from pm_realtime.conf import conf

Scope = Mapping[str, Any]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s\[\]/\\?#@:]*)(?::([1-9][0-9]{0,4}))?"
)
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_APP_HOST: Final = re.compile(r"[a-z0-9._-]*")


class Origin(NamedTuple):
    """An origin in canonical form. With an app's own scheme it may have no host and no port.

    In a pattern, the host ``*.example.com`` means ``example.com`` and all its subdomains.
    """

    scheme: str
    host: str
    port: int | None


def is_allowed_origin(scope: Scope) -> bool:
    """Whether the page that opens this connection belongs to the site.

    By default a page is ours if its host is that of the request, which ``ALLOWED_HOSTS`` must
    allow, its port that of the request or of its scheme, and its scheme no less secure than the
    request; or if ``CSRF_TRUSTED_ORIGINS`` lists it. A page of another host in ``ALLOWED_HOSTS``
    may belong to another tenant. ``ALLOWED_ORIGINS`` replaces all of this. A handshake without
    ``Origin`` comes from no browser.
    """
    request = _Handshake(scope)
    raw = request.META.get("HTTP_ORIGIN")
    if raw is None:
        return True
    allowed = conf.ALLOWED_ORIGINS
    if allowed is not None and "*" in allowed:
        return True
    # A browser sends an internationalised host in ASCII.
    origin = _parse(raw) if raw.isascii() else None
    if origin is None:
        return False
    if allowed is not None:
        return _is_listed(origin, allowed)
    return _is_listed(origin, settings.CSRF_TRUSTED_ORIGINS) or _is_own(origin, request)


def describe(scope: Scope) -> str:
    """The parts of a handshake that :func:`is_allowed_origin` has read, for the log."""
    request = _Handshake(scope)
    origin, host = request.META.get("HTTP_ORIGIN", ""), _raw_host(request)
    scheme = "https" if request.is_secure() else "http"
    return f"Origin {origin!r:.200}, Host {host!r:.200}, over {scheme}"


def is_pattern(text: str) -> bool:
    """Whether ``text`` in ``ALLOWED_ORIGINS`` can ever match a page."""
    return text == "*" or _parse_pattern(text) is not None


class _Handshake(HttpRequest):
    """A handshake as a request of Django, whose settings for proxies apply to it."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._is_wss = scope.get("scheme") in ("wss", "https")
        self.META = {"SERVER_NAME": "", "SERVER_PORT": "", **_meta(scope.get("headers") or ())}

    def _get_scheme(self) -> str:
        return "https" if self._is_wss else "http"


def _meta(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by Django's names. One that comes twice is joined, and then no origin or host."""
    found = defaultdict(list)
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin1"), raw_value.decode("latin1")
        if "_" not in name:
            found["HTTP_" + name.upper().replace("-", "_")].append(value)
    meta = {name: ",".join(values) for name, values in found.items()}
    if "HTTP_X_FORWARDED_PROTO" in meta:
        # Traefik names the scheme of a WebSocket, which Django does not know.
        meta["HTTP_X_FORWARDED_PROTO"] = meta["HTTP_X_FORWARDED_PROTO"].replace("wss", "https")
    return meta


def _is_listed(origin: Origin, texts: Iterable[str]) -> bool:
    """As Django reads ``CSRF_TRUSTED_ORIGINS``: exact, or ``https://*.example.com``."""
    return any(_matches(origin, pattern) for pattern in map(_parse_pattern, texts) if pattern)


def _matches(origin: Origin, pattern: Origin) -> bool:
    if not pattern.host.startswith("*"):
        return origin == pattern
    is_same = (origin.scheme, origin.port) == (pattern.scheme, pattern.port)
    return is_same and is_same_domain(origin.host, pattern.host.removeprefix("*"))


def _is_own(origin: Origin, request: HttpRequest) -> bool:
    if origin.scheme not in (["https"] if request.is_secure() else _DEFAULT_PORTS):
        return False
    host, port = _own_host(request)
    ports = {str(_DEFAULT_PORTS[origin.scheme]), port, request.get_port()}
    return origin.host == host and str(origin.port) in ports


def _own_host(request: HttpRequest) -> tuple[str, str]:
    """The host of the request, in canonical form, and its port; empty if it is not allowed."""
    host, port = split_domain_port(_raw_host(request))
    host = _canonical(host)
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    patterns = [each if each == "*" else _canonical_pattern(each) for each in allowed]
    return (host, port) if host and validate_host(host, patterns) else ("", "")


def _raw_host(request: HttpRequest) -> str:
    raw = request.META.get("HTTP_X_FORWARDED_HOST") if settings.USE_X_FORWARDED_HOST else None
    return str(raw if raw is not None else request.META.get("HTTP_HOST", ""))


def _parse(text: str) -> Origin | None:
    """``text`` as an origin; None if it is none."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, digits = match.groups()
    port = int(digits) if digits else _DEFAULT_PORTS.get(scheme)
    if port is not None and port > 65535:
        return None
    if scheme in _DEFAULT_PORTS:
        host = _canonical(host)
        return Origin(scheme, host, port) if host else None
    # Pages of an app: capacitor://localhost, chrome-extension://<id>, file://.
    is_page = scheme not in ("ws", "wss") and _APP_HOST.fullmatch(host)
    return Origin(scheme, host, port) if is_page else None


@lru_cache(maxsize=1024)
def _parse_pattern(text: str) -> Origin | None:
    """As :func:`_parse`, for an origin in the settings: with a wildcard and any letters."""
    scheme, wildcard, rest = text.partition("://*.")
    if not wildcard:
        return _parse(text)
    # As in Django, which reads no path after a wildcard.
    found = _parse(f"{scheme}://{rest.partition('/')[0]}")
    return found._replace(host=f"*.{found.host}") if found and found.host else None


def _canonical(host: str) -> str:
    """``host`` as a browser sends it; empty if it is none."""
    try:
        if host.startswith("[") and host.endswith("]"):
            return f"[{IPv6Address(host[1:-1])}]"
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode()
    except ValueError:
        return ""
    host = host.lower().removesuffix(".")
    return host if _HOST.fullmatch(host) else ""


def _canonical_pattern(host: str) -> str:
    """As :func:`_canonical` for an entry of ``ALLOWED_HOSTS``, which may begin with a dot."""
    found = _canonical(host.removeprefix("."))
    return f".{found}" if found and host.startswith(".") else found
