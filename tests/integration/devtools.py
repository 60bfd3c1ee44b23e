"""A Chromium driven by the DevTools protocol alone, so that tabs can be hidden and frozen.

Playwright makes the browser treat every tab as visible, and a visible tab cannot be frozen.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import websockets

COMMAND_TIMEOUT_SECONDS = 30
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--remote-debugging-port=0",
    "about:blank",
)


class DevToolsError(Exception):
    """The browser refused a command, or a script raised."""


class Tab:
    """One tab. The newest tab is visible."""

    def __init__(self, devtools, target, session):
        self._devtools = devtools
        self.target = target
        self.session = session

    async def send(self, method, **params):
        return await self._devtools.send(method, self.session, **params)

    async def evaluate(self, expression):
        """Return the value of ``expression``, which may be a promise, as JSON."""
        done = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise DevToolsError(done["exceptionDetails"])
        return done["result"].get("value")

    async def wait(self, expression, timeout=COMMAND_TIMEOUT_SECONDS):
        """Return the first true value of ``expression``."""
        return await until(lambda: self.evaluate(expression), expression, timeout)

    async def show(self):
        await self._devtools.send("Target.activateTarget", targetId=self.target)

    async def goto(self, url):
        """Open ``url`` in this tab."""
        await self.send("Page.navigate", url=url)

    async def close(self):
        await self._devtools.send("Target.closeTarget", targetId=self.target)

    async def crash(self):
        """End the process of the tab, without waiting for an answer."""
        await self._devtools.post("Page.crash", self.session)

    async def freeze(self):
        """Freeze the tab, which must be hidden."""
        await self.send("Page.setWebLifecycleState", state="frozen")

    async def thaw(self):
        await self.send("Page.setWebLifecycleState", state="active")

    async def set_offline(self, offline):
        """Set the page offline, as the switch in the browser's tools does. The page gets an event,
        and new connections fail. Open sockets stay open.
        """
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await self.send("Network.enable")
        await self.send("Network.emulateNetworkConditions", offline=offline, **limits)


class Profile:
    """A browser profile. Its tabs share cookies, locks and channels."""

    def __init__(self, devtools, context):
        self._devtools = devtools
        self._context = context

    async def open(self, url):
        """Open a new, visible tab at ``url``."""
        send = self._devtools.send
        made = await send("Target.createTarget", url=url, browserContextId=self._context)
        target = made["targetId"]
        session = await send("Target.attachToTarget", targetId=target, flatten=True)
        return Tab(self._devtools, target, session["sessionId"])

    async def visit(self, url):
        """Return the text of the page at ``url``, from a tab that is then closed."""
        tab = await self.open(url)
        text = await tab.wait("document.readyState === 'complete' && document.body?.innerText")
        await tab.close()
        return text

    async def close(self):
        await self._devtools.send("Target.disposeBrowserContext", browserContextId=self._context)


class DevTools:
    """The DevTools protocol on one WebSocket to the browser."""

    def __init__(self, socket, process):
        self._socket = socket
        self._process = process
        self._ids = itertools.count(1)
        self._waiting = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self._socket:
                message = json.loads(text)
                answer = self._waiting.pop(message.get("id"), None)
                if answer is not None and not answer.done():
                    answer.set_result(message)

    async def post(self, method, session=None, **params):
        """Send a command; return the future of its answer."""
        id = next(self._ids)
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        message = {"id": id, "method": method, "params": params}
        await self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return answer

    async def send(self, method, session=None, **params):
        async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
            message = await (await self.post(method, session, **params))
        if "error" in message:
            raise DevToolsError(f"{method}: {message['error']}")
        return message["result"]

    @contextlib.contextmanager
    def halted(self):
        """Stop the whole browser, as on a machine that sleeps."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    async def profile(self):
        made = await self.send("Target.createBrowserContext")
        return Profile(self, made["browserContextId"])


@contextlib.asynccontextmanager
async def browser(path: str, folder: Path):
    """Run a Chromium with its profile in ``folder``."""
    command = [path, *OPTIONS, f"--user-data-dir={folder}"]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            address = await until(lambda: asyncio.to_thread(read_address, folder), "an address")
            async with websockets.connect(address, max_size=None) as socket:
                yield DevTools(socket, process)
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def frozen(chromium, profile, page):
    """Hide and freeze the tab."""
    await profile.open("about:blank")
    await page.wait("document.visibilityState === 'hidden'")
    await page.freeze()
    yield
    await page.thaw()


@contextlib.asynccontextmanager
async def halted(chromium, profile, page):
    """Stop the whole browser, as on a laptop with a closed lid. The page gets no event."""
    with chromium.halted():
        yield


def read_address(folder):
    with contextlib.suppress(FileNotFoundError, ValueError):
        port, path = (folder / "DevToolsActivePort").read_text().split()
        return f"ws://127.0.0.1:{port}{path}"
    return None


async def until(condition, description, timeout=COMMAND_TIMEOUT_SECONDS):
    """Return the first true value of the coroutine function ``condition``."""
    deadline = time.monotonic() + timeout
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {description}"
        await asyncio.sleep(0.02)
    return found
