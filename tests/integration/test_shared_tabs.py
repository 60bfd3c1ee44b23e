"""Tabs that share one socket, in a real Chromium with a real server."""

import asyncio
import functools
import time

import pytest

from tests.integration import shared_tabs
from tests.integration.devtools import until
from tests.integration.proxy import Proxy
from tests.integration.shared_tabs import (
    MESSAGES,
    OWN,
    PUSHED,
    RECOVERY_SIZE,
    STREAMED,
    assert_each_message_arrives_once,
    assert_leader_follows_after,
    start_sending,
    stop_sending,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(180, func_only=True),
]


#: Longer than the time after which other tabs take a leader for dead.
HANG_SECONDS = 7
LONG_HANG_SECONDS = 12
MAX_TAKEOVER_SECONDS = 2


@pytest.fixture
def browse(chromium):
    """Open a new browser: ``async with browse(server) as tabs``."""
    return functools.partial(shared_tabs.browse, chromium)


async def test_ten_tabs_share_one_socket_and_get_the_messages_of_their_own_rooms(serve, browse):
    # One connection has the rooms of all tabs.
    server = serve("uvicorn", MAX_ROOMS_PER_CONNECTION=20)
    async with browse(server) as tabs:
        await tabs.visit("/sign-in/anna/")
        for number in range(10):
            await tabs.open(f"open,own:{number}")
        assert await until(tabs.leader, "one leader")
        assert await tabs.sockets() == 1
        await server.aget("/each/?count=10")
        await tabs.push(1)
        await tabs.all_have(f"{PUSHED}.length")
        assert await tabs.each(OWN) == [[number] for number in range(10)]
        assert await tabs.each(PUSHED) == [[1]] * 10


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0.1, 0.005])
@pytest.mark.parametrize("end", ["close", "crash", "freeze"])
async def test_another_tab_leads_within_two_seconds_and_each_message_arrives_once(
    serve, browse, end, interval
):
    """A tab sends messages, and the server pushes every ``interval`` seconds."""
    server = serve("uvicorn", RECOVERY_SIZE=RECOVERY_SIZE)
    async with browse(server) as tabs:
        user = await tabs.visit("/sign-in/anna/")
        await tabs.open_many(10, "open", key=user)
        leader = await tabs.take_leader()
        sender = tabs.open_tabs[-1]
        await start_sending(sender)
        await server.aget(f"/stream/start/open/?interval={interval}")
        await sender.wait(f"{STREAMED}.length >= 5")
        began = time.monotonic()
        await getattr(leader, end)()
        await until(tabs.leader, "another leader")
        assert time.monotonic() - began < MAX_TAKEOVER_SECONDS
        sent = await stop_sending(sender)
        await tabs.all_have(f"{MESSAGES}.at(-1) === {sent - 1}")
        assert await tabs.each(MESSAGES) == [list(range(sent))] * 9
        await server.aget("/stream/stop/")
        await tabs.all_have(f"{STREAMED}.at(-1) === null")
        streamed = await tabs.each(STREAMED)
        assert streamed == [[*range(len(streamed[0]) - 1), None]] * 9
        assert await sender.evaluate("window.refused") == []
        assert await tabs.each("window.closes") == [[]] * 9
        assert await tabs.sockets() == 1


@pytest.mark.parametrize(
    ("count", "ends", "messages_between"),
    [
        pytest.param(4, ["close", "crash", "navigate"], 50, id="short"),
        # Five seconds between two ends.
        pytest.param(
            10,
            ["close", "crash", "navigate", "crash", "close"],
            500,
            marks=pytest.mark.slow,
            id="long",
        ),
    ],
)
async def test_each_message_arrives_once_however_often_the_leader_ends(
    serve, browse, count, ends, messages_between
):
    async with browse(serve("uvicorn", RECOVERY_SIZE=RECOVERY_SIZE)) as tabs:
        await assert_each_message_arrives_once(tabs, count, ends, messages_between)


@pytest.mark.slow
async def test_no_message_is_lost_if_tabs_close_one_after_another(serve, browse):
    server = serve("uvicorn", RECOVERY_SIZE=RECOVERY_SIZE)
    async with browse(server) as tabs:
        user = await tabs.visit("/sign-in/anna/")
        for _ in range(8):
            await tabs.open("open", key=user)
        await server.aget("/stream/start/open/?interval=0.005")
        await tabs.all_have(f"{STREAMED}.length >= 5")
        # Each closed tab may be the next leader, and some close before their socket is open.
        leaving, tabs.open_tabs = tabs.open_tabs[:5], tabs.open_tabs[5:]
        await asyncio.gather(*(tab.close() for tab in leaving))
        await until(tabs.leader, "another leader")
        await tabs.open_tabs[0].wait("window.realtime.connected")
        await server.aget("/stream/stop/")
        await tabs.all_have(f"{STREAMED}.at(-1) === null")
        streamed = await tabs.each(STREAMED)
        assert streamed == [[*range(len(streamed[0]) - 1), None]] * 3


