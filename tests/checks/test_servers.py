"""Checks that ask Redis, which run with ``--deploy`` only."""

import pytest
from channels.layers import channel_layers

from pm_realtime.checks import check_servers
from tests.checks.messages import CORE, PUBSUB, layer
from tests.support.valkey import Valkey


@pytest.fixture
def use(settings, memory_layer):
    """Use the layer of this path on these hosts: ``use(path, url)``."""

    def use(path, *hosts, **keys):
        channel_layers.backends.clear()
        settings.CHANNEL_LAYERS = layer(path, hosts=list(hosts))
        settings.PM_REALTIME = keys

    yield use
    channel_layers.backends.clear()


def limit(server, policy, size="100mb"):
    with server.client() as client:
        client.config_set("maxmemory", size)
        client.config_set("maxmemory-policy", policy)


@pytest.mark.parametrize("path", [PUBSUB, CORE])
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_server_that_may_evict_streams_is_named(use, valkey, path, policy):
    other = Valkey()
    try:
        use(path, valkey.url, other.url)
        limit(other, policy)
        (message,) = check_servers()
        assert message.id == "pm_realtime.W032"
        assert f"127.0.0.1:{other.port}" in message.msg
        assert policy in message.msg
        assert "noeviction" in message.hint
    finally:
        other.kill()


@pytest.mark.parametrize(("policy", "size"), [("noeviction", "100mb"), ("allkeys-lru", "0")])
def test_server_that_evicts_nothing_is_not(use, valkey, policy, size):
    use(PUBSUB, valkey.url)
    limit(valkey, policy, size)
    assert check_servers() == []


@pytest.mark.parametrize(
    "host",
    [
        "redis://127.0.0.1:1/0",
        "redis://nobody:wrong@127.0.0.1:{port}/0",
        "nonsense",
        {"bogus": 1},
        ("localhost", "port"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [PUBSUB, CORE, "no.such.layer"])
def test_server_that_does_not_answer_is_no_problem_of_this_check(use, valkey, host, path):
    use(path, host.format(port=valkey.port) if isinstance(host, str) else host)
    assert check_servers() == []


def test_site_without_redis_has_none(use, settings):
    settings.CHANNEL_LAYERS = {}
    settings.PM_REALTIME = {}
    assert check_servers() == []


def test_plain_check_asks_no_server(use, valkey, check):
    limit(valkey, "allkeys-lru")
    assert check({}, CHANNEL_LAYERS=layer(PUBSUB, hosts=[valkey.url])) == []
