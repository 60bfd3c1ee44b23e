"""The layer of a site without ``CHANNEL_LAYERS``, and how threads reach the loop that serves."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import ImproperlyConfigured

from pm_realtime import transport
from pm_realtime.layer_config import layer_config
from pm_realtime.layers import LocalChannelLayer, get_layer, is_in_process

MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
REDIS = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}


@pytest.fixture
def layer():
    return LocalChannelLayer()


@pytest.fixture
async def serving(settings):
    """This test's loop holds sockets; a channel of a fresh layer, in the group ``g``."""
    settings.CHANNEL_LAYERS = {}
    loop = asyncio.get_running_loop()
    transport.start_serving(loop)
    channel = await get_layer().new_channel()
    await get_layer().group_add("g", channel)
    yield channel
    transport.stop_serving(loop)


async def receive(layer, channel, count):
    async with asyncio.timeout(10):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


async def is_empty(layer, channel):
    """Whether nothing waits: a marker sent now is the next thing that comes."""
    await layer.send(channel, {"n": "marker"})
    return await receive(layer, channel, 1) == ["marker"]


# --- the layer itself


async def test_of_ten_thousand_messages_none_is_lost_and_all_are_in_order(layer):
    for number in range(10_000):
        await layer.send("channel", {"n": number})
    assert await receive(layer, "channel", 10_000) == list(range(10_000))


async def test_of_ten_thousand_to_a_group_none_is_lost_and_all_are_in_order(layer):
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    for number in range(10_000):
        await layer.group_send("g", {"n": number})
    for channel in ("a", "b"):
        assert await receive(layer, channel, 10_000) == list(range(10_000))


async def test_a_message_reaches_the_members_of_its_group_only(layer):
    await layer.group_add("g", "a")
    await layer.group_add("other", "b")
    await layer.group_send("g", {"n": 1})
    assert await receive(layer, "a", 1) == [1]
    assert await is_empty(layer, "b")


async def test_a_channel_added_twice_receives_once(layer):
    await layer.group_add("g", "a")
    await layer.group_add("g", "a")
    await layer.group_send("g", {"n": 1})
    assert await receive(layer, "a", 1) == [1]
    assert await is_empty(layer, "a")


async def test_a_channel_that_left_receives_nothing(layer):
    await layer.group_add("g", "a")
    await layer.group_discard("g", "a")
    await layer.group_send("g", {"n": 1})
    assert await is_empty(layer, "a")
    assert "g" not in layer.groups


async def test_a_group_without_members_swallows_its_messages(layer):
    await layer.group_send("nobody", {"n": 1})
    assert layer.channels == {}


async def test_a_receiver_that_waits_is_woken_and_loses_nothing_of_a_burst(layer):
    waiting = asyncio.create_task(receive(layer, "a", 10_000))
    await asyncio.sleep(0)
    for number in range(10_000):
        await layer.send("a", {"n": number})
    assert await waiting == list(range(10_000))


