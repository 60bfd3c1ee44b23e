"""The browser client, in Node, and a real server: who is in a room."""

import asyncio
import contextlib

import pytest

from tests.integration.chaos.network import Network
from tests.integration.page import opened

ROOMS = {"open": {"presence": {"grace": 0.6}}, "quiet": {"presence": {"see": "admin"}}}
FOLLOW = """
    const presence = page.realtime.presence("open");
    page.log = [];
    presence.on("join", ({ info }) => page.log.push(`join ${info.name}`));
    presence.on("leave", ({ info }) => page.log.push(`leave ${info.name}`));
    page.shows = () => presence.members.map(
      ({ info, connections, state }) => [info.name, connections, state],
    );
    page.isShown = (expected) => JSON.stringify(page.shows()) === JSON.stringify(expected);
    page.realtime.connect();
    await page.realtime.subscribe("open");
    return presence.me?.info.name;
"""


@contextlib.asynccontextmanager
async def page_of(network, name, cookie):
    """A page that is in the room, behind a network that can be cut, and the name of its member."""
    async with opened(f"{network.ws_url}?client={name}", cookie) as page:
        yield page, await page.run(FOLLOW)


async def await_shown(page, *members):
    """Wait until the page shows these members, each by name, connections and state."""
    expected = str([list(member) for member in members]).replace("None", "null")
    await page.run(f"await page.until(() => page.isShown({expected}))")


@pytest.mark.slow
async def test_pages_show_each_other(serve):
    server = serve("uvicorn", ROOMS=ROOMS)
    cookies = await asyncio.to_thread(server.make_sessions, "user", "editor")
    async with (
        Network([server.port]) as network,
        page_of(network, "ada", cookies["user"]) as (ada, ada_name),
        page_of(network, "bob", cookies["editor"]) as (bob, bob_name),
    ):
        await await_shown(ada, (ada_name, 1, None), (bob_name, 1, None))
        await await_shown(bob, (ada_name, 1, None), (bob_name, 1, None))

        typing = "page.realtime.presence('open').setState({ x: 1 }, { ttl: 0.5 })"
        await bob.run(f"await {typing}")
        await await_shown(ada, (ada_name, 1, None), (bob_name, 1, {"x": 1}))
        await await_shown(ada, (ada_name, 1, None), (bob_name, 1, None))

        # A second tab, and a wire that is lost for less than the grace: nobody comes or goes.
        async with page_of(network, "tab", cookies["user"]):
            await await_shown(bob, (ada_name, 2, None), (bob_name, 1, None))
            network.abort(["bob"])
            await bob.run("await page.until(() => page.opens.length === 2)")
        await await_shown(bob, (ada_name, 1, None), (bob_name, 1, None))
        assert await bob.run("return page.log") == []
        assert await ada.run("return page.log") == [f"join {bob_name}"]

        await bob.run("await page.realtime.unsubscribe('open')")
        await await_shown(ada, (ada_name, 1, None))
        assert await ada.run("return page.log") == [f"join {bob_name}", f"leave {bob_name}"]
        assert await bob.run("return page.shows()") == []
        refused = await bob.run(f"return await {typing}.catch(({{ code }}) => code)")
        assert refused == "NOT_IN_ROOM"

        await ada.run("await page.realtime.subscribe('quiet')")
        snapshot = await ada.run("return page.realtime.presence('quiet').store.getSnapshot()")
        assert snapshot == {"members": [], "total": 1, "me": None}
