"""A WebKitGTK driven over WebDriver, with a screen of its own."""

import asyncio
import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.integration.devtools import COMMAND_TIMEOUT_SECONDS, DevToolsError
from tests.integration.engines.tab import EngineTab, end, find_program
from tests.integration.server import free_port, wait_for_port

SCREEN = "1280x1024x24"
RUN = """
const done = arguments[arguments.length - 1];
Promise.resolve(({expression})).then(
  (value) => done({{ value }}),
  (error) => done({{ error: `${{error}}` }}),
);
"""


class WebDriver:
    """One session of WebDriver. It carries out one command at a time."""

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}/session"
        self._one_at_a_time = asyncio.Lock()
        #: The window that was there first, which stays open.
        self.first = None
        self._window = None

    async def start(self, capabilities):
        made = await self._request("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self._url += f"/{made['sessionId']}"
        self._window = self.first = await self._request("GET", "/window")

    async def send(self, method, path, body=None, *, window=None):
        """Return the answer to a command, which goes to ``window`` if given."""
        async with self._one_at_a_time:
            if window not in (None, self._window):
                await self._request("POST", "/window", {"handle": window})
                self._window = window
            return await self._request(method, path, body)

    async def _request(self, method, path, body=None):
        return await asyncio.to_thread(self._request_now, method, path, body)

    def _request_now(self, method, path, body):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=COMMAND_TIMEOUT_SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise DevToolsError(f"{method} {path}: {error.read().decode()}") from None


class Tab(EngineTab):
    def __init__(self, driver, window, root):
        self._driver = driver
        self._window = window
        self.root = root

    async def evaluate(self, expression):
        body = {"script": RUN.format(expression=expression), "args": []}
        done = await self._driver.send("POST", "/execute/async", body, window=self._window)
        if "error" in done:
            raise DevToolsError(done["error"])
        return done.get("value")

    async def goto(self, url):
        await self._driver.send("POST", "/url", {"url": url}, window=self._window)

    async def reload(self):
        await self._driver.send("POST", "/refresh", window=self._window)

    async def close(self):
        await self._driver.send("DELETE", "/window", window=self._window)


class Profile:
    """A browser of its own, with its driver."""

    def __init__(self, driver, process):
        self._driver = driver
        self._process = process

    async def open(self, url):
        """Open a new, visible page at ``url``. Tabs of one window would be hidden."""
        made = await self._driver.send(
            "POST", "/window/new", {"type": "window"}, window=self._driver.first
        )
        tab = Tab(self._driver, made["handle"], self._process.pid)
        await tab.goto(url)
        return tab

    async def visit(self, url):
        """Return the text of the page at ``url``, from a tab that is then closed."""
        tab = await self.open(url)
        text = await tab.evaluate("document.body.innerText")
        await tab.close()
        return text

    async def close(self):
        await end(self._process)


class Browser:
    """Starts browsers. A crash of a page ends the session of its driver, and no page closes."""

    def __init__(self, program, minibrowser, environment, log):
        self._program = program
        self._minibrowser = minibrowser
        self._environment = environment
        self._log = log

    async def profile(self):
        port = free_port()
        process = subprocess.Popen(
            [self._program, f"--port={port}"],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            await asyncio.to_thread(wait_for_port, port, process)
            driver = WebDriver(port)
            await driver.start(
                {
                    "webkitgtk:browserOptions": {
                        "binary": self._minibrowser,
                        "args": ["--automation"],
                    }
                }
            )
        except BaseException:
            await end(process)
            raise
        return Profile(driver, process)


@contextlib.asynccontextmanager
async def browser(folder):
    """Have a screen for the browsers, which leave nothing in ``folder`` but their log."""
    xvfb = find_program("xvfb", "Xvfb")
    program = find_program("webkit2gtk-driver", "WebKitWebDriver")
    minibrowsers = map(str, sorted(Path("/usr/lib").glob("**/webkit2gtk-4.*/MiniBrowser")))
    minibrowser = find_program("webkit2gtk-driver", *minibrowsers, "MiniBrowser")
    with (folder / "webkit.log").open("wb") as log, screen(xvfb, log) as display:
        environment = {
            **os.environ,
            "HOME": str(folder),
            "DISPLAY": display,
            "GDK_BACKEND": "x11",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "NO_AT_BRIDGE": "1",
        }
        yield Browser(program, minibrowser, environment, log)


@contextlib.contextmanager
def screen(program, log):
    """Run an X server without a monitor; give its display."""
    read, write = os.pipe()
    with subprocess.Popen(
        [program, "-displayfd", str(write), "-screen", "0", SCREEN, "-nolisten", "tcp"],
        pass_fds=[write],
        stdout=log,
        stderr=log,
    ) as process:
        os.close(write)
        try:
            with os.fdopen(read) as number:
                display = number.readline().strip()
            assert display, "Xvfb did not start"
            yield f":{display}"
        finally:
            process.terminate()
