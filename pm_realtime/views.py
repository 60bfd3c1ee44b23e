"""The answer to a plain HTTP request on the path of the WebSocket."""

import logging
from collections.abc import Mapping
from typing import Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from pm_realtime.layer import daphne_lines, is_wsgi_runserver
from pm_realtime.observability import throttle

logger = logging.getLogger("pm_realtime.connection")

_WSGI: Final = (
    "the server speaks WSGI. Start asgi.py with an ASGI server (daphne, uvicorn), and have the "
    "proxy pass this path on to it"
)
_PROXY: Final = "a proxy in front of the server does not pass on the headers Upgrade and Connection"
_LIBRARY: Final = (
    "the ASGI server does not speak WebSocket. uvicorn needs a library for it: "
    'pip install "pm-realtime[uvicorn]"'
)


@csrf_exempt
def upgrade_required(request: HttpRequest) -> HttpResponse:
    """426 Upgrade Required, with the protocol of this path.

    If the request is a handshake, the log and the text say why it came as plain HTTP.
    """
    is_asgi = isinstance(request, ASGIRequest)
    response = upgrade_response(request.headers, is_asgi=is_asgi)
    server = request.META.get("SERVER_SOFTWARE", "")
    if not server or server.startswith("gunicorn"):
        # Hop-by-hop headers: other WSGI servers fail if an application sets them.
        response.headers["Upgrade"] = "websocket"
        response.headers["Connection"] = "Upgrade"
    return response


def upgrade_response(headers: Mapping[str, str], *, is_asgi: bool) -> HttpResponse:
    """The answer to ``headers``, which may have lower-case names, without those for one hop."""
    cause = _cause(headers, is_asgi)
    text = (
        f"This WebSocket handshake came as plain HTTP: {cause}.\n"
        if cause
        else "Expected a WebSocket handshake: this path speaks WebSocket only, and only on an ASGI "
        "server (daphne, uvicorn).\n"
    )
    if cause and (count := throttle.note(("plain handshake", cause))):
        logger.warning("WebSocket handshakes came as plain HTTP (%d): %s.", count, cause)
    return HttpResponse(text, status=426, content_type="text/plain; charset=utf-8")


def _cause(headers: Mapping[str, str], is_asgi: bool) -> str | None:
    """Why a handshake came as plain HTTP; None if the request is none."""
    if headers.get("upgrade", "").lower() == "websocket":
        if is_asgi:
            return _LIBRARY
        return f"runserver speaks WSGI. {daphne_lines()}" if is_wsgi_runserver() else _WSGI
    # A proxy that does not know WebSockets keeps the headers that are not for one hop.
    return _PROXY if "sec-websocket-key" in headers else None
