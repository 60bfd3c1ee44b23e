"""The ASGI application of a site, made in one call: Django's HTTP and the WebSocket."""

import logging
import sys
from typing import Any
from urllib.parse import urlparse

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application as get_django_application
from django.core.handlers.asgi import get_script_prefix
from django.urls import set_script_prefix

from pm_realtime.conf import conf
from pm_realtime.connection import Gate, RealtimeConsumer
from pm_realtime.layer import expect_sockets
from pm_realtime.observability import throttle
from pm_realtime.views import upgrade_response

logger = logging.getLogger("pm_realtime.connection")


class Application:
    """Dispatches each ASGI scope. A WebSocket on another path is closed, without an exception."""

    def __init__(self, http: Any, websocket: Any) -> None:
        self.http = http
        self.websocket = websocket

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await _answer_lifespan(receive, send)
        elif kind == "websocket":
            await (self.websocket if _is_ours(scope) else _deny)(scope, receive, send)
        elif kind == "http" and _is_ours(scope):
            await _answer_upgrade_required(scope, send)
        else:
            await self.http(scope, receive, send)


class StaticFiles(ASGIStaticFilesHandler):
    """Django's handler of static files, also below ``FORCE_SCRIPT_NAME`` and ``root_path``."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        prefix = get_script_prefix(scope).rstrip("/")
        # Before STATIC_URL is read: a relative one stays below the prefix of its first use.
        set_script_prefix(prefix)
        if settings.STATIC_URL:
            self.base_url = urlparse(self.get_base_url())
            below = _without_prefix(scope, prefix)
            for path in (scope["path"], below, prefix + below):
                if self._should_handle(path):
                    scope = {**scope, "path": path, "root_path": ""}
                    await super().__call__(scope, receive, send)
                    return
        await self.application(scope, receive, send)


def get_asgi_application() -> Application:
    """Django's ASGI application with the WebSocket mounted at ``PATH``. Sets Django up.

    With ``DEBUG`` and ``django.contrib.staticfiles``, it also serves the static files, as
    ``runserver`` does.
    """
    http = get_django_application()
    if _serves_static_files():
        http = StaticFiles(http)
    expect_sockets()
    return Application(http, RealtimeConsumer.as_asgi())


def _serves_static_files() -> bool:
    """Whether to serve static files here. ``runserver`` decides that for itself."""
    return bool(
        settings.DEBUG
        and apps.is_installed("django.contrib.staticfiles")
        # An app that tells runserver to leave the files to the middleware of WhiteNoise.
        and not apps.is_installed("whitenoise.runserver_nostatic")
        and sys.argv[1:2] != ["runserver"]
    )


def _is_ours(scope: Any) -> bool:
    return _without_prefix(scope, get_script_prefix(scope)).strip("/") == conf.PATH.strip("/")


def _without_prefix(scope: Any, prefix: str) -> str:
    """The path below ``prefix``; the whole path if a proxy has removed the prefix already."""
    path: str = scope["path"]
    prefix = prefix.rstrip("/")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


async def _close(scope: Any, receive: Any, send: Any) -> None:
    if count := throttle.note("paths without a WebSocket"):
        text = 'No WebSocket at %.200r: pm_realtime serves /%s (PM_REALTIME["PATH"]).'
        text += f" Refused: {count}." if count > 1 else ""
        logger.warning(text, scope["path"], conf.PATH.strip("/"))
    await receive()
    await send({"type": "websocket.close", "code": 1000})


#: Behind a gate, as a flood may also go to another path.
_deny = Gate(_close)


async def _answer_upgrade_required(scope: Any, send: Any) -> None:
    found = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
    response = upgrade_response(found, is_asgi=True)
    headers = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
    headers += [(name.lower().encode(), value.encode()) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


async def _answer_lifespan(receive: Any, send: Any) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
