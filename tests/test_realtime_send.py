"""`manage.py realtime_send`, in this process and from one to another."""

import io
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from pm_realtime.management.commands.realtime_send import Command as Sends
from pm_realtime.management.commands.realtime_stats import Command as Stats
from pm_realtime.testing import RealtimeCommunicator, capture_pushes
from tests.support import readme
from tests.support.helpers import EVENT_TIMEOUT_SECONDS
from tests.support.valkey import pubsub_on

pytestmark = pytest.mark.django_db(transaction=True)


def send(*arguments, **options):
    out = io.StringIO()
    call_command("realtime_send", *arguments, stdout=out, **options)
    return out.getvalue()


def refusal(*arguments):
    with capture_pushes() as pushes, pytest.raises(CommandError) as refused:
        send(*arguments)
    assert pushes == []
    return str(refused.value)


def test_push_goes_to_the_target_given(user):
    for target, sent in (
        (["--user", user.username], lambda pushes: pushes.to_user(user)),
        (["--user-id", str(user.pk)], lambda pushes: pushes.to_user(user)),
        (["--room", "project:42"], lambda pushes: pushes.to_room("project:42")),
        (["--role", "editor"], lambda pushes: pushes.to_role("editor")),
        (["--all"], lambda pushes: pushes.to_all()),
    ):
        with capture_pushes() as pushes:
            printed = send(*target, "notification", '{"title": "Grüße"}')
        [envelope] = sent(pushes)
        assert (envelope.type, envelope.payload) == ("notification", {"title": "Grüße"})
        assert printed.count("\n") == 1
        assert json.loads(printed)["timestamp"] == envelope.timestamp
        assert "Grüße" in printed


@pytest.mark.parametrize("payload", ["-5", "null", '"text"', "[]", "1e999", '{"a": [1.5]}'])
def test_any_json_is_a_payload(payload):
    with capture_pushes() as pushes:
        send("--all", "x", payload)
    assert len(pushes) == 1


def test_push_under_a_repeated_key_is_sent_once():
    with capture_pushes() as pushes:
        printed = [
            json.loads(send("--all", "paid", payload, "--idempotency-key", key))
            for payload, key in (("1", "order 7"), ("2", "order 7"), ("3", "order 8"))
        ]
    assert [envelope.payload for envelope in pushes] == [1, 3]
    assert [envelope["to"] for envelope in printed] == ["all"] * 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--all", "--idempotency-key", ""], "Expected an idempotency_key of 1 to 200 characters"),
        (["--all", "--idempotency-key", "k" * 201], "Expected an idempotency_key"),
        (["--connection", "c", "--idempotency-key", "k"], "--idempotency-key is for streams, and"),
    ],
)
def test_invalid_key_is_an_error(arguments, expected):
    assert refusal(*arguments, "x").startswith(expected)


def test_payload_is_optional_and_verbosity_0_prints_nothing():
    with capture_pushes() as pushes:
        assert send("--all", "refresh", verbosity=0) == ""
    assert [envelope.payload for envelope in pushes] == [None]


def test_payload_may_come_from_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"from": "a pipe"}\n'))
    with capture_pushes() as pushes:
        send("--all", "x", "-")
    assert pushes[0].payload == {"from": "a pipe"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("{'a': 1}", "double quotes: line 1 column 2"),
        ("hello", "got 'hello': Expecting value: line 1 column 1"),
        ("", "got ''"),
        ("NaN", "JSON has no NaN"),
        ("[" * 100_000, "nested too deeply"),
        ('"' + "x" * 5000, "Unterminated string"),
    ],
)
def test_invalid_json_is_an_error_with_its_position(payload, expected):
    message = refusal("--all", "x", payload)
    assert message.startswith("Expected PAYLOAD to be JSON")
    assert expected in message
    assert len(message) < 400


def test_binary_standard_input_is_an_error(monkeypatch):
    binary = io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", binary)
    assert refusal("--all", "x", "-").startswith("Standard input is no text")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--user", "nobody"], "no user with the username 'nobody'; --user-id takes a primary key"),
        (["--user-id", "7"], "no user with the primary key '7'; --user takes a username"),
        (
            ["--user-id", "00000000-0000-0000-0000-000000000000"],
            "no user with the primary key '00000000",
        ),
        (["--role", "boss"], "one of ROLES (user, editor, admin, master), got 'boss'"),
        (["--room", "a\nb"], "1 to 200 characters"),
        (["--room", ""], "1 to 200 characters"),
        (["--connection", ""], "Expected the id of a connection"),
    ],
)
def test_invalid_target_is_an_error(arguments, expected):
    assert expected in refusal(*arguments, "x")


def test_empty_type_is_an_error():
    assert "non-empty" in refusal("--all", "")


def test_type_of_the_protocol_is_an_error():
    assert "Expected a type of your own, got 'connected'" in refusal("--all", "connected")


def test_lone_surrogate_is_an_error():
    assert "cannot be written as JSON" in refusal("--all", "x", '"\\ud800"')


