"""The answer to a plain HTTP request on the path of the WebSocket."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def upgrade_required(request: HttpRequest) -> HttpResponse:
    """426 Upgrade Required, with the protocol of this path."""
    response = HttpResponse(
        "Expected a WebSocket handshake: this path speaks WebSocket only, and only on an ASGI "
        "server (daphne, uvicorn).\n",
        status=426,
        content_type="text/plain; charset=utf-8",
    )
    server = request.META.get("SERVER_SOFTWARE", "")
    if not server or server.startswith("gunicorn"):
        # Hop-by-hop headers: other WSGI servers fail if an application sets them.
        response.headers["Upgrade"] = "websocket"
        response.headers["Connection"] = "Upgrade"
    return response
