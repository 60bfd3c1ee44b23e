"""Checks of ``CHANNEL_LAYERS`` and of the ASGI server."""

import sys

import pytest
import redis
from django.conf import settings as django_settings

from pm_realtime.backends import backend_path
from tests.checks.messages import (
    CORE,
    MEMORY,
    PUBSUB,
    URL,
    entry,
    layer,
    only,
)


def test_e011_channel_layer_is_not_configured(check):
    message = only(check({"CHANNEL_LAYER": "realtime"}), "E011")
    assert message.msg == "PM_REALTIME[\"CHANNEL_LAYER\"]: 'realtime' is not in CHANNEL_LAYERS."
    assert message.hint == "CHANNEL_LAYERS has: default."


@pytest.mark.parametrize(
    "layers", [{}, {"default": {"BACKEND": MEMORY, "CONFIG": {"capacity": 9999}}}]
)
def test_w002_in_memory_layer_without_debug(check, layers):
    message = only(check({}, DEBUG=False, CHANNEL_LAYERS=layers), "W002")
    assert "in-memory channel layer" in message.msg
    assert PUBSUB in message.hint


def test_in_memory_layer_of_a_test_run_gets_no_message(check, monkeypatch):
    started_as(monkeypatch, "test")
    assert check({}, DEBUG=False, CHANNEL_LAYERS={}) == []


def test_redis_layer_without_debug_gets_no_message(check):
    assert check({}, DEBUG=False) == []


@pytest.mark.parametrize("backend", [MEMORY, CORE])
@pytest.mark.parametrize(("config", "capacity"), [({}, 100), ({"capacity": 999}, 999)])
def test_w003_capacity_is_too_low(check, backend, config, capacity):
    hosts = {"hosts": [{"address": "redis://r", "socket_timeout": None}]} if backend == CORE else {}
    message = only(check({}, CHANNEL_LAYERS=layer(backend, **config, **hosts)), "W003")
    assert f"what exceeds {capacity} waiting messages" in message.msg
    assert "1000" in message.hint


def test_w003_default_capacity_is_too_low(check):
    only(check({}, CHANNEL_LAYERS={"default": {"BACKEND": MEMORY}}), "W003")


@pytest.mark.parametrize("backend", [MEMORY, PUBSUB])
def test_layer_of_enough_capacity_gets_no_message(check, backend):
    assert check({}, CHANNEL_LAYERS=layer(backend, capacity=1000)) == []


def assert_socket_times_out(messages):
    message = only(messages, "W004")
    assert "RedisChannelLayer waits 5 s" in message.msg
    assert "?socket_timeout=30" in message.hint
    assert '"socket_timeout": None' in message.hint
    assert PUBSUB in message.hint


@pytest.mark.parametrize(
    "config",
    [
        {"hosts": [f"{URL}?socket_timeout=5"]},
        {"hosts": [f"{URL}?socket_timeout=0.5"]},
        {"hosts": [{"address": URL, "socket_timeout": 3}]},
        {"hosts": [f"{URL}?socket_timeout=30", f"{URL}?socket_timeout=5"]},
    ],
    ids=str,
)
def test_w004_socket_times_out_before_the_layer(check, config):
    assert_socket_times_out(check({}, CHANNEL_LAYERS=layer(CORE, capacity=1000, **config)))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hosts": []},
        {"hosts": [URL]},
        {"hosts": [("localhost", 6379)]},
        {"hosts": [f"{URL}?db=1"]},
        {"hosts": [{"address": URL}]},
        {"hosts": [{"host": "localhost", "port": 6379}]},
        {"hosts": [{"sentinels": [("localhost", 26379)], "master_name": "m"}]},
        {"hosts": [f"{URL}?socket_timeout=30", URL]},
    ],
    ids=str,
)
def test_w004_socket_times_out_by_default_from_redis_py_8_on(check, config):
    messages = check({}, CHANNEL_LAYERS=layer(CORE, capacity=1000, **config))
    if int(redis.__version__.partition(".")[0]) < 8:
        assert messages == []
    else:
        assert_socket_times_out(messages)