@pytest.mark.slow
async def test_no_message_is_lost_if_the_socket_is_cut(serve, browse):
    server = serve("uvicorn", RECOVERY_SIZE=RECOVERY_SIZE)
    async with Proxy(server.port) as proxy, browse(server) as tabs:
        tabs.url = proxy.url
        await tabs.visit("/sign-in/anna/")
        for _ in range(4):
            await tabs.open("open")
        await server.aget("/stream/start/open/?interval=0.005")
        for _ in range(3):
            length = await tabs.open_tabs[0].evaluate(f"{STREAMED}.length")
            await tabs.all_have(f"{STREAMED}.length > {length + 50}")
            await tabs.each("window.closes.length = 0")
            proxy.abort_connections()
            await tabs.all_have("window.closes.length && window.realtime.connected")
        await server.aget("/stream/stop/")
        await tabs.all_have(f"{STREAMED}.at(-1) === null")
        assert await tabs.each("window.gaps") == [[]] * 4
        streamed = await tabs.each(STREAMED)
        assert streamed == [[*range(len(streamed[0]) - 1), None]] * 4


@pytest.mark.slow
async def test_leader_that_was_frozen_follows_after_it_thaws(serve, browse):
    server = serve("uvicorn")
    async with browse(server) as tabs:
        await tabs.open_many(3, "open")
        leader = await tabs.take_leader()
        await leader.freeze()
        other = await until(tabs.leader, "another leader")
        await leader.thaw()
        tabs.open_tabs.append(leader)
        connection = await other.evaluate("window.realtime.connectionId")
        await leader.wait(f"window.realtime.connectionId === '{connection}'")
        await leader.evaluate("window.realtime.subscribe('open').then(() => true)")
        await tabs.push(1)
        await tabs.all_have(f"{PUSHED}.length")
        assert await tabs.each(PUSHED) == [[1]] * 3
        assert await tabs.leader() is other
        assert await tabs.sockets() == 1


@pytest.mark.slow
async def test_leader_whose_page_hangs_is_replaced(serve, browse):
    server = serve("uvicorn")
    async with browse(server) as tabs:
        await tabs.open_many(3, "open")
        leader = await tabs.take_leader()
        hangs = asyncio.create_task(hang_in_loop(leader, LONG_HANG_SECONDS))
        other = await until(tabs.leader, "another leader")
        assert not hangs.done()
        await tabs.all_have("window.realtime.rooms.length")
        await hangs
        connection = await other.evaluate("window.realtime.connectionId")
        await leader.wait(f"window.realtime.connectionId === '{connection}'")
        assert await leader.evaluate("window.isLeader()") is False


async def hang_in_loop(tab, seconds=HANG_SECONDS):
    await tab.evaluate(f"for (const end = Date.now() + {1000 * seconds}; Date.now() < end; );")


async def hang_in_dialog(tab):
    await tab.send("Page.enable")
    await tab.evaluate("setTimeout(() => alert('Well?')), 0")
    await asyncio.sleep(HANG_SECONDS)
    await tab.send("Page.handleJavaScriptDialog", accept=True)


@pytest.mark.slow
@pytest.mark.parametrize("hang", [hang_in_dialog, hang_in_loop])
async def test_leader_that_wakes_from_a_hang_follows(serve, browse, hang):
    async with browse(serve("uvicorn")) as tabs:
        await assert_leader_follows_after(tabs, hang)


@pytest.mark.slow
async def test_logout_closes_all_tabs_and_the_next_user_gets_a_new_socket(serve, browse):
    server = serve("uvicorn")
    async with browse(server) as tabs:
        await tabs.visit("/sign-in/anna/")
        await tabs.open_many(4, "open")
        opened = sum(await tabs.each("window.sockets.length"))
        await tabs.visit("/sign-out/")
        await tabs.all_have("window.closes.length")
        bert = await tabs.visit("/sign-in/bert/")
        tabs_of_anna, tabs.open_tabs = tabs.open_tabs, []
        page = await tabs.open("open")
        assert await page.evaluate("String(window.realtime.userId)") == bert
        await tabs.push(1)
        await tabs.all_have(f"{PUSHED}.length")
        assert await tabs.sockets() == 1
        tabs.open_tabs = tabs_of_anna
        assert await tabs.each("window.closes") == [[{"code": 4501, "willReconnect": False}]] * 4
        assert await tabs.each("window.seen") == [[]] * 4
        assert sum(await tabs.each("window.sockets.length")) == opened


@pytest.mark.slow
async def test_page_of_another_user_opens_a_socket_of_its_own(serve, browse):
    server = serve("uvicorn")
    async with browse(server) as tabs:
        await tabs.open_many(2, "open")
        anna = await tabs.visit("/sign-in/anna/")
        page = await tabs.open("open")
        assert await page.evaluate("String(window.realtime.userId)") == anna
        assert (await tabs.each("window.realtime.userId"))[:2] == [None, None]
        assert await tabs.sockets() == 2


@pytest.mark.slow
async def test_tabs_come_back_on_one_socket_after_a_restart(serve, browse):
    server = serve("uvicorn")
    async with browse(server) as tabs:
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
