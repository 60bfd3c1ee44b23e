"""`manage.py realtime_schema` and `manage.py realtime_types`: what they write, and ``--check``."""

import io
import json
import os
import subprocess
import sys
from decimal import Decimal

import msgspec
import pytest
import yaml
from django.core.management import CommandError, call_command

from pm_realtime.commands import command
from tests.support.node import ROOT

pytestmark = pytest.mark.usefixtures("declarations")

COMMANDS = {"realtime_schema": "asyncapi.json", "realtime_types": "realtime.d.ts"}


def run(*arguments):
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, skip_checks=False)
    return out.getvalue()


def declare(field="amount"):
    Bid = msgspec.defstruct("Bid", [(field, Decimal), ("note", str, "é")])

    @command("auction.bid", room="auction:<int:pk>", min_role="user")
    def bid(request, payload: Bid, pk: int) -> int: ...


@pytest.fixture(params=COMMANDS)
def name(request):
    return request.param


def test_text_goes_to_the_output_or_a_file(name, tmp_path):
    declare()
    text = run(name)
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    path = tmp_path / COMMANDS[name]
    assert run(name, "--output", path) == f"Wrote {path}.\n"
    assert path.read_text() == text
    assert run(name, path) == f"{path} is up to date.\n"


def test_check_passes_for_what_was_written(name, tmp_path):
    declare()
    path = tmp_path / COMMANDS[name]
    run(name, path)
    for arguments in (["--check", path], ["--output", path, "--check"], [path, "--check"]):
        assert run(name, *arguments) == f"{path} is up to date.\n"


def test_check_fails_after_a_field_was_renamed(name, tmp_path, declarations):
    declare()
    path = tmp_path / COMMANDS[name]
    run(name, path)
    before = path.read_text()
    declarations.clear()
    declare(field="sum")
    with pytest.raises(CommandError) as caught:
        run(name, "--check", path)
    sentence, *lines = str(caught.value).splitlines()
    assert sentence.startswith(f"{path} is not up to date. Write it with")
    assert len(lines) <= 41
    assert any(line.startswith("-") and "amount" in line for line in lines)
    assert any(line.startswith("+") and "sum" in line for line in lines)
    assert path.read_text() == before


def test_check_fails_without_the_file(name, tmp_path):
    with pytest.raises(CommandError, match="there is no such file"):
        run(name, "--check", tmp_path / "missing")


def test_check_fails_without_the_last_newline(name, tmp_path):
    path = tmp_path / COMMANDS[name]
    run(name, path)
    path.write_text(path.read_text().rstrip())
    with pytest.raises(CommandError, match="is not up to date"):
        run(name, "--check", path)


def test_check_names_no_file(name):
    with pytest.raises(CommandError, match=f"--check {COMMANDS[name]}"):
        run(name, "--check")


def test_two_files_are_refused(name):
    with pytest.raises(CommandError, match="Expected one file, got two"):
        run(name, "one", "--output", "two")


def test_file_in_no_folder_is_refused(name, tmp_path):
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        run(name, tmp_path / "none" / "file")


def test_newlines_of_windows_are_up_to_date(name, tmp_path):
    path = tmp_path / COMMANDS[name]
    run(name, path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "is up to date" in run(name, "--check", path)


def test_faulty_declaration_is_an_error(name):
    @command("auction.bid")
    def bid(request, payload: complex): ...

    with pytest.raises(CommandError, match="the type of the payload cannot be read"):
        run(name)


def test_yaml_is_chosen_by_the_name_or_an_option(tmp_path):
    declare()
    found = json.loads(run("realtime_schema"))
    path = tmp_path / "asyncapi.yaml"
    run("realtime_schema", path)
    assert path.read_text() == run("realtime_schema", "--format", "yaml")
    assert yaml.safe_load(path.read_text()) == found


def test_yaml_without_pyyaml_names_the_extra_and_json_is_written(tmp_path):
    path = tmp_path / "asyncapi.yaml"
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "import django; django.setup()\n"
        "from django.core.management import CommandError, call_command\n"
        "try: call_command('realtime_schema', sys.argv[1], skip_checks=False)\n"
        "except CommandError as error: print(error)\n"
        "call_command('realtime_schema')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    sentence, document = done.stdout.split("\n", 1)
    assert 'pip install "pm-realtime[yaml]"' in sentence, done.stderr
    assert json.loads(document)["asyncapi"] == "3.0.0"
    assert not path.exists()


def test_document_has_the_title_version_and_server_of_the_options():
    options = ["--title", "Shop", "--api-version", "2.1", "--server", "ws://example.com:8000"]
    found = json.loads(run("realtime_schema", *options))
    assert (found["info"]["title"], found["info"]["version"]) == ("Shop", "2.1")
    server = found["servers"]["site"]
    assert (server["host"], server["protocol"]) == ("example.com:8000", "ws")
    assert json.loads(run("realtime_schema"))["info"]["title"] == "tests"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("example.com", {"host": "example.com", "protocol": "wss"}),
        ("https://example.com/", {"host": "example.com", "protocol": "wss"}),
        ("http://[::1]:80/a/", {"host": "[::1]:80", "protocol": "ws", "pathname": "/a"}),
    ],
)
def test_server_is_a_host_or_the_address_of_the_site(url, expected):
    server = json.loads(run("realtime_schema", "--server", url))["servers"]["site"]
    assert {word: value for word, value in server.items() if word != "security"} == expected


def test_module_of_the_client_is_an_option():
    text = run("realtime_types", "--module", "/static/client.js")
    assert 'declare module "/static/client.js" {' in text


def test_command_fails_in_a_shell(tmp_path):
    """With the code, the sentence and the difference that CI shows."""
    path = tmp_path / "realtime.d.ts"
    path.write_text("old\n")
    manage = [sys.executable, "-m", "django", "realtime_types", "--check", str(path)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        manage, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is not up to date" in done.stderr
    assert "-old" in done.stderr
    assert done.stdout == ""
