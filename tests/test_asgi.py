"""Mounting of the WebSocket, by the application of this package or one of the site."""

import importlib
import os
import subprocess
import sys

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.testing import ApplicationCommunicator, WebsocketCommunicator
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application as get_django_application

from pm_realtime import routing
from pm_realtime.asgi import get_asgi_application
from pm_realtime.routing import websocket_urlpatterns
from tests.support import readme
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, Connection, errors_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

application = get_asgi_application()
composed = ProtocolTypeRouter(
    {"http": get_django_application(), "websocket": URLRouter(websocket_urlpatterns)}
)


def websocket(path, root_path="", app=application):
    communicator = WebsocketCommunicator(app, path)
    communicator.scope["root_path"] = root_path
    return communicator


async def is_served(communicator):
    accepted, _ = await communicator.connect(EVENT_TIMEOUT_SECONDS)
    if accepted:
        first = await communicator.receive_json_from(EVENT_TIMEOUT_SECONDS)
        assert first["type"] == "connected"
        await communicator.disconnect(timeout=EVENT_TIMEOUT_SECONDS)
    else:
        await communicator.wait(EVENT_TIMEOUT_SECONDS)
    return accepted


def http_scope(path, method="GET", headers=(), root_path=""):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), *headers],
    }


async def request(path, method="GET", headers=(), app=application):
    """Status, headers and body of the answer to an HTTP request."""
    communicator = ApplicationCommunicator(app, http_scope(path, method, headers))
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(EVENT_TIMEOUT_SECONDS)
    body = await communicator.receive_output(EVENT_TIMEOUT_SECONDS)
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    await communicator.wait(EVENT_TIMEOUT_SECONDS)
    return start["status"], dict(start["headers"]), body["body"]


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/api/ws", "", True),
        ("/api/ws/", "", True),
        ("/api/ws?token=1", "", True),
        ("/mounted/api/ws", "/mounted", True),
        ("/mounted/api/ws/", "/mounted", True),
        ("/mounted/api/ws", "", False),
        ("/api/ws", "/mounted", True),
        ("/", "", False),
        ("/api", "", False),
        ("/api/ws/more", "", False),
        ("/api/wss", "", False),
        ("/mountedapi/ws", "/mounted", False),
        ("/API/WS", "", False),
        ("/somewhere/else", "", False),
    ],
)
async def test_only_the_path_is_served_and_others_are_closed_without_an_error(
    caplog, path, root_path, expected
):
    assert await is_served(websocket(path, root_path)) is expected
    assert errors_of(caplog) == []


async def test_changed_path_takes_effect_at_once(configure):
    configure(PATH="/live/")
    assert await is_served(websocket("/live"))
    assert await is_served(websocket("/live/"))
    assert not await is_served(websocket("/api/ws"))
    assert (await request("/live"))[0] == 426
    configure(PATH="api/ws")
    assert await is_served(websocket("/api/ws"))


async def test_application_authenticates_a_logged_in_user(user):
    async with Connection(user=user, application=application) as connection:
        assert connection.connected["userId"] == str(user.pk)


