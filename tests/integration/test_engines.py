"""The client and the demo in Firefox and WebKit."""

import asyncio
import os
import signal
import time

import pytest

from tests.integration.client import Listener, connect
from tests.integration.demo import Demo
from tests.integration.devtools import until
from tests.integration.engines.demo_pages import DemoPage
from tests.integration.engines.tab import new_profile
from tests.integration.policy import STRICT, site
from tests.integration.shared_tabs import (
    OWN,
    PUSHED,
    RECOVERY_SIZE,
    STREAMED,
    assert_each_message_arrives_once,
    assert_leader_follows_after,
    browse,
)
from tests.site.tagged import EXTERNAL, INLINE, NONCE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120, func_only=True),
]

TITLE_TIMEOUT_SECONDS = 20
MAX_TAKEOVER_SECONDS = 2
#: The other tabs take a leader for dead before.
MAX_STOP_SECONDS = 16

#: The time until a page that is being left learns that it stays.
LOADING_SECONDS = 3
#: Records 20 times a second what a page of the demo shows of its connection.
RECORD_SHOWN = """
setInterval(() => window.shown.push(
  document.querySelector("[data-testid=status]").dataset.state + ", " +
  document.querySelectorAll("[data-testid=notice]").length
), 50)
"""
#: Makes a tab send what it has to the room when the server pushes "report".
REPORT = f"""
window.realtime.on("pushed", ({{ payload }}) => {{
  if (payload !== "report") return;
  const report = {{ tab: TAB, isLeader: window.isLeader(), streamed: {STREAMED} }};
  window.realtime.sendToRoom("open", report);
}}), null
"""


@pytest.mark.parametrize(
    ("policy", "host"),
    [
        pytest.param(STRICT, "", id="own"),
        pytest.param(STRICT + "; script-src 'self' {origin}", "localhost", id="cdn"),
    ],
)
async def test_page_works_under_a_strict_policy(engine, tmp_path, policy, host):
    with site(tmp_path, policy, host) as server:
        async with new_profile(engine) as made:
            await made.visit(f"{server.url}/sign-in/anna/")
            tab = await made.open(f"{server.url}/page/")
            await tab.wait("document.title === 'user: Hello'", TITLE_TIMEOUT_SECONDS)


async def test_page_does_not_run_against_its_policy(engine, tmp_path):
    """The test above would fail if its policy forbade a script."""
    with site(tmp_path, "script-src 'none'") as server:
        async with new_profile(engine) as made:
            tab = await made.open(f"{server.url}/page/")
            assert await tab.evaluate("[document.title, 'realtime' in window]") == [
                "waiting",
                False,
            ]


@pytest.fixture
def new_demo(tmp_path):
    """A demo for one test, whose chat has no messages yet."""
    with Demo(tmp_path) as demo:
        yield demo
        assert demo.warnings == []


async def test_demo_shows_messages_contact_requests_and_notifications(engine, new_demo):
    demo = new_demo
    async with new_profile(engine) as first, new_profile(engine) as second:
        editor = DemoPage(demo, await first.open(f"{demo.url}/login/"))
        admin = DemoPage(demo, await second.open(f"{demo.url}/login/"))
        await editor.sign_in("editor", "/support/")
        await admin.sign_in("admin", "/support/")
        await asyncio.gather(editor.joins(), admin.joins())
        await editor.send("Good morning")
        await admin.shows("message-text", "Good morning")
        await admin.send("And to you")
        await editor.shows("message-text", "Good morning", "And to you")
        await editor.shows("message-from", "You", demo.people["admin"].full_name)
        await admin.goto("/contact/")
        for name, text in ("subject", "My order"), ("body", "It has not arrived."):
            await admin.fill(name, text)
        await admin.click("contact-submit")
        await editor.tab.wait(
            "document.querySelector('[data-testid=contact-card]')?.textContent.includes('My order')"
        )


