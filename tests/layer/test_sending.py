"""Messages reach the layer from threads, from other loops and from other processes."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from pm_realtime.layer import get_layer, sending


@pytest.fixture
async def serving(settings):
    """The loop of the test has sockets; the name of a channel in the group ``g``."""
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


# From threads and other loops


async def test_messages_of_a_thread_arrive_in_order(serving):
    def send_all():
        for number in range(2000):
            sending.send("g", {"n": number})

    await asyncio.to_thread(send_all)
    assert await receive(get_layer(), serving, 2000) == list(range(2000))


async def test_messages_of_many_threads_arrive_in_the_order_of_each(serving):
    def send_all(sender):
        for number in range(200):
            sending.send("g", {"n": (sender, number)})

    await asyncio.gather(*(asyncio.to_thread(send_all, sender) for sender in range(5)))
    received = await receive(get_layer(), serving, 1000)
    for sender in range(5):
        assert [n for source, n in received if source == sender] == list(range(200))


async def test_thread_wakes_an_idle_loop(serving):
    asyncio.get_running_loop().set_debug(True)  # It refuses calls that would not wake it.
    waiting = asyncio.create_task(get_layer().receive(serving))
    await asyncio.sleep(0)
    threading.Thread(target=sending.send, args=("g", {"n": 1})).start()
    async with asyncio.timeout(2):
        assert await waiting == {"n": 1}


async def test_serving_loop_sends_directly(serving):
    await sending.asend("g", {"n": 1})
    assert not get_layer().channels[serving].empty()


async def test_other_loop_hands_its_messages_over(serving):
    def in_a_loop_of_its_own():
        asyncio.run(sending.asend("g", {"n": 1}))

    await asyncio.to_thread(in_a_loop_of_its_own)
    assert await receive(get_layer(), serving, 1) == [1]


async def test_message_that_the_layer_refuses_is_logged_and_the_next_arrives(serving, caplog):
    await asyncio.to_thread(sending.send, "not a group", {"n": 0})
    await asyncio.to_thread(sending.send, "g", {"n": 1})
    assert await receive(get_layer(), serving, 1) == [1]
    assert "could not be handed to the channel layer" in caplog.text


async def test_closed_loop_is_passed_over(serving):
    closed, ours = asyncio.new_event_loop(), asyncio.get_running_loop()
    sending.stop_serving(ours)
    for loop in (closed, ours):
        sending.start_serving(loop)
    closed.close()
    await asyncio.to_thread(sending.send, "g", {"n": 1})
    assert await receive(get_layer(), serving, 1) == [1]


# In a process that reaches no socket

TWO_PUSHES = """
from pm_realtime import broadcast, get_stats, send_to_room
send_to_room("support", "hello")
broadcast("hello")
get_stats()
"""


def shell(code, **environment):
    """The output of ``django-admin shell`` on stderr."""
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
@pytest.mark.parametrize(
    ("command", "advice"),
    [("shell", "Set CHANNEL_LAYERS to"), ("runserver", 'Put "daphne" on top of INSTALLED_APPS')],
)
def test_warning_tells_a_wsgi_runserver_from_other_processes(command, advice):
    output = shell(f"import sys; sys.argv = ['manage.py', {command!r}]\n{TWO_PUSHES}")
    assert output.count("RuntimeWarning") == 1
    assert advice in output


@pytest.mark.usefixtures("memory_layer")
def test_shell_that_reaches_no_socket_is_warned_once():
    output = shell(TWO_PUSHES)
    assert output.count("RuntimeWarning: pm_realtime: this process serves no WebSockets") == 1
    assert "CHANNEL_LAYERS to channels_redis.pubsub.RedisPubSubChannelLayer" in output


@pytest.mark.usefixtures("memory_layer")
def test_process_that_expects_sockets_is_not_warned():
    assert "RuntimeWarning" not in shell("import tests.site.asgi\n" + TWO_PUSHES)


@pytest.mark.usefixtures("memory_layer")
def test_warning_names_the_line_of_the_site():
    assert "<string>:3: RuntimeWarning" in shell(TWO_PUSHES)


@pytest.mark.usefixtures("memory_layer")
def test_code_without_a_module_is_warned():
    push = "import pm_realtime; exec('push()', {'push': lambda: pm_realtime.broadcast('hello')})"
    assert "RuntimeWarning: pm_realtime" in shell(push)
