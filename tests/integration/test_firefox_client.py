"""The client in Firefox, which closes sockets at navigations and holds back those that fail."""

import asyncio
import time

import pytest
import pytest_asyncio

from tests.integration.devtools import until
from tests.integration.engines import firefox
from tests.integration.engines.tab import new_profile
from tests.integration.proxy import Proxy
from tests.integration.shared_tabs import browse

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120, func_only=True),
]

OFFLINE_SECONDS = 10
MAX_RETURN_SECONDS = 2
RELOADS = 7
#: How many sockets a page has opened.
SOCKETS = "window.sockets.length ?? window.sockets"
#: Navigations that leave the page open; more than the attempts that may fail in a row.
NAVIGATIONS = ["attachment"] * 7 + ["empty"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory):
    async with firefox.browser(tmp_path_factory.mktemp("firefox")) as running:
        yield running


async def navigate(server, tab, kind):
    """Start a navigation that leaves the page open, and wait until the server has answered it."""
    before = (await server.aget("/answers/")).json()
    await tab.evaluate(f"location.href = '{server.url}/answer/{kind}/', null")

    async def answered():
        return (await server.aget("/answers/")).json() > before

    await until(answered, "an answer")
    await tab.wait("window.realtime.connected")


@pytest.mark.parametrize("page", ["client", "tabs"])
async def test_downloads_leave_the_connection_alone(serve, browser, page):
    server = serve("uvicorn")
    async with new_profile(browser) as profile:
        tabs = [
            await profile.open(f"{server.url}/page/{page}/?rooms=open&attempts=5") for _ in range(2)
        ]
        for tab in tabs:
            await tab.wait("window.realtime?.connected")
        for kind in NAVIGATIONS:
            await navigate(server, tabs[0], kind)
        await tabs[0].evaluate(f"location.href = '{server.url}/answer/slow/', null")
        await tabs[0].evaluate("window.stop(), null")
        for tab in tabs:
            await tab.wait("window.realtime.connected")
            assert await tab.evaluate("window.realtime.ping().then((ms) => ms >= 0)")
        closes = [await tab.evaluate("window.closes") for tab in tabs]
        # An attempt to connect ends with 1006.
        assert {each["code"] for each in closes[0]} <= {1001, 1006}
        # The leader of shared tabs says nothing of it, even to its own client.
        assert len(closes[0]) >= len(NAVIGATIONS) if page == "client" else closes[0] == []
        assert closes[1] == []


async def test_reloads_of_the_leader_stop_no_other_tab(serve, browser):
    server = serve("uvicorn")
    async with browse(browser, server) as tabs:
        await tabs.open_many(3, "open")
        for _ in range(RELOADS):
            leader = await until(tabs.leader, "one leader")
            await leader.reload()
            await tabs.all_have("window.realtime?.connected")
        assert await tabs.each("window.closes") == [[]] * 3
        await tabs.all_have("window.realtime.rooms.length")
        assert await tabs.sockets() == 1


@pytest.mark.parametrize("page", ["client", "tabs"])
async def test_tabs_that_were_offline_are_back_at_once(serve, browser, page):
    """Firefox holds back new sockets to a server for up to a minute after a few failures."""
    server = serve("uvicorn")
    async with Proxy(server.port) as proxy, new_profile(browser) as profile:
        tabs = [await profile.open(f"{proxy.url}/page/{page}/?rooms=open") for _ in range(4)]
        for tab in tabs:
            await tab.wait("window.realtime?.connected")
        proxy.cut()
        await browser.set_offline(True)
        proxy.abort_connections()
        try:
            for tab in tabs:
                await tab.wait("window.realtime.status === 'waiting'")
            opened = [await tab.evaluate(SOCKETS) for tab in tabs]
            await asyncio.sleep(OFFLINE_SECONDS)
            assert [await tab.evaluate(SOCKETS) for tab in tabs] == opened
        finally:
            proxy.restore()
            began = time.monotonic()
            await browser.set_offline(False)
        for tab in tabs:
            await tab.wait("window.realtime.connected")
        assert time.monotonic() - began < MAX_RETURN_SECONDS


async def test_attempts_that_hang_start_anew_when_the_network_is_back(serve, browser):
    server = serve("uvicorn")
    async with Proxy(server.port) as proxy, new_profile(browser) as profile:
        tabs = [await profile.open(f"{proxy.url}/page/tabs/?rooms=open") for _ in range(2)]
        for tab in tabs:
            await tab.wait("window.realtime?.connected")
        # Nothing answers, and the browser has not noticed it yet.
        proxy.cut()
        proxy.abort_connections()
        for tab in tabs:
            await tab.wait("window.realtime.status === 'connecting'")
        proxy.restore()
        began = time.monotonic()
        for tab in tabs:
            await tab.evaluate("dispatchEvent(new Event('online')), null")
        for tab in tabs:
            await tab.wait("window.realtime.connected")
        assert time.monotonic() - began < MAX_RETURN_SECONDS
