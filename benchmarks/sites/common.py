"""The common settings of all benchmark sites: Django's own users and sessions."""

import os
from typing import Any

SECRET_KEY = "only for benchmarks"
DEBUG = False
ROOT_URLCONF = "benchmarks.sites.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
]
MIDDLEWARE: list[str] = []
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCH_DATABASE", ":memory:"),
        "OPTIONS": {"timeout": 20},
    }
}
LAYERS = {
    "memory": "channels.layers.InMemoryChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}


def channel_layers() -> dict[str, dict[str, Any]]:
    """``CHANNEL_LAYERS`` for the layer in ``BENCH_LAYER``, on the Valkey in ``BENCH_REDIS``."""
    layer = os.environ.get("BENCH_LAYER", "memory")
    config: dict[str, Any] = {"BACKEND": LAYERS[layer]}
    if layer == "memory":
        return {"default": config}
    # redis-py 8 gives up after 5 seconds without an answer, and the core layer waits that long.
    host = {"address": os.environ["BENCH_REDIS"], "socket_timeout": None}
    hosts: list[Any] = [host if layer == "core" else os.environ["BENCH_REDIS"]]
    return {"default": {**config, "CONFIG": {"hosts": hosts}}}


CHANNEL_LAYERS = channel_layers()
