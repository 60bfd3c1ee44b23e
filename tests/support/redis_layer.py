"""The layers of channels-redis over which the whole suite can run, on a Valkey of its own."""

import contextlib
import functools
import os
import uuid

import redis
from channels_redis.core import ChannelLock, RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from pm_realtime.layer import get_layer, layer_config
from tests.support.valkey import Valkey

#: The values of ``--layer`` besides ``memory``: the class and its options besides its hosts.
LAYERS = {
    "pubsub": (RedisPubSubChannelLayer, {}),
    "core": (RedisChannelLayer, {"capacity": 100_000}),
}


def channel_layers(kind, url):
    """Return ``CHANNEL_LAYERS`` with a layer of LAYERS at ``url``, under a prefix of its own."""
    layer, options = LAYERS[kind]
    host = {"address": url, "socket_timeout": None}
    config = {"hosts": [host], "prefix": f"test-{uuid.uuid4().hex}", **options}
    return {"default": {"BACKEND": f"{layer.__module__}.{layer.__name__}", "CONFIG": config}}


@contextlib.contextmanager
def running_valkey():
    """Yield the URL of a server: ``REDIS_URL``, or that of one for this process alone."""
    url = os.environ.get("REDIS_URL")
    if url and "PYTEST_XDIST_WORKER" not in os.environ:
        yield url
        return
    server = Valkey()
    try:
        yield server.url
    finally:
        server.kill()


@functools.cache
def client_of(url):
    return redis.Redis.from_url(url, decode_responses=True)


def delete_keys():
    """Delete the keys that a test left in Redis, such as the lease of a killed server."""
    layer = get_layer()
    if isinstance(layer, RedisChannelLayer):
        # A cancelled receiver leaves a lock behind, which fails in the next event loop.
        layer.receive_clean_locks = ChannelLock()
    config = layer_config()["CONFIG"]
    client = client_of(config["hosts"][0]["address"])
    for pattern in ("pm_realtime:*", f"{config['prefix']}*"):
        for key in client.scan_iter(pattern, count=1000):
            client.delete(key)


def groups_of(layer):
    """Return the groups of ``layer`` in Redis with their channels, without liveness probes."""
    config = layer_config()["CONFIG"]
    client = client_of(config["hosts"][0]["address"])
    if isinstance(layer, RedisChannelLayer):
        prefix = f"{layer.prefix}:group:"
        found = {key: client.zrange(key, 0, -1) for key in client.scan_iter(f"{prefix}*")}
    else:
        prefix = f"{layer.prefix}__group__"
        found = {name: layer.groups.get(name, ()) for name in client.pubsub_channels(f"{prefix}*")}
    groups = {name.removeprefix(prefix): channels for name, channels in found.items()}
    return {name: groups[name] for name in groups if not name.startswith("pm_realtime.probe.")}


def channels_of(layer):
    """Return the channels for which ``layer`` keeps messages in the running loop."""
    if isinstance(layer, RedisPubSubChannelLayer):
        return layer.channels
    return {name: queue for name, queue in layer.receive_buffer.items() if not queue.empty()}


def is_layers_own(task):
    """Return whether ``task`` is the reader that a pub/sub layer runs as long as its loop."""
    return task.get_coro().__qualname__ == "RedisSingleShardConnection._do_receiving"
