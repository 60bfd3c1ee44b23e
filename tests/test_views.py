"""Plain HTTP on the path of the WebSocket, answered by the site's URLs."""

import sys

import pytest
from django.test import Client
from django.urls import reverse

from tests.test_asgi import request as asgi_request


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


KEY = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", **KEY}


@pytest.fixture(params=["view", "application"])
def answer(request, client, async_client):
    """``await answer(headers)`` is the text, from the site's URLs or from our application."""
    if request.param == "view":

        async def ask(headers):
            return (await async_client.get("/api/ws", headers=headers)).content.decode()

    else:

        async def ask(headers):
            sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            return (await asgi_request("/api/ws", headers=sent))[2].decode()

    return ask


def ours(caplog):
    return [record for record in caplog.records if record.name == "pm_realtime.connection"]


async def test_handshake_without_upgrade_blames_the_proxy(answer, caplog):
    text = await answer(KEY)
    assert "a proxy in front of the server does not pass on the headers Upgrade" in text
    (record,) = ours(caplog)
    assert record.levelname == "WARNING"
    assert "a proxy in front" in record.getMessage()


async def test_handshake_at_an_asgi_server_blames_its_library(answer, caplog):
    assert 'pip install "pm-realtime[uvicorn]"' in await answer(HANDSHAKE)
    assert "does not speak WebSocket" in caplog.text


async def test_visit_with_a_browser_is_no_handshake(answer, caplog):
    assert (await answer({"Connection": "keep-alive"})).startswith("Expected a WebSocket handshake")
    assert ours(caplog) == []


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket"])
def test_handshake_over_wsgi_blames_wsgi_once_a_minute(client, caplog, upgrade):
    for _ in range(3):
        text = client.get("/api/ws", headers={**HANDSHAKE, "Upgrade": upgrade}).content.decode()
        assert "the server speaks WSGI. Start asgi.py with an ASGI server" in text
    (record,) = ours(caplog)
    assert "speaks WSGI" in record.getMessage()


def test_handshake_at_a_wsgi_runserver_names_the_two_lines(client, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    text = client.get("/api/ws", headers=HANDSHAKE).content.decode()
    assert 'Put "daphne" on top of INSTALLED_APPS' in text
    assert 'ASGI_APPLICATION = "tests.site.asgi.application"' in text
