"""Tabs of one browser that share one socket, with the page ``tabs`` of the tests' site."""

import asyncio
import contextlib

from tests.integration.devtools import until
from tests.integration.engines.tab import new_profile


def payloads(type, field="payload"):
    return f"window.seen.filter(({{ type }}) => type === '{type}').map(({{ payload }}) => {field})"


MESSAGES = payloads("message", "payload.content")
PUSHED = payloads("pushed")
STREAMED = payloads("streamed", "payload.n")
NOTICED = payloads("noticed", "payload.n")
OWN = payloads("own", "payload.n")


#: More than is pushed while a busy machine takes its time over a new connection.
RECOVERY_SIZE = 20_000


class Tabs:
    """The tabs of one browser with pages of one server."""

    def __init__(self, profile, server):
        self.profile = profile
        self.server = server
        self.url = server.url
        self.open_tabs = []

    async def open(self, rooms="", **query):
        tab = await self.profile.open(self.page(rooms, **query))
        await self.settle(tab)
        return tab

    def page(self, rooms, **query):
        """Return the address of a page in ``rooms``."""
        text = "&".join(f"{name}={value}" for name, value in {"rooms": rooms, **query}.items())
        return f"{self.url}/page/tabs/?{text}"

    async def settle(self, tab):
        """Wait until the page of ``tab`` is in its rooms, and count it among these tabs."""
        await tab.wait("window.realtime?.connected")
        await tab.evaluate("window.joined.then(() => true)")
        self.open_tabs.append(tab)

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


async def assert_each_message_arrives_once(tabs, count, ends, messages_between):
    """Push a hundred times a second to a room and a user, while ``count`` tabs lose their leaders.

    ``ends`` says for each leader how it ends: "close", "crash" or "navigate".
    """
    user = await tabs.visit("/sign-in/anna/")
    await tabs.open_many(count, "open", key=user)
    await tabs.server.aget(f"/stream/start/open/?interval=0.01&user={user}")
    for end in ends:
        last = tabs.open_tabs[-1]
        length = await last.evaluate(f"{STREAMED}.length")
        await last.wait(f"{STREAMED}.length >= {length + messages_between}")
        leader = await tabs.take_leader()
        if end == "navigate":
            await leader.goto(tabs.page("open", key=user, next=1))
            await leader.wait("location.search.includes('next=1')")
            await tabs.settle(leader)
        else:
            await getattr(leader, end)()
            await tabs.open("open", key=user)
    await tabs.server.aget("/stream/stop/")
    for expression in STREAMED, NOTICED:
        await tabs.all_have(f"{expression}.at(-1) === null")
        seen = await tabs.each(expression)
        assert max(map(len, seen)) > len(ends) * messages_between
        for [*numbers, _] in seen:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    both = await tabs.each(f"window.previous && [Number(window.previous) + 1, {NOTICED}[0]]")
    pages = [each for each in both if each is not None]
    assert len(pages) == ends.count("navigate")
    assert all(expected == first for expected, first in pages), pages
    assert await tabs.each("window.gaps") == [[]] * count
    assert await tabs.each("window.closes") == [[]] * count
    assert await tabs.sockets() == 1


@contextlib.asynccontextmanager
async def browse(browser, server):
    """Open a new profile of ``browser`` for pages of ``server``."""
    async with new_profile(browser) as profile:
        yield Tabs(profile, server)


async def start_sending(tab):
    """Let ``tab`` send numbers to the room ``open``; wait until it has sent some."""
    await tab.evaluate("window.startSending('open')")
    await tab.wait("window.sentCount >= 5")


async def stop_sending(tab):
    """Wait until ``tab`` has sent more numbers, stop it, and return how many it has sent."""
    count = await tab.evaluate("window.sentCount + 10")
    await tab.wait(f"window.sentCount >= {count}")
    return await tab.evaluate("clearInterval(window.sending), window.sentCount")


async def assert_leader_follows_after(tabs, pause):
    """Stream to three tabs, and send from one, while ``pause`` keeps their leader from running.

    No tab gets a message twice, and all tabs can send.
    """
    await tabs.visit("/sign-in/anna/")
    await tabs.open_many(3, "open")
    leader = await until(tabs.leader, "one leader")
    sender = tabs.open_tabs[-1]
    await tabs.server.aget("/stream/start/open/?interval=0.05")
    await tabs.all_have(f"{STREAMED}.length >= 5")
    await start_sending(sender)
    await pause(leader)
    sent = await stop_sending(sender)
    await tabs.server.aget("/stream/stop/")
    await tabs.all_have(f"{STREAMED}.at(-1) === null")
    streamed = await tabs.each(STREAMED)
    assert streamed == [[*range(len(streamed[0]) - 1), None]] * 3
    await tabs.all_have(f"{MESSAGES}.at(-1) === {sent - 1}")
    assert await tabs.each(MESSAGES) == [list(range(sent))] * 3
    assert await tabs.each("window.closes") == [[]] * 3
    assert await leader.evaluate("window.isLeader()") is False
    await tabs.each("window.realtime.ping().then(() => true)")
    assert await tabs.sockets() == 1