@pytest.mark.parametrize(
    "hosts",
    [
        [f"{URL}?socket_timeout=30"],
        [f"{URL}?db=1&socket_timeout=30.5"],
        [{"address": URL, "socket_timeout": None}],
        [{"address": URL, "socket_timeout": 30}],
        [{"address": f"{URL}?socket_timeout=30"}],
        [{"host": "localhost", "port": 6379, "socket_timeout": None}],
        [f"{URL}?socket_timeout=30", {"address": URL, "socket_timeout": None}],
    ],
    ids=str,
)
def test_long_socket_timeout_gets_no_message(check, hosts):
    assert check({}, CHANNEL_LAYERS=layer(CORE, capacity=1000, hosts=hosts)) == []


def test_pubsub_layer_may_have_any_socket_timeout(check):
    assert check({}, CHANNEL_LAYERS=layer(PUBSUB, hosts=[f"{URL}?socket_timeout=1"])) == []


def test_layer_is_not_checked_if_its_alias_is_invalid(check):
    only(check({"CHANNEL_LAYER": 5}, DEBUG=False, CHANNEL_LAYERS={}), "E003")


def test_e011_alias_without_any_channel_layer(check):
    message = only(check({"CHANNEL_LAYER": "zzz"}, CHANNEL_LAYERS={}), "E011")
    assert "'zzz'" in message.msg
    assert "nothing" in message.hint


@pytest.mark.parametrize("layers", [[1], {"default": {"BACKEND": MEMORY, "CONFIG": None}}])
def test_invalid_channel_layers_do_not_raise(check, layers):
    check({}, CHANNEL_LAYERS=layers)


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("channels_redis.pubsub.RedisPubSubChannelLayr", PUBSUB),
        ("channels_redis.cor.RedisChannelLayer", CORE),
        ("channel_redis.core.RedisChannelLayer", CORE),
        ("channels.layer.InMemoryChannelLayer", MEMORY),
    ],
)
@pytest.mark.parametrize("more", [{}, {"LOCATION": URL}], ids=["", "LOCATION"])
def test_e017_layer_cannot_be_imported(check, path, nearest, more):
    message = only(check(more, CHANNEL_LAYERS=entry(BACKEND=path, CONFIG={})), "E017")
    start = f'CHANNEL_LAYERS["default"]["BACKEND"] cannot be imported: \'{path}\' ('
    assert message.msg.startswith(start)
    assert message.hint == f"Did you mean '{nearest}'?"


@pytest.mark.parametrize("package", ["channels_redis", "redis"])
@pytest.mark.parametrize("path", [PUBSUB, CORE])
def test_e017_hint_names_the_package_to_install(check, monkeypatch, package, path):
    for name in [name for name in sys.modules if name.split(".")[0] in ("channels_redis", package)]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "redis":
        monkeypatch.setattr("pm_realtime.backends.redis.backend.is_installed", False)
    message = only(check({"LOCATION": URL}, CHANNEL_LAYERS=entry(BACKEND=path)), "E017")
    assert message.hint == 'pip install "pm-realtime[redis]"'
    assert backend_path().endswith("RedisBackend")


@pytest.mark.parametrize("keys", [{"CONFIG": {}}, {"BACKEND": None}, {"BACKEND": ""}, {}])
def test_e017_layer_without_a_backend(check, keys):
    message = only(check({}, CHANNEL_LAYERS=entry(**keys)), "E017")
    assert message.msg == 'CHANNEL_LAYERS["default"]["BACKEND"] is missing.'
    assert PUBSUB in message.hint


@pytest.mark.parametrize("path", [5, ["x"], b"x", "json.decoder", "tests.checks.messages.URL"])
def test_e017_backend_is_not_a_layer(check, path):
    only(check({}, CHANNEL_LAYERS=entry(BACKEND=path)), "E017")


@pytest.mark.parametrize("found", ["text", None, 5, []])
def test_e011_layer_is_not_a_dict(check, found):
    message = only(check({}, CHANNEL_LAYERS={"default": found}), "E011")
    assert message.msg == (
        'CHANNEL_LAYERS["default"] must be a dict with the key BACKEND, '
        f"got one of type {type(found).__name__}."
    )
    assert PUBSUB in message.hint


@pytest.mark.parametrize("found", ["text", None, 5, [1]])
def test_e011_channel_layers_are_not_a_dict(check, found):
    message = only(check({}, CHANNEL_LAYERS=found), "E011")
    assert message.msg == f"CHANNEL_LAYERS must be a dict, got {type(found).__name__}."


