"""Navigations and a lost network in Firefox and WebKit.

Firefox closes the socket when a navigation begins, also where the page stays.
"""

import asyncio
import time

import pytest
import pytest_asyncio

from tests.integration.devtools import until
from tests.integration.engines import firefox
from tests.integration.engines.demo_pages import DemoPage
from tests.integration.engines.tab import new_profile
from tests.integration.proxy import Proxy
from tests.integration.shared_tabs import STREAMED, browse

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120, func_only=True),
]

OFFLINE_SECONDS = 10
MAX_RETURN_SECONDS = 3
NAVIGATION_COUNT = 6
#: How many sockets a page has opened.
SOCKETS = "window.sockets.length ?? window.sockets"
ANSWERED = "window.realtime.ping().then(() => true, () => false)"

#: Navigations after which the page is still there.
NAVIGATIONS = {
    "attachment": "location.href = '/answer/attachment/'",
    "empty": "location.href = '/answer/empty/'",
    # Late enough for a busy machine: a request that is not sent yet is not answered.
    "stopped": "location.href = '/answer/slow/', setTimeout(() => window.stop(), 1000), null",
}
#: Keeps each state that the demo shows for a moment before the page is left.
KEEP_STATES = """
sessionStorage.states = [],
new MutationObserver(([{ target }]) => {
  const { state } = target.dataset;
  setTimeout(() => { sessionStorage.states += `${state} `; }, 200);
}).observe(document.querySelector("[data-testid=status]"), { attributeFilter: ["data-state"] })
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def firefox_only(tmp_path_factory):
    """A running Firefox, for what other engines cannot be told."""
    async with firefox.browser(tmp_path_factory.mktemp("firefox")) as running:
        yield running


@pytest.mark.parametrize("kind", NAVIGATIONS)
async def test_page_stays_connected_over_navigations_that_do_not_leave_it(serve, engine, kind):
    """Firefox closes the socket when one begins."""
    server = serve("uvicorn")
    async with new_profile(engine) as made:
        tab = await made.open(f"{server.url}/page/client/?rooms=open&attempts=5")
        await tab.wait("window.realtime?.connected")
        for count in range(NAVIGATION_COUNT):
            await tab.evaluate(NAVIGATIONS[kind])
            await until(lambda count=count: answers(server, count + 1), "a navigation")
            await tab.wait(ANSWERED, MAX_RETURN_SECONDS)
        assert all(each["willReconnect"] for each in await tab.evaluate("window.closes"))
        await tab.evaluate("window.realtime.subscribe('open').then(() => true)")
        await server.aget("/push/?room=open&payload=1")
        await tab.wait("window.seen.length")
        assert await tab.evaluate("window.seen") == [["pushed", 1]]


async def answers(server, count):
    return (await server.aget("/answers/")).json() == count


async def test_reloads_of_the_leader_do_not_disconnect_the_other_tabs(serve, engine):
    server = serve("uvicorn")
    async with browse(engine, server) as tabs:
        await tabs.open_many(3, "open")
        await server.aget("/stream/start/open/?interval=0.02")
        for _ in range(NAVIGATION_COUNT):
            leader = await until(tabs.leader, "one leader")
            await leader.reload()
            await leader.wait("window.realtime?.connected", MAX_RETURN_SECONDS)
            assert await tabs.each("window.closes") == [[]] * 3
        await server.aget("/stream/stop/")
        await tabs.all_have(f"{STREAMED}.at(-1) === null")


async def test_demo_is_not_disconnected_while_the_next_page_loads(serve, engine, demo):
    slow = f"{serve('uvicorn').url}/answer/slow/"
    async with new_profile(engine) as made:
        editor = DemoPage(demo, await made.open(f"{demo.url}/login/"))
        await editor.sign_in("editor", "/support/")
        await editor.joins()
        await editor.tab.evaluate(KEEP_STATES)
        await editor.tab.evaluate(f"location.href = '{slow}'")
        await editor.tab.wait(f"location.href === '{slow}'")
        await editor.goto("/contact/")
        states = await editor.tab.evaluate("sessionStorage.states")
        assert "waiting" not in states
        assert "stopped" not in states


async def test_navigations_do_not_disconnect_shared_tabs(serve, firefox_only):
    """There are more of them than attempts that may fail in a row."""
    server = serve("uvicorn")
    async with browse(firefox_only, server) as tabs:
        await tabs.open_many(2, "open")
        for count in range(NAVIGATION_COUNT):
            await tabs.open_tabs[0].evaluate(NAVIGATIONS["attachment"])
            await until(lambda count=count: answers(server, count + 1), "a navigation")
            await tabs.all_have("window.realtime.connected")
        assert await tabs.each(ANSWERED) == [True, True]
        # The leader says nothing of it, even to its own client.
        assert await tabs.each("window.closes") == [[], []]


async def test_tabs_make_no_attempt_while_offline_and_return_at_once(serve, firefox_only):
    """Firefox delays new sockets to a host after failures, those of all tabs together."""
    server = serve("uvicorn")
    async with Proxy(server.port) as proxy, browse(firefox_only, server) as tabs:
        for page in ("client", "client", "tabs", "tabs"):
            tab = await tabs.profile.open(f"{proxy.url}/page/{page}/?rooms=open")
            await tab.wait("window.realtime?.connected")
            tabs.open_tabs.append(tab)
        await firefox_only.set_offline(True)
        try:
            # Firefox leaves open sockets to this machine alone.
            proxy.abort_connections()
            await tabs.all_have("window.realtime.status === 'waiting'")
            opened = await tabs.each(SOCKETS)
            await asyncio.sleep(OFFLINE_SECONDS)
            assert await tabs.each(SOCKETS) == opened
        finally:
            began = time.monotonic()
            await firefox_only.set_offline(False)
        await tabs.all_have("window.realtime.connected")
        assert time.monotonic() - began < MAX_RETURN_SECONDS


async def test_attempts_that_hang_start_anew_when_the_network_is_back(serve, firefox_only):
    server = serve("uvicorn")
    async with Proxy(server.port) as proxy, browse(firefox_only, server) as tabs:
        for _ in range(2):
            tab = await tabs.profile.open(f"{proxy.url}/page/tabs/?rooms=open")
            await tab.wait("window.realtime?.connected")
            tabs.open_tabs.append(tab)
        # Nothing answers, and the browser has not noticed it yet.
        proxy.cut()
        proxy.abort_connections()
        await tabs.all_have("window.realtime.status === 'connecting'")
        proxy.restore()
        began = time.monotonic()
        await tabs.each("dispatchEvent(new Event('online')), null")
        await tabs.all_have("window.realtime.connected")
        assert time.monotonic() - began < MAX_RETURN_SECONDS