async def test_a_receiver_that_is_cancelled_loses_nothing(layer):
    waiting = asyncio.create_task(layer.receive("a"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await layer.send("a", {"n": 1})
    assert await receive(layer, "a", 1) == [1]


async def test_neither_messages_nor_members_expire(layer, monkeypatch):
    await layer.group_add("g", "a")
    await layer.group_send("g", {"n": 1})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10 * 86400)
    assert await receive(layer, "a", 1) == [1]
    await layer.group_send("g", {"n": 2})
    assert await receive(layer, "a", 1) == [2]


@pytest.mark.parametrize("name", ["project:1", "two words", "é", "", "x" * 100])
async def test_names_that_other_layers_refuse_are_refused_here_too(layer, name):
    with pytest.raises(TypeError):
        await layer.group_send(name, {})
    with pytest.raises(TypeError):
        await layer.group_add(name, "a")
    with pytest.raises(TypeError):
        await layer.send(name, {})


# --- which layer


def test_without_channel_layers_it_is_one_of_our_own_and_stays_the_same(settings):
    settings.CHANNEL_LAYERS = {}
    assert isinstance(get_layer(), LocalChannelLayer)
    assert get_layer() is get_layer()


def test_without_the_setting_it_is_one_of_our_own(settings):
    settings.CHANNEL_LAYERS = {}
    del settings.CHANNEL_LAYERS
    assert isinstance(get_layer(), LocalChannelLayer)


def test_with_channel_layers_it_is_the_one_named(settings):
    settings.CHANNEL_LAYERS = {"default": REDIS, "realtime": MEMORY}
    settings.PM_REALTIME = {"CHANNEL_LAYER": "realtime"}
    assert type(get_layer()) is InMemoryChannelLayer
    assert layer_config() == MEMORY


def test_a_change_of_the_settings_takes_effect_at_once(settings):
    settings.CHANNEL_LAYERS = {}
    assert isinstance(get_layer(), LocalChannelLayer)
    settings.CHANNEL_LAYERS = {"default": MEMORY}
    assert type(get_layer()) is InMemoryChannelLayer


def test_an_alias_that_is_not_there_raises_naming_it_and_those_that_are(settings):
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


# --- from threads to the loop


async def test_what_a_thread_sends_arrives_in_order(serving):
    def send_all():
        for number in range(2000):
            transport.send("g", {"n": number})

    await asyncio.to_thread(send_all)
    assert await receive(get_layer(), serving, 2000) == list(range(2000))


async def test_what_many_threads_send_arrives_whole_and_each_in_its_order(serving):
    def send_all(sender):
        for number in range(200):
            transport.send("g", {"n": (sender, number)})

    await asyncio.gather(*(asyncio.to_thread(send_all, sender) for sender in range(5)))
    received = await receive(get_layer(), serving, 1000)
    for sender in range(5):
        assert [n for who, n in received if who == sender] == list(range(200))


async def test_an_idle_loop_is_woken_by_a_thread(serving):
    asyncio.get_running_loop().set_debug(True)  # refuses what would not wake it
    waiting = asyncio.create_task(get_layer().receive(serving))
    await asyncio.sleep(0)
    threading.Thread(target=transport.send, args=("g", {"n": 1})).start()
    async with asyncio.timeout(2):
        assert await waiting == {"n": 1}


async def test_the_serving_loop_itself_sends_without_a_detour(serving):
    await transport.asend("g", {"n": 1})
    assert not get_layer().channels[serving].empty()


async def test_another_loop_hands_its_messages_over(serving):
    def in_a_loop_of_its_own():
        asyncio.run(transport.asend("g", {"n": 1}))

    await asyncio.to_thread(in_a_loop_of_its_own)
    assert await receive(get_layer(), serving, 1) == [1]


async def test_a_message_the_layer_refuses_is_logged_and_the_next_one_arrives(serving, caplog):
    await asyncio.to_thread(transport.send, "not a group", {"n": 0})
    await asyncio.to_thread(transport.send, "g", {"n": 1})
    assert await receive(get_layer(), serving, 1) == [1]
    assert "could not be handed to the channel layer" in caplog.text


async def test_a_loop_that_was_closed_is_passed_over(serving):
    closed, ours = asyncio.new_event_loop(), asyncio.get_running_loop()
    transport.stop_serving(ours)
    for loop in (closed, ours):
        transport.start_serving(loop)
    closed.close()
    await asyncio.to_thread(transport.send, "g", {"n": 1})
    assert await receive(get_layer(), serving, 1) == [1]


# --- where nobody can be reached

TWO_PUSHES = """
from pm_realtime import broadcast, get_stats, send_to_room
send_to_room("support", "hello")
broadcast("hello")
get_stats()
"""


def shell(code, **environment):
    """What ``django-admin shell`` says on stderr."""
    command = [sys.executable, "-m", "django", "shell", "-c", code]
    variables = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path),
        "PYTHONWARNINGS": "always::RuntimeWarning",
        **environment,
    }
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_shell_that_reaches_nobody_is_told_once_and_how_to_mend_it():
    said = shell(TWO_PUSHES)
    assert said.count("RuntimeWarning: pm_realtime: this process serves no WebSockets") == 1
    assert "CHANNEL_LAYERS to channels_redis.pubsub.RedisPubSubChannelLayer" in said


def test_a_process_that_expects_sockets_is_not_warned():
    assert "RuntimeWarning" not in shell("import tests.site.asgi\n" + TWO_PUSHES)


def test_the_warning_names_the_line_of_the_site():
    assert "<string>:3: RuntimeWarning" in shell(TWO_PUSHES)


def test_code_without_a_module_is_warned_too():
    push = "import pm_realtime; exec('push()', {'push': lambda: pm_realtime.broadcast('hello')})"
    assert "RuntimeWarning: pm_realtime" in shell(push)
