"""The members of a room in tabs that share one socket, in a real Chromium with a real server."""

import asyncio

import pytest

from tests.integration.client import Listener, connect
from tests.integration.devtools import until
from tests.integration.shared_tabs import browse

#: Longer than another tab takes to lead, on a busy machine as well.
GRACE_SECONDS = 10
PRESENCE = "window.realtime.presence('open')"
SHOWN = f"{PRESENCE}.members.map(({{ key, connections, state }}) => [key, connections, state])"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.slow,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]


async def test_tabs_are_one_member_over_reloads_and_new_leaders(serve, chromium):
    server = serve("uvicorn", ROOMS={"open": {"presence": {"grace": GRACE_SECONDS}}})
    cookie = (await asyncio.to_thread(server.make_sessions, "user"))["user"]
    async with (
        connect(server, cookie, kind=Listener) as watcher,
        browse(chromium, server) as tabs,
    ):
        subscribed = await watcher.ask("subscribe", {"room": "open"})
        (other,) = subscribed["payload"]["presence"]["members"]

        async def told(name):
            changes = watcher.of_type("presence")
            return [each for change in changes for each in change.get(name, ())]

        def shown(own, state=None):
            return [[other["key"], 1, None], [own["key"], 1, state]]

        await tabs.visit("/sign-in/anna/")
        await tabs.open_many(2, "open")
        (anna,) = await until(lambda: told("joined"), "the member of the tabs")
        # The answer that the third tab shares with the others is older than the state.
        await tabs.open_tabs[1].evaluate(f"{PRESENCE}.setState({{ typing: true }})")
        await tabs.open("open")
        await tabs.all_have(f"{SHOWN}[1]?.[2]?.typing")
        assert await tabs.each(SHOWN) == [shown(anna, {"typing": True})] * 3
        assert await tabs.each(f"{PRESENCE}.me.key") == [anna["key"]] * 3

        leader = await tabs.take_leader()
        await leader.close()
        leader = await tabs.take_leader()
        (page,) = tabs.open_tabs
        # The new leader knows then that this page is in the room, too.
        await page.evaluate("window.realtime.sendToRoom('open', 'still here').then(() => true)")
        # First it is the last page in the room, then the last page of all.
        await leader.evaluate("window.realtime.unsubscribe('open').then(() => true)")
        await load_anew(tabs, page)
        await leader.close()
        await load_anew(tabs, page)
        assert await page.evaluate(SHOWN) == shown(anna, {"typing": True})
        # A member that is thought to have left departs within this time.
        await asyncio.sleep(GRACE_SECONDS + 1)
        assert await told("left") == []
        assert await told("joined") == [anna]
        assert {each["connections"] for each in await told("updated")} == {1}

        await page.close()
        assert await until(lambda: told("left"), "it has left") == [anna["key"]]


async def load_anew(tabs, page):
    tabs.open_tabs.remove(page)
    await page.goto(f"{await page.evaluate('location.href')}&again=1")
    await page.wait("location.search.endsWith('again=1')")
    await tabs.settle(page)
