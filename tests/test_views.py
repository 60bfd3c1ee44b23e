"""Plain HTTP on the path of the WebSocket, answered by the site's URLs."""

import pytest
from django.test import Client
from django.urls import reverse


@pytest.mark.parametrize("path", ["/api/ws", "/api/ws/"])
@pytest.mark.parametrize("method", ["get", "post", "head", "put", "delete", "options"])
def test_plain_http_gets_upgrade_required(path, method):
    response = getattr(Client(enforce_csrf_checks=True), method)(path)
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Connection"] == "Upgrade"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (b"WebSocket" in response.content) is (method != "head")


@pytest.mark.parametrize("path", ["/api/ws/more", "/api/wss", "/api/"])
def test_other_paths_are_not_found(client, path):
    assert client.get(path).status_code == 404


def test_path_has_a_name():
    assert reverse("pm_realtime:websocket") in ("/api/ws", "/api/ws/")


@pytest.mark.parametrize(
    ("server", "has_headers"),
    [
        ("WSGIServer/0.2 CPython/3.11.7", False),
        ("waitress", False),
        ("gunicorn/23.0.0", True),
        ("", True),
    ],
)
def test_only_some_wsgi_servers_get_hop_by_hop_headers(client, server, has_headers):
    response = client.get("/api/ws", SERVER_SOFTWARE=server)
    assert response.status_code == 426
    for name in ("Upgrade", "Connection"):
        assert response.has_header(name) is has_headers
