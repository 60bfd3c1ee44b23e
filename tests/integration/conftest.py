import asyncio
import contextlib
import json
import resource
import subprocess
import sys

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from tests.integration import crowd, devtools
from tests.integration.browser import chromium_path
from tests.integration.demo import Demo
from tests.integration.engines import firefox, webkit
from tests.integration.server import Server, layer_environment
from tests.integration.visits import Visits

# Tests open a thousand sockets on each side. Processes started here inherit the limit.
_, HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(HARD_LIMIT, 65536), HARD_LIMIT))

OPEN = {
    "ROOMS": {"open": {"public": True, "publish_role": "anonymous"}},
    "RATE_LIMIT": None,
}
CROWD_TIMEOUT_SECONDS = 20
BROWSER_CLOSE_TIMEOUT_SECONDS = 20


@pytest.fixture
def serve(tmp_path):
    """Start a server: ``serve("uvicorn", RATE_LIMIT="5/s")``; it is stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(kind, environment=None, **settings):
            server = Server(
                kind, tmp_path, settings={**OPEN, **settings}, environment=environment or {}
            )
            return stack.enter_context(server)

        yield start


@pytest.fixture
def cluster(tmp_path, valkey):
    """Start servers on one Valkey and one database: ``cluster("uvicorn", "daphne")``."""
    with contextlib.ExitStack() as stack:

        def start(*kinds, layer="pubsub", config=None, options=None, **settings):
            environment = layer_environment(layer, valkey.url, **(config or {}))
            settings = {**OPEN, **settings}
            return [
                stack.enter_context(
                    Server(
                        kind,
                        tmp_path,
                        settings,
                        environment=environment,
                        options=(options or {}).get(kind, ""),
                    )
                )
                for kind in kinds
            ]

        yield start


class Crowd:
    """A process with subscribers that have all joined."""

    def __init__(self, server, size, count, room, protocol):
        self.process = subprocess.Popen(
            [sys.executable, crowd.__file__, server.ws_url, room, str(size), str(count), protocol],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n", server.log

    def finish(self):
        """Wait until each subscriber has received all, stop them, and return their counts."""
        seen = json.loads(self.process.stdout.readline())
        self.stop()
        return seen

    def stop(self):
        self.process.stdin.close()
        self.process.wait(CROWD_TIMEOUT_SECONDS)
        self.process.stdout.close()


@pytest.fixture
def gather_crowd():
    """Start a crowd: ``gather_crowd(server, size, count)``."""
    crowds = []

    def start(server, size, count, room="open", protocol=""):
        crowds.append(Crowd(server, size, count, room, protocol))
        return crowds[-1]

    yield start
    for gathered in crowds:
        gathered.process.kill()
        gathered.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    """A running Chromium, for tests that share their module's event loop."""
    async with async_playwright() as playwright:
        path = chromium_path(playwright.chromium.executable_path)
        browser = await playwright.chromium.launch(executable_path=path)
        yield browser
        # A browser that does not close is killed with Playwright's own process.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BROWSER_CLOSE_TIMEOUT_SECONDS):
                await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(tmp_path_factory):
    """A running Chromium whose tabs can be hidden and frozen, for tests of the same kind."""
    folder = tmp_path_factory.mktemp("chromium")
    async with devtools.browser(chromium_path(""), folder) as running:
        yield running


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(firefox, id="firefox"), pytest.param(webkit, id="webkit")],
)
async def engine(request, tmp_path_factory):
    """A running Firefox, then WebKit."""
    async with request.param.browser(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A running demo for the tests of a module."""
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo
        assert demo.warnings == []


@pytest.fixture(scope="module")
def browsers():
    """The browsers of the users who have signed in at ``demo``."""
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def visits(browser, demo, browsers):
    """Visits of one test, which fails if a page logs an error."""
    async with Visits(browser, demo, browsers) as visits:
        yield visits
