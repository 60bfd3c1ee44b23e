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
OWN = payloads("own", "payload.n")


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
