"""`manage.py realtime_stats`, over a real Valkey and in memory."""

import asyncio
import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command

from pm_realtime import aget_stats
from pm_realtime.backends import StreamMessage, get_backend, get_streams
from pm_realtime.backends.base import ConnectionInfo
from pm_realtime.testing import RealtimeCommunicator
from tests.support.helpers import EVENT_TIMEOUT_SECONDS, NO_CONNECTIONS
from tests.support.valkey import pubsub_on

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def on_redis(valkey, settings):
    settings.CHANNEL_LAYERS = pubsub_on(valkey)


def stats(*arguments, **options):
    out = io.StringIO()
    call_command("realtime_stats", *arguments, stdout=out, **options)
    return out.getvalue()


astats = sync_to_async(stats, thread_sensitive=False)


async def fill(rooms):
    """Add connections to the shared state; ``rooms`` has the number of each room by its name."""
    backend = get_backend()
    for number in range(max(rooms.values())):
        user = "7" if number == 0 else None
        info = ConnectionInfo(connection_id=f"c{number}", user_id=user, role=None, connected_at=1.0)
        await backend.add(info, limit=None, policy="refuse")
        for room, count in rooms.items():
            if number < count:
                await backend.join(info.connection_id, room, capacity=None)


async def empty(count):
    for number in range(count):
        await get_backend().remove(f"c{number}")


def counts(text):
    """The numbers of connections and rooms in a line of JSON."""
    found = json.loads(text)
    assert list(found.pop("streams")) == ["total", "messages", "bytes", "isComplete"]
    return found


def test_no_connections_are_zeros(on_redis):
    connections, logged_in, rooms, streams = stats().splitlines()
    assert [line.split()[-1] for line in (connections, logged_in, rooms)] == ["0", "0", "0"]
    assert streams.split()[:2] == ["Streams", "0"]
    assert counts(stats("--json")) == NO_CONNECTIONS


async def test_streams_are_counted_with_their_messages(memory_layer, user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("here")
        before = json.loads(await astats("--json"))["streams"]
        for text in "one", "two":
            await get_streams().publish(StreamMessage("here", text, None, 500, 60))
        found = json.loads(await astats("--json"))["streams"]
        assert found["total"] >= 1
        assert found["messages"] == before["messages"] + 2
        assert found["bytes"] > before["bytes"]
        assert found["isComplete"] is True
        line = (await astats()).splitlines()[3]
        assert re.fullmatch(r"Streams +[\d,]+  \([\d,]+ messages, [\d,]+ bytes\)", line)


async def test_fullest_rooms_are_first_and_the_rest_is_counted(on_redis):
    rooms = {f"room:{number:04}": 1 for number in range(30)} | {"zzz": 3, "support": 2}
    await fill(rooms)
    lines = (await astats("--rooms=4")).splitlines()
    lines[3] = lines[3].partition(" ")[0]
    assert [" ".join(line.split()) for line in lines] == [
        "Connections 3",
        "Logged in 1",
        "Rooms 32",
        "Streams",
        "",
        "CONNECTIONS ROOM",
        "3 zzz",
        "2 support",
        "1 room:0000",
        "1 room:0001",
        "and 28 more: --rooms 32 shows all",
    ]
    assert "more" not in await astats("--rooms=32")
    assert len((await astats("--rooms=0")).splitlines()) == 5
    assert len((await astats()).splitlines()) == 6 + 20 + 1
    await empty(3)


async def test_json_is_one_line_with_the_result_of_get_stats(on_redis):
    await fill({"é 部屋 😀": 2, "a": 1})
    text = await astats("--json")
    assert text.count("\n") == 1
    assert counts(text) == await aget_stats()
    await empty(2)


async def test_room_name_can_neither_break_a_line_nor_control_the_terminal(on_redis):
    names = ["部屋", "\u202eabc", "a\u2028b", "e\u0301", "\ue000", " ", "x" * 200]
    await fill(dict.fromkeys(names, 1))
    text = await astats()
    for shown in ("部屋", "\\u202eabc", "a\\u2028b", "e\u0301", "\\ue000", "x" * 200):
        assert f"          1  {shown}\n" in text
    await empty(1)


async def test_ascii_output_gets_escapes(on_redis):
    await fill({"部屋": 1})
    for arguments, expected in ((), "\\u90e8\\u5c4b"), (("--json",), '"\\u90e8\\u5c4b": 1'):
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding="ascii", write_through=True) as out:
            await sync_to_async(call_command, thread_sensitive=False)(
                "realtime_stats", *arguments, stdout=out
            )
            assert expected in raw.getvalue().decode()
    await empty(1)


@pytest.mark.usefixtures("memory_layer")
def test_command_fails_in_memory_if_it_can_see_no_connection():
    with pytest.raises(CommandError, match="Set CHANNEL_LAYERS to channels_redis"):
        stats()
    with pytest.raises(CommandError, match="CHANNEL_LAYERS"):
        stats("--watch", "--json")


def test_memory_backend_of_the_settings_is_named(on_redis, configure):
    configure(BACKEND="pm_realtime.backends.memory.MemoryBackend")
    with pytest.raises(CommandError, match="leave out PM_REALTIME"):
        stats()


async def test_command_in_memory_counts_connections_of_its_process(user):
    async with RealtimeCommunicator(user=user) as connection:
        await connection.subscribe("here")
        assert json.loads(await astats("--json"))["roomStats"] == {"here": 1}