async def test_logout_closes_the_other_tabs_of_the_browser(engine, new_demo):
    demo = new_demo
    async with new_profile(engine) as first, new_profile(engine) as second:
        editor = DemoPage(demo, await first.open(f"{demo.url}/login/"))
        await editor.sign_in("editor", "/support/")
        other = DemoPage(demo, await first.open(f"{demo.url}/support/"))
        elsewhere = DemoPage(demo, await second.open(f"{demo.url}/login/"))
        await elsewhere.sign_in("editor", "/support/")
        await asyncio.gather(editor.joins(), other.joins(), elsewhere.joins())
        await editor.click("sign-out")
        await other.has_state("signed-out")
        await elsewhere.send("Still here")
        await elsewhere.shows("message-text", "Still here")
        await other.shows("message-text")


async def test_demo_comes_back_after_its_server_was_killed(engine, tmp_path):
    with Demo(tmp_path) as demo:
        async with new_profile(engine) as made:
            editor = DemoPage(demo, await made.open(f"{demo.url}/login/"))
            await editor.sign_in("editor", "/support/")
            await editor.joins()
            await editor.send("Before")
            await editor.shows("message-text", "Before")
            demo.kill()
            await editor.has_state("waiting")
            await asyncio.to_thread(demo.start)
            await editor.has_state("connected")
            await editor.joins()
            await editor.send("After")
            await editor.shows("message-text", "Before", "After")
    assert demo.warnings == []


async def test_demo_does_not_say_disconnected_while_the_next_page_loads(engine, demo):
    """Firefox closes the socket when the navigation begins."""
    async with new_profile(engine) as made:
        editor = DemoPage(demo, await made.open(f"{demo.url}/login/"))
        await editor.sign_in("editor", "/support/")
        await editor.joins()
        await editor.tab.evaluate(f"(window.shown = [], {RECORD_SHOWN}, null)")
        async with await asyncio.start_server(answer_slowly, "127.0.0.1", 0) as slow:
            port = slow.sockets[0].getsockname()[1]
            leave = f"location.href = 'http://127.0.0.1:{port}/'"
            await editor.tab.evaluate(f"(setTimeout(() => {{ {leave} }}), null)")
            await asyncio.sleep(LOADING_SECONDS)
            assert await editor.tab.evaluate("[...new Set(window.shown)]") == ["connected, 0"]


async def answer_slowly(reader, writer):
    """Answer, after a while, that there is no other page."""
    await reader.read(1)
    await asyncio.sleep(LOADING_SECONDS)
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_documented_line_works_in_scripts_of_each_kind(engine, tmp_path):
    with site(tmp_path, f"{STRICT} 'nonce-{NONCE}'") as server:
        async with new_profile(engine) as made:
            tab = await made.open(f"{server.url}/scripts-around-the-tag/?inline=1")
            for kind in EXTERNAL | INLINE:
                for position in ("above", "below"):
                    name = f"data-{kind}-{position}"
                    await tab.wait(
                        f"document.documentElement.getAttribute('{name}') === 'connected'"
                    )


async def test_tabs_share_one_socket_and_get_the_messages_of_their_own_rooms(serve, engine):
    server = serve("uvicorn", MAX_ROOMS_PER_CONNECTION=20)
    async with browse(engine, server) as tabs:
        await tabs.visit("/sign-in/anna/")
        for number in range(5):
            await tabs.open(f"open,own:{number}")
        assert await until(tabs.leader, "one leader")
        assert await tabs.sockets() == 1
        await server.aget("/each/?count=5")
        await tabs.push(1)
        await tabs.all_have(f"{PUSHED}.length")
        assert await tabs.each(OWN) == [[number] for number in range(5)]
        assert await tabs.each(PUSHED) == [[1]] * 5