@pytest.mark.parametrize("path", [PUBSUB, CORE, MEMORY])
@pytest.mark.parametrize("config", [["x"], None, 5, "text"])
def test_e011_config_is_not_a_dict(check, path, config):
    found = check({}, CHANNEL_LAYERS=entry(BACKEND=path, CONFIG=config))
    (message,) = [message for id, message in found if id.startswith("E")]
    assert message.id == "pm_realtime.E011"
    assert message.msg.startswith('CHANNEL_LAYERS["default"]["CONFIG"] must be a dict')


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("hosts", "\"CONFIG\": {'hosts': ...}"),
        ("config", "Did you mean 'CONFIG'?"),
        ("CONFG", "Did you mean 'CONFIG'?"),
        ("ROUTING", "Known are: BACKEND, CONFIG, TEST_CONFIG."),
        (5, "Known are: BACKEND"),
    ],
)
def test_w008_unknown_key_of_a_layer(check, key, hint):
    message = only(check({}, CHANNEL_LAYERS={"default": {"BACKEND": PUBSUB, key: [URL]}}), "W008")
    assert message.msg == f'CHANNEL_LAYERS["default"][{key!r}] has no meaning to Channels.'
    assert hint in message.hint


def test_test_config_gets_no_message(check):
    assert check({}, CHANNEL_LAYERS=entry(BACKEND=PUBSUB, CONFIG={}, TEST_CONFIG={})) == []


# The ASGI server


def test_w001_no_asgi_server_is_installed(check, monkeypatch):
    for module in ("daphne", "uvicorn", "hypercorn", "granian"):
        monkeypatch.setitem(sys.modules, module, None)
    message = only(check({}), "W001")
    assert "daphne, uvicorn, hypercorn, granian" in message.msg
    assert "pip install daphne" in message.hint


@pytest.fixture
def daphne_listed(monkeypatch):
    """``INSTALLED_APPS`` names daphne; the app itself, which changes its process, is not loaded."""
    apps = ["daphne", *django_settings.INSTALLED_APPS]
    monkeypatch.setattr(django_settings, "INSTALLED_APPS", apps)


@pytest.mark.usefixtures("daphne_listed")
@pytest.mark.parametrize("application", [None, ""])
def test_w005_daphne_without_an_application(check, application):
    message = only(check({}, ASGI_APPLICATION=application), "W005")
    assert "ASGI_APPLICATION is not set" in message.msg


@pytest.mark.usefixtures("daphne_listed")
def test_daphne_with_an_application_gets_no_message(check):
    assert check({}) == []


def started_as(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["manage.py", *arguments])


@pytest.mark.parametrize("arguments", [["runserver"], ["runserver", "8001"], ["runserver_plus"]])
def test_w027_runserver_that_speaks_wsgi(check, monkeypatch, arguments):
    started_as(monkeypatch, *arguments)
    message = only(check({}), "W027")
    assert "This runserver speaks WSGI" in message.msg
    assert 'Put "daphne" on top of INSTALLED_APPS' in message.hint
    assert 'ASGI_APPLICATION = "tests.site.asgi.application"' in message.hint


@pytest.mark.parametrize(
    "arguments", [[], ["check"], ["migrate"], ["mysite.asgi:application"], ["test", "runserver"]]
)
@pytest.mark.parametrize("debug", [True, False])
def test_other_processes_need_no_runserver(check, monkeypatch, arguments, debug):
    started_as(monkeypatch, *arguments)
    assert check({}, DEBUG=debug) == []


def test_w027_sockets_elsewhere_need_no_runserver(check, monkeypatch):
    started_as(monkeypatch, "runserver")
    assert check({"CLIENT": {"url": "wss://sockets.example/api/ws"}}) == []
    only(check({"CLIENT": {"debug": True}}), "W027")


@pytest.mark.parametrize("arguments", [["runserver"], ["runserver", "--noasgi"]])
def test_w027_runserver_of_daphne(check, monkeypatch, arguments):
    started_as(monkeypatch, *arguments)
    monkeypatch.setattr("pm_realtime.layer.server.get_commands", lambda: {"runserver": "daphne"})
    found = [id for id, _ in check({})]
    assert found == (["W027"] if "--noasgi" in arguments else [])


def test_w027_reads_no_invalid_setting(check, monkeypatch):
    started_as(monkeypatch, "runserver")
    found = [id for id, _ in check({"CLIENT": 5, "PATH": 7})]
    assert "W027" in found
