"""Tabs that share one socket, in a real Chromium, at a real server."""

import asyncio
import contextlib
import time

import pytest

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Of the test alone: a machine without a Chromium takes its time to get one.
    pytest.mark.timeout(180, func_only=True),
]

#: Seconds that something gets which must happen, however busy the machine is.
PATIENCE = 30


async def until(condition, what):
    """Return the first true value of the coroutine function ``condition``."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := await condition()):
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE} s: {what}") from None


async def wait(page, expression):
    """Return when ``expression`` is true; Playwright's own way evaluates, which pages forbid."""
    await until(lambda: page.evaluate(expression), expression)


class Tabs:
    """Tabs of one browser at one server."""

    def __init__(self, context, server):
        self.context = context
        self.server = server
        self.pages = []
        self.complaints = []

    async def open(self, rooms="", **query):
        page = await self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)
        self.pages.append(page)
        query = {"rooms": rooms, **query}
        text = "&".join(f"{name}={value}" for name, value in query.items())
        await page.goto(f"{self.server.url}/page/tabs/?{text}")
        await wait(page, "window.realtime?.connected")
        await page.evaluate("window.joined.then(() => true)")
        return page

    def _note(self, message):
        if message.type == "error" and "Content Security Policy" in message.text:
            self.complaints.append(message.text)

    async def sign_in(self, name):
        answer = await self.context.request.get(f"{self.server.url}/sign-in/{name}/")
        return await answer.text()

    async def sockets(self):
        return (await self.server.aget("/stats/")).json()["totalConnections"]

    async def owner(self):
        owns = await asyncio.gather(*(page.evaluate("window.isOwner()") for page in self.pages))
        owners = [page for page, owned in zip(self.pages, owns, strict=True) if owned]
        return owners[0] if len(owners) == 1 else None

    async def take_owner(self):
        """The tab that owns the socket, which is none of these any more."""
        owner = await until(self.owner, "one owner")
        self.pages.remove(owner)
        return owner

    async def seconds_until_owned(self):
        began = time.monotonic()
        await until(self.owner, "another owner")
        return time.monotonic() - began

    async def seen(self, kind):
        return await asyncio.gather(
            *(
                page.evaluate(f"window.seen.filter(({{ type }}) => type === '{kind}')")
                for page in self.pages
            )
        )

    async def close(self):
        await self.context.close()
        assert self.complaints == []


@pytest.fixture
def open_tabs(browser):
    """A browser at a server: ``async with open_tabs(server) as tabs``."""

    @contextlib.asynccontextmanager
    async def start(server):
        tabs = Tabs(await browser.new_context(), server)
        try:
            yield tabs
        finally:
            await tabs.close()

    return start


async def close(page):
    await page.close()


async def crash(page):
    session = await page.context.new_cdp_session(page)
    crashed = page.wait_for_event("crash")
    ended = asyncio.create_task(session.send("Page.crash"))
    await crashed
    ended.cancel()


async def freeze(page):
    await lifecycle(page, "frozen")


async def lifecycle(page, state):
    session = await page.context.new_cdp_session(page)
    await session.send("Page.setWebLifecycleState", {"state": state})


async def test_ten_tabs_have_one_socket_and_each_gets_its_own(serve, open_tabs):
    server = serve("uvicorn")
    async with open_tabs(server) as tabs:
        await tabs.sign_in("anna")
        for number in range(10):
            await tabs.open(f"open,own:{number}")
        assert await until(tabs.owner, "one owner")
        assert await tabs.sockets() == 1
        await server.aget("/each/?count=10")
        await server.aget("/push/?room=open&payload=1")

        async def all_have_it():
            return all(await tabs.seen("pushed"))

        await until(all_have_it, "the last push")
        own = [[each["payload"]["n"] for each in seen] for seen in await tabs.seen("own")]
        assert own == [[number] for number in range(10)]
        assert [len(seen) for seen in await tabs.seen("pushed")] == [1] * 10


@pytest.mark.parametrize("end", [close, crash, freeze])
async def test_another_tab_owns_within_two_seconds_and_nothing_said_is_lost(serve, open_tabs, end):
    server = serve("uvicorn")
    async with open_tabs(server) as tabs:
        await tabs.sign_in("anna")
        for _ in range(10):
            await tabs.open("open", key="anna")
        owner = await tabs.take_owner()
        speaker = tabs.pages[-1]
        await speaker.evaluate("window.startSaying('open')")
        await wait(speaker, "window.said >= 5")
        await end(owner)
        assert await tabs.seconds_until_owned() < 2
        assert await tabs.sockets() == 1
        last = await speaker.evaluate("window.said") + 5
        await wait(speaker, f"window.said >= {last}")
        said = await speaker.evaluate("clearInterval(window.saying), window.said")

        async def all_have_it():
            return all(
                seen and seen[-1]["payload"]["content"] == said - 1
                for seen in await tabs.seen("message")
            )

        await until(all_have_it, "the last message")
        assert await speaker.evaluate("window.refused") == []
        for seen in await tabs.seen("message"):
            assert [each["payload"]["content"] for each in seen] == list(range(said))
        assert await speaker.evaluate("window.closes") == []


async def test_a_tab_that_thaws_is_one_among_the_others(serve, open_tabs):
    server = serve("uvicorn")
    async with open_tabs(server) as tabs:
        for _ in range(3):
            await tabs.open("open")
        owner = await tabs.take_owner()
        await freeze(owner)
        await tabs.seconds_until_owned()
        await lifecycle(owner, "active")
        tabs.pages.append(owner)
        await wait(owner, "window.realtime.rooms.length && window.realtime.ping()")
        await server.aget("/push/?room=open&payload=1")
        await wait(owner, "window.seen.length === 1")
        assert await tabs.sockets() == 1
        assert await until(tabs.owner, "one owner") != owner


async def test_who_logs_out_is_told_in_all_tabs_and_the_next_user_sees_nothing_of_it(
    serve, open_tabs
):
    server = serve("uvicorn")
    async with open_tabs(server) as tabs:
        await tabs.sign_in("anna")
        annas = [await tabs.open("open") for _ in range(4)]
        await tabs.context.request.get(f"{server.url}/sign-out/")
        for page in annas:
            await wait(page, "window.closes.length")
        assert await tabs.sockets() == 0
        bert = await tabs.sign_in("bert")
        page = await tabs.open("open")
        assert await page.evaluate("String(window.realtime.userId)") == bert
        await server.aget("/push/?room=open&payload=1")
        await wait(page, "window.seen.length === 1")
        for each in annas:
            assert await each.evaluate("window.closes") == [{"code": 4501, "willReconnect": False}]
            assert await each.evaluate("window.seen") == []
            assert await each.evaluate("window.sockets.length") <= 1


async def test_a_user_with_two_logins_open_is_never_shown_the_others(serve, open_tabs):
    """The session of the cookie changed, and the socket of the old one is still there."""
    server = serve("uvicorn")
    async with open_tabs(server) as tabs:
        anonymous = [await tabs.open("open") for _ in range(2)]
        anna = await tabs.sign_in("anna")
        page = await tabs.open("open")
        assert await page.evaluate("String(window.realtime.userId)") == anna
        assert await anonymous[0].evaluate("window.realtime.userId") is None
        assert await tabs.sockets() == 2