async def test_another_tab_leads_after_a_crash_and_each_message_arrives_once(serve, engine):
    """The state of the tabs is seen at the server: WebKit's driver ends with a crashed page."""
    server = serve("uvicorn")
    async with browse(engine, server) as tabs, connect(server, kind=Listener) as watcher:
        await watcher.ask("subscribe", {"room": "open"})
        await tabs.visit("/sign-in/anna/")
        await tabs.open_many(4, "open")
        leader = await tabs.take_leader()
        for number, tab in enumerate(tabs.open_tabs):
            await tab.evaluate(REPORT.replace("TAB", str(number)))
        await server.aget("/stream/start/open/?interval=0.02")
        await tabs.all_have(f"{STREAMED}.length >= 5")
        process = await leader.process()
        began = time.monotonic()
        os.kill(process, signal.SIGKILL)

        async def reports():
            """Return the reports of all tabs, or None until there is one leader."""
            watcher.received.clear()
            await server.aget('/push/?room=open&payload="report"')
            await asyncio.sleep(0.1)
            found = {each["content"]["tab"]: each["content"] for each in watcher.of_type("message")}
            leads = [each["isLeader"] for each in found.values()]
            return found if len(found) == 3 and sum(leads) == 1 else None

        await until(reports, "another leader")
        assert time.monotonic() - began < MAX_TAKEOVER_SECONDS
        await server.aget("/stream/stop/")
        streamed = [each["streamed"] for each in (await until(reports, "reports")).values()]
        assert streamed == [[*range(len(streamed[0]) - 1), None]] * 3
        assert await tabs.sockets() == 2


async def test_each_message_arrives_once_although_leaders_close_and_navigate(serve, engine):
    server = serve("uvicorn", RECOVERY_SIZE=RECOVERY_SIZE)
    async with browse(engine, server) as tabs:
        await assert_each_message_arrives_once(tabs, 3, ["close", "navigate"], 50)


async def test_leader_that_wakes_from_a_stop_follows(serve, engine):
    async with browse(engine, serve("uvicorn")) as tabs:

        async def stop(leader):
            tabs.open_tabs.remove(leader)  # It answers nothing meanwhile.
            async with leader.stopped():
                await until(tabs.leader, "another leader", MAX_STOP_SECONDS)
                await asyncio.sleep(1)
            tabs.open_tabs.append(leader)

        await assert_leader_follows_after(tabs, stop)


async def test_logout_closes_all_shared_tabs_and_the_next_user_gets_a_new_socket(serve, engine):
    server = serve("uvicorn")
    async with browse(engine, server) as tabs:
        await tabs.visit("/sign-in/anna/")
        await tabs.open_many(3, "open")
        await tabs.visit("/sign-out/")
        await tabs.all_have("window.closes.length")
        assert await tabs.each("window.closes") == [[{"code": 4501, "willReconnect": False}]] * 3
        bert = await tabs.visit("/sign-in/bert/")
        tabs_of_anna, tabs.open_tabs = tabs.open_tabs, []
        page = await tabs.open("open")
        assert await page.evaluate("String(window.realtime.userId)") == bert
        await tabs.push(1)
        await tabs.all_have(f"{PUSHED}.length")
        assert await tabs.sockets() == 1
        tabs.open_tabs = tabs_of_anna
        assert await tabs.each("window.seen") == [[]] * 3


async def test_shared_tabs_come_back_on_one_socket_after_the_server_was_killed(serve, engine):
    server = serve("uvicorn")
    async with browse(engine, server) as tabs:
        await tabs.open_many(4, "open")
        server.kill()
        await tabs.all_have("window.closes.length")
        await asyncio.to_thread(server.start)
        await tabs.all_have("window.realtime.connected")
        await tabs.each("window.realtime.subscribe('open').then(() => true)")
        await tabs.push(1)
        await tabs.all_have(f"{PUSHED}.length")
        assert await tabs.each(PUSHED) == [[1]] * 4
        assert await tabs.sockets() == 1
