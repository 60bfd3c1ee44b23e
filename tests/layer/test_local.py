"""The layer in use, and the one of a site without ``CHANNEL_LAYERS``."""

import asyncio

import pytest
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.layer import LocalChannelLayer, get_layer, is_in_process, layer_config

MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
REDIS = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}


@pytest.fixture
def layer():
    return LocalChannelLayer()


async def receive(layer, channel, count):
    async with asyncio.timeout(10):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


async def is_empty(layer, channel):
    """Whether nothing waits: a marker that is sent now is the next message."""
    await layer.send(channel, {"n": "marker"})
    return await receive(layer, channel, 1) == ["marker"]


# The layer itself


async def test_channel_gets_ten_thousand_messages_in_order(layer):
    for number in range(10_000):
        await layer.send("channel", {"n": number})
    assert await receive(layer, "channel", 10_000) == list(range(10_000))


async def test_group_gets_ten_thousand_messages_in_order(layer):
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    for number in range(10_000):
        await layer.group_send("g", {"n": number})
    for channel in ("a", "b"):
        assert await receive(layer, channel, 10_000) == list(range(10_000))


async def test_message_reaches_only_the_members_of_its_group(layer):
    await layer.group_add("g", "a")
    await layer.group_add("other", "b")
    await layer.group_send("g", {"n": 1})
    assert await receive(layer, "a", 1) == [1]
    assert await is_empty(layer, "b")


async def test_channel_added_twice_receives_once(layer):
    await layer.group_add("g", "a")
    await layer.group_add("g", "a")
    await layer.group_send("g", {"n": 1})
    assert await receive(layer, "a", 1) == [1]
    assert await is_empty(layer, "a")


async def test_channel_that_left_receives_nothing(layer):
    await layer.group_add("g", "a")
    await layer.group_discard("g", "a")
    await layer.group_send("g", {"n": 1})
    assert await is_empty(layer, "a")
    assert "g" not in layer.groups


async def test_group_without_members_drops_its_messages(layer):
    await layer.group_send("nobody", {"n": 1})
    assert layer.channels == {}


async def test_waiting_receiver_gets_all_of_a_burst(layer):
    waiting = asyncio.create_task(receive(layer, "a", 10_000))
    await asyncio.sleep(0)
    for number in range(10_000):
        await layer.send("a", {"n": number})
    assert await waiting == list(range(10_000))


async def test_cancelled_receiver_loses_nothing(layer):
    waiting = asyncio.create_task(layer.receive("a"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await layer.send("a", {"n": 1})
    assert await receive(layer, "a", 1) == [1]


async def test_messages_and_members_do_not_expire(layer):
    layer.expiry = layer.group_expiry = 0.01
    await layer.group_add("g", "a")
    await layer.group_send("g", {"n": 1})
    await asyncio.sleep(0.05)
    assert await receive(layer, "a", 1) == [1]
    await layer.group_send("g", {"n": 2})
    assert await receive(layer, "a", 1) == [2]


@pytest.mark.parametrize("name", ["project:1", "two words", "é", "", "x" * 100])
async def test_name_that_other_layers_refuse_is_refused(layer, name):
    with pytest.raises(TypeError):
        await layer.group_send(name, {})
    with pytest.raises(TypeError):
        await layer.group_add(name, "a")
    with pytest.raises(TypeError):
        await layer.send(name, {})


# The layer in use


def test_empty_channel_layers_mean_one_local_layer(settings):
    settings.CHANNEL_LAYERS = {}
    assert isinstance(get_layer(), LocalChannelLayer)
    assert get_layer() is get_layer()


def test_missing_channel_layers_mean_a_local_layer(settings):
    settings.CHANNEL_LAYERS = {}
    del settings.CHANNEL_LAYERS
    assert isinstance(get_layer(), LocalChannelLayer)


def test_layer_is_the_one_that_channel_layer_names(settings):
    settings.CHANNEL_LAYERS = {"default": REDIS, "realtime": MEMORY}
    settings.PM_REALTIME = {"CHANNEL_LAYER": "realtime"}
    assert type(get_layer()) is InMemoryChannelLayer
    assert layer_config() == MEMORY


def test_change_of_the_settings_takes_effect_at_once(settings):
    settings.CHANNEL_LAYERS = {}
    assert isinstance(get_layer(), LocalChannelLayer)
    settings.CHANNEL_LAYERS = {"default": MEMORY}
    assert type(get_layer()) is InMemoryChannelLayer


def test_unknown_alias_is_an_error_that_names_the_known_ones(settings):
    settings.CHANNEL_LAYERS = {"default": MEMORY, "other": MEMORY}
    settings.PM_REALTIME = {"CHANNEL_LAYER": "realtime"}
    with pytest.raises(ImproperlyConfigured, match=r"'realtime'.*default, other"):
        get_layer()
    assert layer_config() is None


@pytest.mark.parametrize(
    ("channel_layers", "answer"),
    [({}, True), ({"default": MEMORY}, True), ({"default": REDIS}, False)],
)
def test_only_layers_in_memory_are_in_process(settings, channel_layers, answer):
    settings.CHANNEL_LAYERS = channel_layers
    assert is_in_process(get_layer()) is answer