@pytest.mark.parametrize("path", ["/api/ws", "/api/ws/"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_plain_http_on_the_path_gets_upgrade_required(path, method):
    status, headers, body = await request(path, method)
    assert status == 426
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"connection"] == b"Upgrade"
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert b"WebSocket" in body
    assert all(name == name.lower() for name in headers)


async def test_other_http_is_answered_by_django(transactional_db):
    status, _, body = await request("/memory/")
    assert status == 200
    assert b"bytes" in body
    assert (await request("/nowhere/"))[0] == 404


async def test_lifespan_is_answered():
    communicator = ApplicationCommunicator(application, {"type": "lifespan"})
    for event in ("startup", "shutdown"):
        await communicator.send_input({"type": f"lifespan.{event}"})
        answer = await communicator.receive_output(EVENT_TIMEOUT_SECONDS)
        assert answer == {"type": f"lifespan.{event}.complete"}
    await communicator.wait(EVENT_TIMEOUT_SECONDS)


@pytest.fixture
def static_site(settings):
    """A site in development, with ``staticfiles``."""
    settings.DEBUG = True
    settings.STATIC_URL = "assets/"
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.staticfiles"]
    return settings


CLIENT_FILE = "pm_realtime/client.js"


async def is_static(path, root_path="", app=None):
    found = app or get_asgi_application()
    communicator = ApplicationCommunicator(found, http_scope(path, root_path=root_path))
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(EVENT_TIMEOUT_SECONDS)
    body = await communicator.receive_output(EVENT_TIMEOUT_SECONDS)
    while body.get("more_body"):
        body = await communicator.receive_output(EVENT_TIMEOUT_SECONDS)
    await communicator.wait(EVENT_TIMEOUT_SECONDS)
    return start["status"] == 200 and b"javascript" in dict(start["headers"])[b"Content-Type"]


@pytest.mark.parametrize(
    ("url", "prefix", "path", "root_path"),
    [
        ("assets/", None, "/assets/", ""),
        ("/files/s/", None, "/files/s/", ""),
        ("assets/", None, "/sub/assets/", "/sub"),
        ("assets/", None, "/assets/", "/sub"),
        ("/assets/", "/sub", "/assets/", ""),
        ("/assets/", None, "/sub/assets/", "/sub/"),
    ],
)
async def test_static_files_are_served_in_development(static_site, url, prefix, path, root_path):
    static_site.STATIC_URL = url
    static_site.FORCE_SCRIPT_NAME = prefix
    assert await is_static(path + CLIENT_FILE, root_path)
    assert not await is_static(path + "pm_realtime/no.js", root_path)
    assert not await is_static("/elsewhere/" + CLIENT_FILE, root_path)


@pytest.mark.parametrize(
    ("name", "root_path", "path"),
    [("/sub", "", "/sub/assets/"), ("/sub/", "", "/assets/"), (None, "/sub", "/assets/")],
    ids=["forced", "forced-and-stripped", "root-path"],
)
async def test_relative_static_url_is_below_the_script_name(static_site, name, root_path, path):
    static_site.FORCE_SCRIPT_NAME = name
    app = get_asgi_application()
    assert await is_static(path + CLIENT_FILE, root_path, app)
    assert django_settings.STATIC_URL == "/sub/assets/"


@pytest.mark.parametrize(
    "changes",
    [
        {"DEBUG": False},
        {"STATIC_URL": None},
        {"STATIC_URL": "https://cdn.example/assets/"},
        {"STATIC_URL": "//cdn.example/assets/"},
        {"INSTALLED_APPS": django_settings.INSTALLED_APPS},
    ],
    ids=str,
)
async def test_static_files_are_left_to_others(static_site, changes):
    for name, value in changes.items():
        setattr(static_site, name, value)
    assert not await is_static("/assets/" + CLIENT_FILE)


async def test_runserver_decides_by_itself_about_static_files(static_site, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver", "--nostatic"])
    assert not await is_static("/assets/" + CLIENT_FILE)


async def test_websocket_and_pages_work_beside_static_files(static_site, transactional_db):
    app = get_asgi_application()
    assert await is_served(websocket("/api/ws", app=app))
    assert (await request("/api/ws", app=app))[0] == 426
    assert (await request("/memory/", app=app))[0] == 200


@pytest.mark.parametrize("name", ["/sub", "/sub/", "/a/b", "/v1.0"])
async def test_urlpatterns_take_the_url_of_the_tag_below_a_script_name(settings, name):
    settings.FORCE_SCRIPT_NAME = name
    (route,) = importlib.reload(routing).websocket_urlpatterns
    router = URLRouter([route])
    try:
        assert await is_served(websocket(f"{name.rstrip('/')}/api/ws", app=router))
        assert await is_served(websocket("/api/ws/", app=router))
        assert await is_served(websocket(f"{name.rstrip('/')}/api/ws", name.rstrip("/"), router))
        assert route.pattern.match("other/api/ws") is None
    finally:
        settings.FORCE_SCRIPT_NAME = None
        importlib.reload(routing)


@pytest.mark.parametrize("path", ["/api/ws", "/api/ws/"])
async def test_urlpatterns_work_in_an_application_of_the_site(path):
    assert await is_served(websocket(path, app=composed))


async def test_urlpatterns_check_the_origin_and_authenticate_the_session(user):
    foreign = [(b"origin", b"https://evil.example"), (b"host", b"testserver")]
    refused = Connection(application=composed, headers=foreign)
    assert not (await refused.connect())[0]
    await refused.assert_ended()
    async with Connection(user=user, application=composed) as connection:
        assert connection.connected["userId"] == str(user.pk)


async def test_dispatcher_of_the_site_passes_on_all_but_its_own_paths():
    async def echo(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "echo"})

    site = {"websocket_application": echo}
    exec(readme.block("example: dispatcher"), site)
    assert await is_served(websocket("/api/ws", app=site["application"]))
    assert (await request("/api/ws", app=site["application"]))[0] == 426
    own = websocket("/echo", app=site["application"])
    assert await own.connect(EVENT_TIMEOUT_SECONDS) == (True, "echo")


@pytest.mark.parametrize(
    "code",
    [
        "import pm_realtime.asgi",
        # Like `asgi.py` of a new project, with its two imports in either order.
        "from pm_realtime.asgi import get_asgi_application\n"
        "import os\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'tests.settings')\n"
        "application = get_asgi_application()",
        "from tests.site.asgi import application",
    ],
)
def test_asgi_module_can_be_imported_before_the_settings(code):
    environment = {key: os.environ[key] for key in os.environ if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_force_script_name_is_removed_from_the_path(settings):
    settings.FORCE_SCRIPT_NAME = "/app/"
    assert await is_served(websocket("/app/api/ws"))
    assert not await is_served(websocket("/other/api/ws"))


async def test_wrong_path_is_logged_with_the_right_one(caplog):
    assert not await is_served(websocket("/api/websocket"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "'/api/websocket'" in record.getMessage()
    assert "/api/ws (PM_REALTIME" in record.getMessage()
