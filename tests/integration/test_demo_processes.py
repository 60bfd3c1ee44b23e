"""`manage.py demo --processes 3`: several processes on one port, and a Valkey."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import websockets
from playwright.async_api import expect

from example_project.support.processes import HEALTHCHECK_TIMEOUT_SECONDS
from tests.integration.demo import MANAGE, Demo, environment
from tests.integration.visits import Visits, all_texts, join, notice, send_message, texts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120, func_only=True),
]

#: The longest time until a process has started, was replaced or has ended.
PROCESS_TIMEOUT_SECONDS = 20
POLL_SECONDS = 0.02
#: The longest time until a page was reloaded often enough to come to another process.
RELOAD_TIMEOUT_SECONDS = 60


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with Demo(tmp_path_factory.mktemp("demo"), "--processes=3") as demo:
        yield demo
        assert demo.log == ""


def is_running(pid):
    """Return whether the process ``pid`` exists and is not a zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def descendants(pid):
    """Return the command lines of the child processes of ``pid`` and of theirs, by their ids."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        found |= descendants(child)
    return found


def processes_of(demo, part):
    """Return the ids of the processes of ``demo`` with ``part`` in their command line."""
    return {pid for pid, command in descendants(demo.process.pid).items() if part in command}


def wait_until_ended(pids):
    deadline = time.monotonic() + PROCESS_TIMEOUT_SECONDS
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def sockets(demo, count=1, processes=1):
    """Yield at least ``count`` open sockets at at least ``processes`` processes.

    Each comes with the id of its process.
    """
    url = demo.url.replace("http", "ws") + "/api/ws"
    async with contextlib.AsyncExitStack() as stack:
        found = []
        async with asyncio.timeout(PROCESS_TIMEOUT_SECONDS):
            while len(found) < count or len({process for _, process in found}) < processes:
                socket = await stack.enter_async_context(websockets.connect(url))
                while (frame := json.loads(await socket.recv()))["type"] != "process":
                    assert frame["type"] == "connected"
                found.append((socket, frame["payload"]["id"]))
        yield found


async def test_sockets_spread_over_all_processes(demo):
    async with sockets(demo, processes=3) as first, sockets(demo, 60) as found:
        counts = Counter(process for _, process in found)
        assert {process for _, process in first} == processes_of(demo, "spawn_main")
    assert len(counts) == 3
    assert max(counts.values()) < 45


async def test_demo_prints_its_number_of_processes_and_the_address_of_valkey(demo):
    found = re.search(
        r"3 processes on one port .* at (redis://127.0.0.1:\d+/0)$", demo.printed, re.M
    )
    assert found, demo.printed
    [valkey] = descendants(demo.process.pid).keys() & processes_of(demo, "valkey-server")
    assert found[1].split(":")[-1].removesuffix("/0") in descendants(demo.process.pid)[valkey]
    async with sockets(demo, 3):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(MANAGE), "realtime_stats", "--json"],
            env={**environment(demo.database), "REDIS_URL": found[1]},
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout)["totalConnections"] >= 3


@pytest.mark.browser
async def test_chat_works_between_browsers_on_different_processes(browser, demo):
    async with Visits(browser, demo, {}) as visits:
        editor = await join(await visits.open("/support/", "editor"))
        admin = await join(await visits.open("/support/", "admin"))
        for page in editor, admin:
            await expect(page.get_by_test_id("process")).to_have_text(re.compile(r"process \d+$"))
        async with asyncio.timeout(RELOAD_TIMEOUT_SECONDS):
            while await process_of(admin) == await process_of(editor):
                await admin.reload()
                await join(admin)
        for page in editor, admin:
            await expect(page.get_by_test_id("present-count")).to_have_text("2 people here")
        await admin.get_by_test_id("message-input").press_sequentially("to")
        await expect(editor.get_by_test_id("typing")).to_have_text("Ada Lindqvist is typing")
        await send_message(editor, "From one process")
        await expect(texts(admin)).to_have_text("From one process")
        await send_message(admin, "to another")
        for page in editor, admin:
            await expect(texts(page)).to_have_text(["From one process", "to another"])
        master = await join(await visits.open("/support/", "master"))
        await expect(all_texts(master)).to_have_text(["From one process", "to another"])


@pytest.mark.browser
async def test_chat_misses_nothing_while_its_process_is_killed(browser, demo):
    async with Visits(browser, demo, {}) as visits:
        visits.expect_console_error("WebSocket connection to .* failed")
        editor = await join(await visits.open("/support/", "editor"))
        admin = await join(await visits.open("/support/", "admin"))
        async with asyncio.timeout(RELOAD_TIMEOUT_SECONDS):
            while await process_of(admin) == await process_of(editor):
                await admin.reload()
                await join(admin)
        await send_message(admin, "Before")
        await expect(texts(editor)).to_have_text("Before")
        os.kill(int((await process_of(editor)).split()[-1]), signal.SIGKILL)
        await send_message(admin, "Meanwhile")
        await expect(texts(admin).last).to_have_text("Meanwhile")
        await expect(texts(editor)).to_have_text(["Before", "Meanwhile"])
        await send_message(editor, "After")
        for page in editor, admin:
            await expect(texts(page)).to_have_text(["Before", "Meanwhile", "After"])
            await expect(notice(page, "gap")).to_have_count(0)


async def process_of(page):
    await expect(page.get_by_test_id("process")).to_have_text(re.compile(r"process \d+$"))
    return await page.get_by_test_id("process").text_content()


async def test_killed_process_is_replaced(demo):
    async with sockets(demo, processes=3) as found:
        before = {process for _, process in found}
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(wait_until_ended, [victim])
    # uvicorn may just wait for an answer of the killed process.
    async with asyncio.timeout(HEALTHCHECK_TIMEOUT_SECONDS + PROCESS_TIMEOUT_SECONDS):
        while len(after := processes_of(demo, "spawn_main")) < 3 or victim in after:
            await asyncio.sleep(POLL_SECONDS)
    assert before - {victim} < after
    async with sockets(demo, processes=3) as found:
        assert {process for _, process in found} == after


async def test_killed_valkey_is_replaced_and_reported(tmp_path):
    demo = Demo(tmp_path, "--processes=2")
    await asyncio.to_thread(demo.start)
    try:
        for number in 1, 2:
            [victim] = processes_of(demo, "valkey-server")
            os.kill(victim, signal.SIGKILL)
            async with asyncio.timeout(PROCESS_TIMEOUT_SECONDS):
                while demo.printed.count("killed by signal 9; another was started") < number:
                    await asyncio.sleep(POLL_SECONDS)
            assert not Path(f"/proc/{victim}").exists()
        async with sockets(demo, processes=2):
            pass
    finally:
        code = await asyncio.to_thread(demo.stop)
    assert code == 0


async def test_printed_command_runs_in_a_shell(demo):
    [line] = re.findall(r"^  (REDIS_URL=.*) --watch$", demo.printed, re.M)
    _, python, *command = shlex.split(line)
    assert Path(python).absolute() == Path(sys.executable)
    assert command == [str(MANAGE), "realtime_stats"]
    done = await asyncio.to_thread(
        subprocess.run,
        f"{line} --json",
        shell=True,
        env=environment(demo.database),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "totalConnections" in json.loads(done.stdout)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_all_processes_end_with_the_demo(tmp_path, sign):
    demo = Demo(tmp_path, "--processes=3")
    await asyncio.to_thread(demo.start)
    async with sockets(demo, processes=3) as found:
        started = descendants(demo.process.pid)
        assert len([command for command in started.values() if "valkey-server" in command]) == 1
        code = await asyncio.to_thread(demo.stop, sign)
        for socket, _ in found:
            async with asyncio.timeout(PROCESS_TIMEOUT_SECONDS):
                await socket.wait_closed()
    await asyncio.to_thread(wait_until_ended, started)
    if sign == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 0
        assert {socket.close_code for socket, _ in found} == {4012}
        lines = demo.log.splitlines()
        assert all(" INFO pm_realtime.connection: " in line for line in lines), demo.log


async def test_server_of_redis_url_is_used_and_left_running(tmp_path, valkey):
    environment = {"REDIS_URL": valkey.url}
    for options, printed in (["--processes=2"], "2 processes on one port"), ([], "One process"):
        demo = Demo(tmp_path, *options, environment=environment)
        await asyncio.to_thread(demo.start)
        try:
            assert re.search(f"{printed} .* at {valkey.url}$", demo.printed, re.MULTILINE)
            assert processes_of(demo, "valkey-server") == set()
        finally:
            await asyncio.to_thread(demo.stop)
        assert demo.log == ""
    assert valkey.process.poll() is None
