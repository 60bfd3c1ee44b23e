"""The steps that tests take in the tabs of both engines."""

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path

from tests.integration.devtools import COMMAND_TIMEOUT_SECONDS, until

#: Long enough that the process of a tab that spins stands out on a busy machine.
SPIN_MS = 300
SPINS = 5


class EngineTab:
    """One tab, which has a process of its own. ``root`` is the process id of its browser."""

    root: int

    async def evaluate(self, expression):
        """Return the value of ``expression``, which may be a promise, as JSON."""
        raise NotImplementedError

    async def goto(self, url):
        """Open ``url`` in this tab and wait until its page is loaded."""
        raise NotImplementedError

    async def wait(self, expression, timeout=COMMAND_TIMEOUT_SECONDS):
        """Return the first true value of ``expression``."""
        return await until(lambda: self.evaluate(expression), expression, timeout)

    @contextlib.asynccontextmanager
    async def stopped(self):
        """Stop the process of the tab, as in a debugger or on a machine without memory."""
        pid = await self.process()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def process(self):
        """Return the id of the tab's process: the one that works while the tab spins."""
        for _ in range(SPINS):
            before = cpu_ticks(self.root)
            await self.evaluate(
                f"(() => {{ for (const end = Date.now() + {SPIN_MS}; Date.now() < end; ); }})()"
            )
            used = {pid: ticks - before.get(pid, 0) for pid, ticks in cpu_ticks(self.root).items()}
            [most, next_most, *_] = sorted(used, key=used.get, reverse=True)
            if used[most] > 3 * max(used[next_most], 1):
                return most
        raise AssertionError(f"no process stands out: {used}")


@contextlib.asynccontextmanager
async def new_profile(browser):
    """A profile of ``browser`` without cookies, which is closed at the end."""
    profile = await browser.profile()
    try:
        yield profile
    finally:
        await profile.close()


def cpu_ticks(root):
    """Return the ticks of CPU time that each process below ``root`` has used."""
    ticks, parents = {}, {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])

    def is_below(pid):
        while pid in parents and pid != root:
            pid = parents[pid]
        return pid == root

    return {pid: count for pid, count in ticks.items() if is_below(pid)}


def find_program(package, *names):
    """Return the path of the first program that exists, or fail with how to install it."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, f"{names[0]} was not found. On Debian: apt-get install {package}"
    return found


async def end(process):
    """Terminate ``process`` with all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                await asyncio.to_thread(process.wait)