def test_exactly_one_target_is_required():
    assert "required" in refusal("x")
    assert "not allowed with" in refusal("--all", "--role=admin", "x")


@pytest.mark.usefixtures("memory_layer")
def test_command_fails_in_memory_if_it_can_reach_no_connection():
    with pytest.raises(CommandError, match="Set CHANNEL_LAYERS to channels_redis"):
        send("--all", "x")


async def test_command_in_memory_reaches_connections_of_its_process(user):
    async with RealtimeCommunicator(user=user) as connection:
        for target in ["--all"], ["--connection", connection.connection_id]:
            await sync_to_async(send)(*target, "x", '{"n": 1}')
            await connection.assert_push("x", {"n": 1})


@pytest.mark.parametrize("layer", ["memory", "redis"])
async def test_number_of_connections_is_printed(layer, valkey, settings, users):
    settings.CHANNEL_LAYERS = {} if layer == "memory" else pubsub_on(valkey)

    async def count(*target):
        printed = json.loads(await sync_to_async(send)(*target, "x"))
        return printed["connections"]

    editor = users["editor"]
    async with (
        RealtimeCommunicator(user=editor) as first,
        RealtimeCommunicator(user=editor) as second,
        RealtimeCommunicator(user=users["user"]),
        RealtimeCommunicator(),
    ):
        await first.subscribe("project:42")
        assert await count("--all") == 3
        assert await count("--user", editor.username) == 2
        assert await count("--user-id", str(editor.pk)) == 2
        assert await count("--user", users["admin"].username) == 0
        assert await count("--room", "project:42") == 1
        assert await count("--room", "project:43") == 0
        assert await count("--role", "user") == 3
        assert await count("--role", "editor") == 2
        assert await count("--role", "admin") == 0
        assert await count("--connection", second.connection_id) == 1
        assert await count("--connection", "gone") == 0


async def test_connection_with_a_role_that_is_gone_from_the_settings_is_not_counted(
    users, configure
):
    async with RealtimeCommunicator(user=users["editor"]):
        configure(ROLES=["user", "admin"])
        printed = json.loads(await sync_to_async(send)("--role", "user", "x"))
        assert printed["connections"] == 0


@pytest.mark.usefixtures("user")
def test_number_is_left_out_if_the_backend_does_not_know_the_other_processes(
    valkey, configure, settings
):
    settings.CHANNEL_LAYERS = pubsub_on(valkey)
    configure(BACKEND="pm_realtime.backends.memory.MemoryBackend")
    assert "connections" not in json.loads(send("--all", "x"))


def test_unreachable_redis_is_one_sentence(valkey, settings):
    settings.CHANNEL_LAYERS = pubsub_on(valkey)
    valkey.kill()
    with pytest.raises(CommandError, match=r"The push failed, .*Connect"):
        send("--all", "x")


def test_unreachable_redis_is_reported_once(valkey):
    valkey.kill()
    done = subprocess.run(
        [sys.executable, "-m", "django", "realtime_send", "--all", "x"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_CHANNEL_LAYERS": json.dumps(pubsub_on(valkey)),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        timeout=6 * EVENT_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The push failed, or its answer was lost: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "article"), [("email", "an email"), ("username", "a username")])
def test_username_field_has_the_right_article(monkeypatch, name, article):
    monkeypatch.setattr(get_user_model(), "USERNAME_FIELD", name)
    assert f"--user takes {article}." in refusal("--user-id", "7", "x")


def test_silent_redis_is_one_sentence(valkey, settings):
    settings.CHANNEL_LAYERS = pubsub_on(valkey)
    with (
        valkey.frozen(),
        pytest.raises(CommandError, match="The push failed, or its answer was lost: "),
    ):
        send("--all", "x")


async def test_command_reaches_connections_of_another_process(valkey, settings, user):
    settings.CHANNEL_LAYERS = pubsub_on(valkey)
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("project:42")
        for target in ["--room", "project:42"], ["--all"], ["--role", "user"]:
            done = await sync_to_async(subprocess.run)(
                [sys.executable, "-m", "django", "realtime_send", *target, "x", "[1]"],
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.settings",
                    "TEST_CHANNEL_LAYERS": json.dumps(pubsub_on(valkey)),
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                capture_output=True,
                timeout=6 * EVENT_TIMEOUT_SECONDS,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, b"")
            await connection.assert_push("x", [1])


def test_commands_of_the_readme_work():
    [line] = re.findall(r"`manage\.py (realtime_send .+?)`", readme.README.read_text())
    command, *arguments = shlex.split(line)
    with capture_pushes() as pushes:
        call_command(command, *arguments, stdout=io.StringIO())
    assert [envelope.payload for envelope in pushes.to_room("news")] == [{"title": "Hi"}]
    options = set(re.findall(r"`(--[a-z-]+)`", readme.README.read_text()))
    known = Sends().create_parser("manage.py", "realtime_send")._option_string_actions
    watched = Stats().create_parser("manage.py", "realtime_stats")._option_string_actions
    assert options <= {*known, *watched}
