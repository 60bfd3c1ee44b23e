"""The example project without a browser, in processes of its own, as it has settings of its own."""

import json
import socket
import subprocess
import sys

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


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused_in_a_sentence(tmp_path, port):
    done = subprocess.run(
        [sys.executable, str(MANAGE), "demo", "--port", port],
        env=environment(tmp_path / "demo.sqlite3"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
