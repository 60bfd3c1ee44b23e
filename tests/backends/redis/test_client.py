"""The address of Redis, in all its forms, and the package redis, which is optional."""

import subprocess
import sys

import pytest
from django.test import override_settings

from pm_realtime.backends import get_backend
from pm_realtime.backends.redis import NodeTimings, RedisBackend
from pm_realtime.backends.redis.client import Client
from pm_realtime.checks import check_settings
from pm_realtime.exceptions import BackendError
from pm_realtime.layer import PUBSUB_LAYER
from tests.backends.redis.support import PATH, environment
from tests.contracts.backend import add_all, ids_of
from tests.support.valkey import Valkey

SENTINEL = {"sentinels": [("127.0.0.1", 26379)], "master_name": "main"}


def layer(*hosts):
    return {"default": {"BACKEND": PUBSUB_LAYER, "CONFIG": {"hosts": list(hosts)}}}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("redis://one:1234/2", "one:1234"),
        ("rediss://:secret@one/2?socket_timeout=30", "one:6379"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock"),
        (("one", 1234), "one:1234"),
        (["one", 1234], "one:1234"),
        ({"address": "redis://one:1", "password": "secret", "socket_timeout": None}, "one:1"),
        ({"host": "one", "port": 5, "db": 3}, "one:5"),
        (SENTINEL, "main"),
        ({**SENTINEL, "sentinel_kwargs": {"password": "secret"}}, "main"),
    ],
)
async def test_address_of_the_layers_first_host(settings, host, address):
    settings.CHANNEL_LAYERS = layer(host, "redis://second:1")
    settings.PM_REALTIME = {}
    assert RedisBackend().check() == []
    assert Client(1.5).address == address


async def test_unix_socket_and_dict_reach_the_server(settings, tmp_path):
    path = tmp_path / "valkey.sock"
    server = Valkey("--unixsocket", str(path), "--requirepass", "secret")
    port = server.port
    try:
        settings.PM_REALTIME = {}
        for host in (
            f"unix://:secret@{path}",
            f"redis://:secret@127.0.0.1:{port}/1",
            {"host": "127.0.0.1", "port": port, "password": "secret"},
            {"address": f"redis://127.0.0.1:{port}", "password": "secret"},
        ):
            settings.CHANNEL_LAYERS = layer(host)
            backend = RedisBackend()
            await add_all(backend, "a")
            assert await ids_of(backend) == ["a"]
            await backend.remove("a")
        settings.CHANNEL_LAYERS = layer(("127.0.0.1", port))
        with pytest.raises(BackendError, match=r"(?i)auth"):
            await RedisBackend().get_stats()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("setting", "channel_layers", "word"),
    [
        ({"LOCATION": "localhost:6379"}, {}, "redis://"),
        ({"LOCATION": "redis://host:port"}, {}, "port"),
        ({}, {}, "is not set"),
        ({}, layer({"bogus": 1}), "bogus"),
        ({}, layer("http://host"), "redis://"),
        ({}, {"default": {**layer()["default"], "CONFIG": {"hosts": "redis://host"}}}, "list"),
        ({}, layer(("host",)), "1 of the two"),
        ({}, layer({"master_name": "main"}), "sentinels"),
        ({}, layer(6379), "6379"),
    ],
)
async def test_malformed_address_is_a_check_error(settings, setting, channel_layers, word):
    settings.PM_REALTIME = {"BACKEND": PATH, **setting}
    settings.CHANNEL_LAYERS = channel_layers
    (message,) = get_backend().check()
    assert message.id == "pm_realtime.E016"
    assert word in message.msg
    with pytest.raises(BackendError):
        await get_backend().get_stats()


async def test_config_that_is_no_dict_raises_backend_error(settings):
    settings.PM_REALTIME = {}
    settings.CHANNEL_LAYERS = {"default": {**layer()["default"], "CONFIG": ["x"]}}
    assert get_backend().check() == []  # The check of the layer says it.
    with pytest.raises(BackendError, match="must be a dict"):
        await get_backend().get_stats()


def test_location_of_a_wrong_type_is_reported_once(settings):
    settings.PM_REALTIME = {"BACKEND": PATH, "LOCATION": 6379}
    assert [message.id for message in check_settings()] == ["pm_realtime.E003"]


async def test_prefixes_of_the_layers_separate_sites(shared_url, settings):
    settings.PM_REALTIME = {}
    backends = []
    for prefix in ("one", "two"):
        config = {"hosts": [shared_url], "prefix": prefix}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": PUBSUB_LAYER, "CONFIG": config}}
        backends.append(get_backend())
        await add_all(backends[-1], f"of-{prefix}", user_id="1", limit=1)
    for backend, prefix in zip(backends, ("one", "two"), strict=True):
        (found,) = await backend.get_user_connections("1")
        assert found.connection_id == f"of-{prefix}"
        await backend.remove(f"of-{prefix}")


def test_layer_without_hosts_is_on_localhost(settings):
    settings.PM_REALTIME = {}
    settings.CHANNEL_LAYERS = layer()
    assert RedisBackend().check() == []


def test_missing_package_redis_is_a_check_error():
    code = (
        "import sys; sys.modules['redis'] = None; sys.modules['redis.asyncio'] = None\n"
        "import asyncio, django; django.setup()\n"
        "from pm_realtime.backends import get_backend\n"
        "from pm_realtime.exceptions import BackendError\n"
        "(message,) = get_backend().check()\n"
        "print(message.id, message.hint)\n"
        "try: asyncio.run(get_backend().get_stats())\n"
        "except BackendError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.splitlines() == [
        'pm_realtime.E015 pip install "pm-realtime[redis]"',
        "The Redis backend needs the package redis.",
    ], done.stderr


def test_change_of_location_makes_a_new_backend(url):
    before = get_backend()
    with override_settings(PM_REALTIME={"BACKEND": PATH, "LOCATION": "redis://other"}):
        assert get_backend() is not before


async def test_busy_loop_is_no_outage(server, busy_loop, caplog):
    timings = NodeTimings(timeout=0.3)
    backend = RedisBackend(timings)
    await add_all(backend, "a")
    async with busy_loop(0.05):
        other = RedisBackend(timings)
        await add_all(other, "b")
        assert (await other.get_stats())["totalConnections"] == 2
    await backend.remove("a")
    await other.remove("b")
    assert caplog.messages == []
