"""`manage.py demo --processes 3`: one port, several processes, a Valkey, nothing left behind."""

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

from tests.integration.demo import MANAGE, Demo, environment
from tests.integration.visits import Visits, join, say, texts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120, func_only=True),
]

#: Seconds until a process that was told to end has ended.
PATIENCE = 20


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with Demo(tmp_path_factory.mktemp("demo"), "--processes=3") as demo:
        yield demo
        assert demo.log == ""


def is_running(pid):
    """Whether ``pid`` lives; one that ended and was not yet asked how is no process any more."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def family(pid):
    """The processes that ``pid`` started, and those that they did, by their command lines."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        found |= family(child)
    return found


def those(demo, part):
    return {pid for pid, command in family(demo.process.pid).items() if part in command}


def wait_until_gone(pids):
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@contextlib.asynccontextmanager
async def sockets(demo, count=1, processes=1):
    """Open sockets with the process that serves each: ``count``, and until all processes have one.

    They stay open meanwhile, as those of people do.
    """
    url = demo.url.replace("http", "ws") + "/api/ws"
    async with contextlib.AsyncExitStack() as stack:
        found = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < count or len({process for _, process in found}) < processes:
                socket = await stack.enter_async_context(websockets.connect(url))
                while (frame := json.loads(await socket.recv()))["type"] != "process":
                    assert frame["type"] == "connected"
                found.append((socket, frame["payload"]["id"]))
        yield found


async def test_sockets_spread_over_all_processes(demo):
    async with sockets(demo, processes=3) as first, sockets(demo, 60) as found:
        counts = Counter(process for _, process in found)
        assert {process for _, process in first} == those(demo, "spawn_main")
    assert len(counts) == 3
    assert max(counts.values()) < 45


async def test_it_says_on_how_many_processes_it_runs_and_where_they_meet(demo):
    found = re.search(
        r"3 processes on one port .* at (redis://127.0.0.1:\d+/0)$", demo.printed, re.M
    )
    assert found, demo.printed
    [valkey] = family(demo.process.pid).keys() & those(demo, "valkey-server")
    assert found[1].split(":")[-1].removesuffix("/0") in family(demo.process.pid)[valkey]
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
async def test_two_browsers_on_different_processes_talk(browser, demo):
    async with Visits(browser, demo, {}) as visits:
        editor = await join(await visits.open("/support/", "editor"))
        admin = await join(await visits.open("/support/", "admin"))
        for page in editor, admin:
            await expect(page.get_by_test_id("process")).to_have_text(re.compile(r"process \d+$"))
        async with asyncio.timeout(60):
            while await process_of(admin) == await process_of(editor):
                await admin.reload()
                await join(admin)
        await say(editor, "From one process")
        await expect(texts(admin)).to_have_text("From one process")
        await say(admin, "to another")
        for page in editor, admin:
            await expect(texts(page)).to_have_text(["From one process", "to another"])


async def process_of(page):
    await expect(page.get_by_test_id("process")).to_have_text(re.compile(r"process \d+$"))
    return await page.get_by_test_id("process").text_content()


async def test_a_process_that_dies_is_replaced(demo):
    async with sockets(demo, processes=3) as found:
        before = {process for _, process in found}
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(wait_until_gone, [victim])
    async with asyncio.timeout(PATIENCE):
        while len(after := those(demo, "spawn_main")) < 3 or victim in after:
            await asyncio.sleep(0.02)
    assert before - {victim} < after
    async with sockets(demo, processes=3) as found:
        assert {process for _, process in found} == after


async def test_a_valkey_that_dies_is_replaced_and_that_is_said(tmp_path):
    demo = Demo(tmp_path, "--processes=2")
    await asyncio.to_thread(demo.start)
    try:
        for number in 1, 2:
            [victim] = those(demo, "valkey-server")
            os.kill(victim, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while demo.printed.count("killed by signal 9; another was started") < number:
                    await asyncio.sleep(0.02)
            assert not Path(f"/proc/{victim}").exists()
        async with sockets(demo, processes=2):
            pass
    finally:
        code = await asyncio.to_thread(demo.stop)
    assert code == 0


async def test_the_command_that_it_prints_can_be_pasted(demo):
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
async def test_nothing_is_left_of_it_when_it_ends(tmp_path, sign):
    demo = Demo(tmp_path, "--processes=3")
    await asyncio.to_thread(demo.start)
    async with sockets(demo, processes=3) as found:
        started = family(demo.process.pid)
        assert len([command for command in started.values() if "valkey-server" in command]) == 1
        code = await asyncio.to_thread(demo.stop, sign)
        for socket, _ in found:
            async with asyncio.timeout(PATIENCE):
                await socket.wait_closed()
    await asyncio.to_thread(wait_until_gone, started)
    if sign == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 0
        assert {socket.close_code for socket, _ in found} == {4012}
        lines = demo.log.splitlines()
        assert all(" INFO pm_realtime.connection: " in line for line in lines), demo.log


async def test_a_redis_of_ones_own_serves_and_stays(tmp_path, valkey):
    environment = {"REDIS_URL": valkey.url}
    for options, said in (["--processes=2"], "2 processes on one port"), ([], "One process"):
        demo = Demo(tmp_path, *options, environment=environment)
        await asyncio.to_thread(demo.start)
        try:
            assert re.search(f"{said} .* at {valkey.url}$", demo.printed, re.MULTILINE)
            assert those(demo, "valkey-server") == set()
        finally:
            await asyncio.to_thread(demo.stop)
        assert demo.log == ""
    assert valkey.process.poll() is None