def test_unreachable_redis_is_one_sentence(on_redis, valkey):
    valkey.kill()
    with pytest.raises(CommandError, match=f"cannot be reached. Redis at 127.0.0.1:{valkey.port}"):
        stats()


def test_invalid_settings_are_one_sentence(settings):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "nowhere.Layer"}}
    settings.PM_REALTIME = {"BACKEND": "nowhere.Backend"}
    with pytest.raises(CommandError, match="No module named 'nowhere'"):
        stats()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("text", "CHANNEL_LAYERS must describe .* but got a str.$"),
        (["redis://"], "CHANNEL_LAYERS must describe .* but got a list.$"),
        ({"default": "text"}, '\\["default"\\] must describe .* but got a str.$'),
        ({"default": {"BACKEND": 5}}, "must describe a channel layer, such as"),
        (
            {"default": {"BACKEND": "django.http.HttpResponse"}},
            "but 'django.http.HttpResponse' makes no channel layer",
        ),
        (
            {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"x": 1}}},
            "this one cannot be made: .*unexpected keyword argument 'x'",
        ),
        (
            {"default": {"BACKEND": "nowhere.Layer"}},
            "BACKEND that cannot be imported, 'nowhere.Layer': No module named 'nowhere'.$",
        ),
    ],
)
def test_invalid_layer_is_one_sentence(settings, layers, expected):
    settings.CHANNEL_LAYERS = layers
    for command in ["realtime_stats"], ["realtime_send", "--all", "x"]:
        with pytest.raises(CommandError, match=expected):
            call_command(*command, stdout=io.StringIO())


class NoChannelsRedis:
    """A module finder without channels-redis."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "channels_redis":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_missing_channels_redis_names_the_package_to_install(settings, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "channels_redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoChannelsRedis, *sys.meta_path])
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}
    }
    with pytest.raises(CommandError, match=r'pip install "pm-realtime\[redis\]"$'):
        stats()


@pytest.mark.parametrize(
    "arguments", [["--rooms=-1"], ["--rooms=x"], ["--watch=0"], ["--watch=nan"], ["--watch=x"]]
)
def test_invalid_numbers_are_errors(arguments):
    with pytest.raises(CommandError, match="expected a number of"):
        stats(*arguments)


@contextlib.contextmanager
def watching(valkey, *arguments, **options):
    """`realtime_stats --watch` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "realtime_stats", "--watch=0.05", *arguments],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_CHANNEL_LAYERS": json.dumps(pubsub_on(valkey)),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process):
    """Send Ctrl-C; the exit code and the rest of stderr."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=EVENT_TIMEOUT_SECONDS)
    return process.returncode, errors.decode()


def test_watch_prints_a_line_of_json_until_ctrl_c(valkey):
    with watching(valkey, "--json") as process:
        for _ in range(3):
            assert counts(process.stdout.readline()) == NO_CONNECTIONS
        assert end(process) == (0, "")


def test_watch_prints_one_table_after_another_without_a_terminal(valkey):
    with watching(valkey) as process:
        lines = [process.stdout.readline().decode() for _ in range(12)]
        assert end(process) == (0, "")
    words = ["Connections", "Logged", "Rooms", "Streams"]
    assert [line.split()[0] for line in lines[2:6]] == words
    assert [line.split()[0] for line in lines[8:12]] == words
    assert lines[0] == lines[6] == "\n"
    assert time.strptime(lines[1].strip(), "%Y-%m-%d %H:%M:%S")
    assert "\x1b" not in "".join(lines)


@pytest.mark.slow
def test_watch_goes_on_while_redis_is_unreachable(valkey):
    with watching(valkey, "--json") as process:
        process.stdout.readline()
        valkey.kill()
        while b"Connect call failed" not in (line := process.stderr.readline()):
            assert line.startswith(b"The shared state cannot be reached. Redis at 127.0.0.1:")
        valkey.start()
        # Lines from before the kill may still be in the pipe; they are the same.
        for _ in range(100):
            assert counts(process.stdout.readline()) == NO_CONNECTIONS
        assert end(process) == (0, "")


def test_watch_redraws_a_terminal(valkey):
    leader, terminal = pty.openpty()
    try:
        with watching(valkey, stdout=terminal) as process:
            shown = b""
            while shown.count(b"\x1b[H") < 3:
                shown += os.read(leader, 4096)
            assert end(process) == (0, "")
            while not shown.endswith(b"\x1b[J\r\n"):
                shown += os.read(leader, 4096)
    finally:
        os.close(leader)
        os.close(terminal)
    screen = shown.split(b"\x1b[H")[1]
    assert b"Ctrl-C ends it" in screen
    assert b"Connections" in screen
    assert screen.endswith(b"\x1b[J")


def test_closed_pipe_is_not_an_error(valkey):
    with watching(valkey, "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(EVENT_TIMEOUT_SECONDS) == 0
        assert process.stderr.read() == b""
        process.stdout = None


async def test_five_thousand_rooms_fit_on_a_page(on_redis):
    backend = get_backend()
    for first in range(0, 5000, 100):
        info = ConnectionInfo(
            connection_id=f"c{first // 100}", user_id=None, role=None, connected_at=1.0
        )
        await backend.add(info, limit=None, policy="refuse")
        await asyncio.gather(
            *(
                backend.join(info.connection_id, f"room:{number}", capacity=None)
                for number in range(first, first + 100)
            )
        )
    lines = (await astats()).splitlines()
    assert lines[2].split() == ["Rooms", "5,000"]
    assert len(lines) == 27
    assert lines[-1] == "and 4,980 more: --rooms 5000 shows all"
    await empty(50)
