"""The programs of docs/deployment.md accept its commands and configuration files."""

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest
import uvicorn
from daphne.cli import CommandLineInterface
from django.core.checks import run_checks

from pm_realtime.conf import Conf
from pm_realtime.protocol import CloseCode
from tests.support.valkey import Valkey

PAGE = Path(__file__).resolve().parent.parent / "docs" / "deployment.md"
TEXT = PAGE.read_text()
BLOCKS = dict(re.findall(r"<!-- ([^\n]+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL))
SETTINGS = [name for name in BLOCKS if name.startswith("settings: ")]
UNIT = "systemd: realtime@.service"


def command(text):
    return shlex.split(text.replace("\\\n", " "))


def unit():
    """Return the directives of the unit from all sections."""
    lines = BLOCKS[UNIT].replace("\\\n", " ").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def channel_layers(name):
    (assignment,) = ast.parse(BLOCKS[name]).body
    assert assignment.targets[0].id == "hosts"
    return layer_on(ast.literal_eval(assignment.value))


def layer_on(hosts):
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": hosts}}}


def test_uvicorn_accepts_the_command_which_is_also_that_of_the_unit():
    program, *shown = command(BLOCKS["server: uvicorn"])
    path, *in_unit = command(unit()["ExecStart"].replace("%i", "18001"))
    assert program == Path(path).name == "uvicorn"
    assert shown == in_unit
    taken = uvicorn.main.make_context("uvicorn", shown).params
    assert taken["app"] == "mysite.asgi:application"
    assert taken["ws"] == "websockets-sansio"
    assert taken["ws_per_message_deflate"] is False
    assert taken["ws_max_size"] > Conf.settings()["MAX_MESSAGE_BYTES"].default
    assert taken["timeout_graceful_shutdown"] < int(unit()["TimeoutStopSec"])


def test_every_option_of_uvicorn_in_the_tables_exists():
    known = {option for param in uvicorn.main.params for option in param.opts}
    found = {word for line in TEXT.splitlines() if "|" in line for word in options(line)}
    assert {"--ws", "--backlog"} < found <= known


def options(line):
    return re.findall(r"(?<=[` ])--[a-z-]+", line)


def test_daphne_accepts_the_options_of_its_command():
    program, *shown = command(BLOCKS["server: daphne"])
    assert program == "daphne"
    parser = CommandLineInterface().parser
    assert isinstance(parser, argparse.ArgumentParser)
    assert parser.parse_args(shown).application == "mysite.asgi:application"


def test_nginx_passes_the_path_and_the_headers_to_the_ports_of_the_services():
    site = BLOCKS["nginx: site"]
    assert site.count("{") == site.count("}")
    path = Conf.settings()["PATH"].default
    location = site.split(f"location = /{path} {{", 1)[1].split("}", 1)[0]
    directives = dict(
        re.findall(r"^ +(\w+ ?(?:[A-Z][\w-]+)?) +([^;\n]+);$", location, re.MULTILINE)
    )
    assert directives["proxy_pass"] == "http://realtime"
    assert directives["proxy_set_header Host"] == "$http_host"
    assert directives["proxy_set_header Upgrade"] == "$http_upgrade"
    assert directives["proxy_set_header Connection"] == "$connection_upgrade"
    assert directives["proxy_set_header X-Forwarded-Proto"] == "$scheme"
    timeout = int(directives["proxy_read_timeout"].removesuffix("s"))
    assert timeout > Conf.settings()["HEARTBEAT_INTERVAL"].default
    upstream = site.split("upstream realtime {", 1)[1].split("}", 1)[0]
    assert set(re.findall(r"server 127\.0\.0\.1:(\d+);", upstream)) == {"18001", "18002"}


def test_every_setting_and_close_code_exists():
    django = {
        "ALLOWED_HOSTS",
        "CONN_HEALTH_CHECKS",
        "CONN_MAX_AGE",
        "DATABASE_ROUTERS",
        "SECRET_KEY",
        "SECURE_PROXY_SSL_HEADER",
        "USE_X_FORWARDED_HOST",
    }
    known = {*Conf.settings(), *django, "CHANNEL_LAYERS"}
    found = {word for word in re.findall(r"`([A-Z]+_[A-Z_]+)`", TEXT) if word != "SO_REUSEPORT"}
    assert found <= known
    assert {int(code) for code in re.findall(r"\b4[0-9]{3}\b", TEXT)} <= {
        *map(int, CloseCode),
        *(4096, 4999),
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_layers_pass_the_checks(settings, name):
    settings.CHANNEL_LAYERS = channel_layers(name)
    assert [each for each in run_checks() if str(each.id).startswith("pm_realtime.")] == []


def test_valkey_accepts_the_settings():
    lines = BLOCKS["redis: redis.conf"].splitlines()
    options = [word for line in lines for word in _as_option(line)]
    valkey = Valkey(*options)
    try:
        client = valkey.client()
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert "pubsub 67108864" in client.config_get("client-output-buffer-limit").popitem()[1]
    finally:
        valkey.kill()


def _as_option(line):
    name, *values = shlex.split(line)
    return [f"--{name}", *(values if len(values) < 2 else [" ".join(values)])]
