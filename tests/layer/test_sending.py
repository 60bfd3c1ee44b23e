"""How a message gets into the layer: from threads, other loops and processes of their own."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from pm_realtime.layer import get_layer, sending


@pytest.fixture
async def serving(settings):
    """This test's loop holds sockets; a channel of a fresh layer, in the group ``g``."""
    settings.CHANNEL_LAYERS = {}
    loop = asyncio.get_running_loop()
    sending.start_serving(loop)
    channel = await get_layer().new_channel()
    await get_layer().group_add("g", channel)
    yield channel
    sending.stop_serving(loop)


async def receive(layer, channel, count):
    async with asyncio.timeout(10):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


# --- from threads to the loop


async def test_what_a_thread_sends_arrives_in_order(serving):
    def send_all():
        for number in range(2000):
            sending.send("g", {"n": number})

    await asyncio.to_thread(send_all)
    assert await receive(get_layer(), serving, 2000) == list(range(2000))


async def test_what_many_threads_send_arrives_whole_and_each_in_its_order(serving):
    def send_all(sender):
        for number in range(200):
            sending.send("g", {"n": (sender, number)})

    await asyncio.gather(*(asyncio.to_thread(send_all, sender) for sender in range(5)))
    received = await receive(get_layer(), serving, 1000)
    for sender in range(5):
        assert [n for who, n in received if who == sender] == list(range(200))


async def test_an_idle_loop_is_woken_by_a_thread(serving):
    asyncio.get_running_loop().set_debug(True)  # refuses what would not wake it
    waiting = asyncio.create_task(get_layer().receive(serving))
    await asyncio.sleep(0)
    threading.Thread(target=sending.send, args=("g", {"n": 1})).start()
    async with asyncio.timeout(2):
        assert await waiting == {"n": 1}


async def test_the_serving_loop_itself_sends_without_a_detour(serving):
    await sending.asend("g", {"n": 1})
    assert not get_layer().channels[serving].empty()


async def test_another_loop_hands_its_messages_over(serving):
    def in_a_loop_of_its_own():
        asyncio.run(sending.asend("g", {"n": 1}))

    await asyncio.to_thread(in_a_loop_of_its_own)
    assert await receive(get_layer(), serving, 1) == [1]


async def test_a_message_the_layer_refuses_is_logged_and_the_next_one_arrives(serving, caplog):
    await asyncio.to_thread(sending.send, "not a group", {"n": 0})
    await asyncio.to_thread(sending.send, "g", {"n": 1})
    assert await receive(get_layer(), serving, 1) == [1]
    assert "could not be handed to the channel layer" in caplog.text


async def test_a_loop_that_was_closed_is_passed_over(serving):
    closed, ours = asyncio.new_event_loop(), asyncio.get_running_loop()
    sending.stop_serving(ours)
    for loop in (closed, ours):
        sending.start_serving(loop)
    closed.close()
    await asyncio.to_thread(sending.send, "g", {"n": 1})
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


@pytest.mark.usefixtures("memory_layer")
def test_a_shell_that_reaches_nobody_is_told_once_and_how_to_mend_it():
    said = shell(TWO_PUSHES)
    assert said.count("RuntimeWarning: pm_realtime: this process serves no WebSockets") == 1
    assert "CHANNEL_LAYERS to channels_redis.pubsub.RedisPubSubChannelLayer" in said


@pytest.mark.usefixtures("memory_layer")
def test_a_process_that_expects_sockets_is_not_warned():
    assert "RuntimeWarning" not in shell("import tests.site.asgi\n" + TWO_PUSHES)


@pytest.mark.usefixtures("memory_layer")
def test_the_warning_names_the_line_of_the_site():
    assert "<string>:3: RuntimeWarning" in shell(TWO_PUSHES)


@pytest.mark.usefixtures("memory_layer")
def test_code_without_a_module_is_warned_too():
    push = "import pm_realtime; exec('push()', {'push': lambda: pm_realtime.broadcast('hello')})"
    assert "RuntimeWarning: pm_realtime" in shell(push)
