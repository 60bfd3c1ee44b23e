"""Tabs that share one socket, in a real Chromium with a real server."""

import asyncio
import contextlib
import time

import pytest

from tests.integration.devtools import until
from tests.integration.proxy import Proxy

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(180, func_only=True),
]


def payloads(type, field="payload"):
    return f"window.seen.filter(({{ type }}) => type === '{type}').map(({{ payload }}) => {field})"


MESSAGES = payloads("message", "payload.content")
PUSHED = payloads("pushed")
STREAMED = payloads("streamed", "payload.n")
OWN = payloads("own", "payload.n")
#: Longer than the time after which other tabs take a leader for dead.
HANG_SECONDS = 7
LONG_HANG_SECONDS = 12
MAX_TAKEOVER_SECONDS = 2


class Tabs:
    """The tabs of one browser with pages of one server."""

    def __init__(self, profile, server):
        self.profile = profile
        self.server = server
        self.url = server.url
        self.open_tabs = []

    async def open(self, rooms="", **query):
        text = "&".join(f"{name}={value}" for name, value in {"rooms": rooms, **query}.items())
        tab = await self.profile.open(f"{self.url}/page/tabs/?{text}")
        await tab.wait("window.realtime?.connected")
        await tab.evaluate("window.joined.then(() => true)")
        self.open_tabs.append(tab)
        return tab

    async def open_many(self, count, rooms, **query):
        for _ in range(count):
            await self.open(rooms, **query)

    async def visit(self, path):
        """Return the text of the page at ``path``."""
        return await self.profile.visit(f"{self.server.url}{path}")

    async def sockets(self):
        return (await self.server.aget("/stats/")).json()["totalConnections"]

    async def each(self, expression):
        """Return the value of ``expression`` in every tab."""
        return await asyncio.gather(*(tab.evaluate(expression) for tab in self.open_tabs))

    async def all_have(self, expression):
        """Wait until ``expression`` is true in every tab."""
        await asyncio.gather(*(tab.wait(expression) for tab in self.open_tabs))

    async def leader(self):
        """Return the tab with the socket, or None if no tab or several tabs have one."""
        leads = await self.each("window.isLeader()")
        leaders = [tab for tab, is_leader in zip(self.open_tabs, leads, strict=True) if is_leader]
        return leaders[0] if len(leaders) == 1 else None

    async def take_leader(self):
        """Return the leader and remove it from these tabs."""
        leader = await until(self.leader, "one leader")
        self.open_tabs.remove(leader)
        return leader

    async def push(self, payload, room="open"):
        await self.server.aget(f"/push/?room={room}&payload={payload}")


@pytest.fixture
def browse(chromium):
    """Open a new browser: ``async with browse(server) as tabs``."""

    @contextlib.asynccontextmanager
    async def start(server):
        profile = await chromium.profile()
        try:
            yield Tabs(profile, server)
        finally:
            await profile.close()

    return start


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


@pytest.mark.parametrize(
    ("end", "interval"),
    [
        ("close", 0.1),
        *(pytest.param(end, 0.1, marks=pytest.mark.slow) for end in ("crash", "freeze")),
        *(pytest.param(end, 0.005, marks=pytest.mark.slow) for end in ("close", "crash", "freeze")),
    ],
)
async def test_another_tab_leads_within_two_seconds_and_each_message_arrives_once(
    serve, browse, end, interval
):
    """A tab sends messages, and the server pushes every ``interval`` seconds."""
    server = serve("uvicorn")
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


async def start_sending(tab):
    """Let ``tab`` send numbers to the room ``open``; wait until it has sent some."""
    await tab.evaluate("window.startSending('open')")
    await tab.wait("window.sentCount >= 5")


async def stop_sending(tab):
    """Wait until ``tab`` has sent more numbers, stop it, and return how many it has sent."""
    count = await tab.evaluate("window.sentCount + 10")
    await tab.wait(f"window.sentCount >= {count}")
    return await tab.evaluate("clearInterval(window.sending), window.sentCount")


@pytest.mark.slow
async def test_no_message_is_lost_if_tabs_close_one_after_another(serve, browse):
    server = serve("uvicorn")
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
    server = serve("uvicorn")
    async with Proxy(server.port) as proxy, browse(server) as tabs:
        tabs.url = proxy.url
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
    """No tab gets a message twice, and all tabs can send."""
    server = serve("uvicorn")
    async with browse(server) as tabs:
        await tabs.open_many(3, "open")
        leader = await until(tabs.leader, "one leader")
        sender = tabs.open_tabs[-1]
        await server.aget("/stream/start/open/?interval=0.05")
        await tabs.all_have(f"{STREAMED}.length >= 5")
        await start_sending(sender)
        await hang(leader)
        sent = await stop_sending(sender)
        await server.aget("/stream/stop/")
        await tabs.all_have(f"{STREAMED}.at(-1) === null")
        streamed = await tabs.each(STREAMED)
        assert streamed == [[*range(len(streamed[0]) - 1), None]] * 3
        await tabs.all_have(f"{MESSAGES}.at(-1) === {sent - 1}")
        assert await tabs.each(MESSAGES) == [list(range(sent))] * 3
        assert await tabs.each("window.closes") == [[]] * 3
        assert await leader.evaluate("window.isLeader()") is False
        await tabs.each("window.realtime.ping().then(() => true)")
        assert await tabs.sockets() == 1


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
