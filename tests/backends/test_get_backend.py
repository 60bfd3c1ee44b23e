"""Which backend is in use, and when it changes."""

import asyncio

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from pm_realtime.backends import backend_path, get_backend
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.backends.redis import RedisBackend

MEMORY = "pm_realtime.backends.memory.MemoryBackend"
REDIS = "pm_realtime.backends.redis.RedisBackend"


class OtherBackend(MemoryBackend):
    """Another class, to be named in settings."""


@pytest.fixture
def other_backend(settings):
    settings.PM_REALTIME = {"BACKEND": f"{__name__}.OtherBackend"}


def test_backend_is_made_once():
    assert get_backend() is get_backend()


def test_suite_runs_over_the_backend_of_its_layer(chosen_layer):
    assert backend_path() == (MEMORY if chosen_layer == "memory" else REDIS)


@pytest.mark.usefixtures("memory_layer")
def test_default_is_memory():
    assert backend_path() == MEMORY
    assert type(get_backend()) is MemoryBackend


@pytest.mark.usefixtures("memory_layer")
def test_setting_takes_effect_at_once():
    assert type(get_backend()) is MemoryBackend
    with override_settings(PM_REALTIME={"BACKEND": f"{__name__}.OtherBackend"}):
        assert type(get_backend()) is OtherBackend
    assert type(get_backend()) is MemoryBackend


def layer(path, **config):
    return {"default": {"BACKEND": path, "CONFIG": config}}


PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


class OwnLayer(RedisPubSubChannelLayer):
    """A site's own, made from one of channels-redis."""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PUBSUB, RedisBackend),
        ("channels_redis.core.RedisChannelLayer", RedisBackend),
        (f"{__name__}.OwnLayer", RedisBackend),
        ("channels.layers.InMemoryChannelLayer", MemoryBackend),
        ("no.such.Layer", MemoryBackend),
        ("channels_redis.no.such.Layer", RedisBackend),
        ("json.decoder", MemoryBackend),
        (None, MemoryBackend),
    ],
)
def test_layer_decides_without_the_setting(settings, path, expected):
    settings.CHANNEL_LAYERS = layer(path)
    assert type(get_backend()) is expected


def test_setting_takes_precedence_over_the_layer(settings):
    settings.CHANNEL_LAYERS = layer(PUBSUB)
    settings.PM_REALTIME = {"BACKEND": MEMORY}
    assert type(get_backend()) is MemoryBackend


def test_change_of_the_layer_changes_the_backend_at_once(settings):
    settings.CHANNEL_LAYERS = {}
    assert type(get_backend()) is MemoryBackend
    settings.CHANNEL_LAYERS = layer(PUBSUB, hosts=["redis://localhost:1"])
    first = get_backend()
    assert type(first) is RedisBackend
    settings.CHANNEL_LAYERS = layer(PUBSUB, hosts=["redis://localhost:1"])
    assert get_backend() is first
    settings.CHANNEL_LAYERS = layer(PUBSUB, hosts=["redis://localhost:2"])
    assert get_backend() is not first


@pytest.mark.usefixtures("memory_layer")
def test_change_of_other_settings_keeps_the_backend():
    before = get_backend()
    with override_settings(PM_REALTIME={"RATE_LIMIT": "1/s", "BACKEND": MEMORY}):
        assert get_backend() is before
    assert get_backend() is before


@pytest.mark.parametrize("path", ["no.such.Backend", "pm_realtime.backends.memory.Missing", "x"])
def test_wrong_path_raises_import_error(path):
    with override_settings(PM_REALTIME={"BACKEND": path}), pytest.raises(ImportError):
        get_backend()


@pytest.mark.usefixtures("other_backend")
async def test_concurrent_threads_get_one_backend():
    found = await asyncio.gather(*(asyncio.to_thread(get_backend) for _ in range(20)))
    assert len({id(backend) for backend in found}) == 1
