"""``CHANNEL_LAYERS`` is read without an error, even if it is malformed."""

import pytest

from pm_realtime.layer import is_on_redis, layer_name, layer_options, layer_path


@pytest.fixture
def use(settings):
    settings.PM_REALTIME = {}

    def use(**keys):
        settings.CHANNEL_LAYERS = {"default": keys}

    return use


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("channels_redis.pubsub.RedisPubSubChannelLayer", True),
        ("channels_redis.pubsub.RedisPubSubChannelLayr", True),
        ("channels_redis.not_there.Layer", True),
        ("channel_redis.core.RedisChannelLayer", False),
        ("channels.layers.InMemoryChannelLayer", False),
        ("json.loads", False),
        ("", False),
        (None, False),
        (5, False),
    ],
)
def test_layer_of_channels_redis_is_known_by_its_path(use, path, expected):
    use(BACKEND=path)
    assert is_on_redis() is expected


@pytest.mark.parametrize("layers", [None, [], "text", {}, {"default": "text"}, {"default": {}}])
def test_malformed_entry_has_neither_path_nor_options(settings, layers):
    settings.PM_REALTIME = {}
    settings.CHANNEL_LAYERS = layers
    assert layer_path() == ""
    assert layer_options() == {}
    assert not is_on_redis()


def test_error_about_options_names_the_entry(use):
    use(CONFIG=["x"])
    with pytest.raises(ValueError, match="must be a dict, got one of type list") as caught:
        layer_options()
    assert str(caught.value).startswith(layer_name())
