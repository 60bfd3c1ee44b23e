"""A new Django project with the code of the README does what the README says."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from tests.integration.client import connect
from tests.integration.demo import read_people
from tests.integration.server import Server, wait_for_port
from tests.support import readme

#: Variables that are set in the tests and not in the shell of a user.
TEST_VARIABLES = ("DJANGO_SETTINGS_MODULE", "PYTHONSAFEPATH")
CONSOLE_TIMEOUT_SECONDS = 20
DEMO_TIMEOUT_SECONDS = 20

URLS = """
from django.http import HttpResponse
from django.urls import path
from mysite.views import finish_export

PAGE = {page!r}

urlpatterns = [
    path("export/", finish_export),
    path("page/", lambda request: HttpResponse("<title>waiting</title>" + PAGE)),
]
"""


class Project(Server):
    """A server of the project in ``folder``, created by ``django-admin startproject``."""

    @property
    def env(self):
        env = super().env
        path = os.pathsep.join([str(self.folder), env["PYTHONPATH"]])
        return {**env, "DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONPATH": path}

    def add(self, name, text, append=False):
        path = self.folder / name
        path.write_text((path.read_text() if append else "") + "\n" + text)

    def log_in(self, username, is_superuser=False):
        """Create a user and return the ``Cookie`` header of a browser that has logged in."""
        return self.manage(
            "shell",
            "--no-imports",
            "-c",
            "from django.contrib.auth.models import User\n"
            "from asgiref.sync import async_to_sync\n"
            "from pm_realtime.testing import session_cookie\n"
            f"user = User.objects.create_user({username!r}, is_superuser={is_superuser})\n"
            "print(async_to_sync(session_cookie)(user).decode())",
        ).strip()


@pytest.fixture
def project(tmp_path):
    """Create the project for a kind of server: ``project("uvicorn")``. It is not started."""

    def make(kind):
        subprocess.run(
            [sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], check=True
        )
        made = Project(kind, tmp_path, application="mysite.asgi:application")
        for title, texts in readme.blocks().items():
            action, _, name = title.partition(": ")
            if action in ("file", "append") and ": " not in name:
                made.add(name, "\n".join(texts), append=action == "append")
        made.add("mysite/urls.py", URLS.format(page=readme.block("page: client")))
        return made

    return make


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_view_pushes_to_user_room_role_and_all(project, kind):
    command = readme.block(f"server: {kind}").split()
    assert command[:2] == [kind, "mysite.asgi:application"]
    with project(kind) as server:
        assert "no issues" in server.manage("check")
        assert server.get("/static/pm_realtime/client.js").status == 200
        user, boss = server.log_in("ada"), server.log_in("boss", is_superuser=True)
        async with connect(server, user) as ada, connect(server, boss) as master:
            await ada.subscribe("project:42")
            response = await server.aget("/export/?username=ada")
            assert response.status == 200, server.log
            assert [(await ada.receive())["type"] for _ in range(3)] == [
                "notification",
                "export",
                "news",
            ]
            assert [(await master.receive())["type"] for _ in range(2)] == ["notification", "news"]


async def test_rooms_have_their_options_and_their_commands(project):
    with project("uvicorn") as server:
        user = server.log_in("ada")
        async with connect(server, user) as ada, connect(server) as anonymous:
            assert (await ada.subscribe("project:41"))["payload"]["code"] == "FORBIDDEN"
            assert (await ada.subscribe("support"))["payload"]["code"] == "FORBIDDEN"
            assert (await anonymous.subscribe("news"))["type"] == "subscribed"
            sent = await anonymous.ask("message", {"room": "news", "content": 1})
            assert sent["payload"]["code"] == "FORBIDDEN"

            room = "project:42"
            await ada.subscribe(room)
            refused = await ada.ask("project.rename", {"text": ""}, id="1", room=room)
            assert refused["payload"]["path"] == "text"
            refused = await ada.ask("project.rename", {"text": "Untitled"}, id="2", room=room)
            assert (refused["payload"]["code"], refused["payload"]["data"]) == (
                "NO_TITLE",
                {"pk": 42},
            )
            pushed = await ada.ask("project.rename", {"text": "Roof"}, id="3", room=room)
            assert (pushed["type"], pushed["payload"]) == ("renamed", {"text": "Roof"})
            answer = await ada.receive()
            assert (answer["type"], answer["id"], answer["payload"]) == ("result", "3", 42)


@pytest.mark.parametrize("form", ["list", "tuple"])
def test_apps_may_be_a_list_or_a_tuple(form):
    site = {"INSTALLED_APPS": {"list": list, "tuple": tuple}[form](["shop"])}
    for lines in readme.blocks()["append: mysite/settings.py"]:
        exec(lines, site)
    exec(readme.block("append: runserver: mysite/settings.py"), site)
    assert site["INSTALLED_APPS"] == ["daphne", "shop", "pm_realtime", "mysite"]


def test_tests_of_the_site_pass(project):
    assert "Ran 3 tests" in project("uvicorn").run("test").stderr


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", ["runserver", "uvicorn"])
async def test_page_with_the_client_works(project, browser, kind):
    made = project(kind)
    if kind == "runserver":
        lines = readme.block("append: runserver: mysite/settings.py")
        made.add("mysite/settings.py", lines, append=True)
    with made as server:
        cookie = server.log_in("boss", is_superuser=True)
        page = await browser.new_page()
        name, _, value = cookie.partition("=")
        await page.context.add_cookies([{"name": name, "value": value, "url": server.url}])
        logged = asyncio.Queue()
        page.on("console", lambda line: line.type == "log" and logged.put_nowait(line.text))
        await page.goto(server.url + "/page/")
        async with asyncio.timeout(CONSOLE_TIMEOUT_SECONDS):
            assert await logged.get() == "boss Hello"
            await server.aget("/export/?username=boss")
            assert await logged.get() == "Your export is ready"


async def test_push_from_a_shell_reaches_sockets_over_redis(project, valkey):
    made = project("uvicorn")
    layers = readme.block("append: redis: mysite/settings.py")
    made.add("mysite/settings.py", layers.replace("6379", str(valkey.port)), append=True)
    with made as server:
        async with connect(server, server.log_in("ada")) as ada:
            await asyncio.to_thread(
                server.manage,
                "shell",
                "--no-imports",
                "-c",
                "from django.contrib.auth.models import User\n"
                "from pm_realtime import send_to_user\n"
                "for n in range(3): send_to_user(User.objects.get(username='ada'), 'n', n)",
            )
            assert [(await ada.receive())["payload"] for _ in range(3)] == [0, 1, 2]


@pytest.mark.slow
def test_first_command_starts_the_demo(tmp_path):
    root = readme.README.parent
    copy = tmp_path / "pm_realtime"
    ignored = shutil.ignore_patterns(".git", ".venv", ".tox", "*.egg-info", "*.sqlite3*", "build")
    shutil.copytree(root, copy, ignore=ignored)
    demo = subprocess.Popen(
        ["bash", "-c", readme.block("command: demo")],
        cwd=copy,
        env={key: value for key, value in os.environ.items() if key not in TEST_VARIABLES},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = demo.stdout.readline()
            assert line, printed
            printed += line
        assert [*read_people(printed)] == ["user", "editor", "admin", "master"]
        port = int(re.search(r"http://[\w.]+:(\d+)/", printed)[1])
        wait_for_port(port, demo)
        with socket.create_connection(("127.0.0.1", port), timeout=DEMO_TIMEOUT_SECONDS) as probe:
            probe.sendall(b"GET /contact/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert b"200" in probe.recv(100).splitlines()[0]
    finally:
        subprocess.run(["pkill", "-TERM", "-s", str(demo.pid)], check=False)
        demo.wait(DEMO_TIMEOUT_SECONDS)
        demo.stdout.close()
