"""People at the demo in a browser, each in a context of their own as in a browser of their own."""

import asyncio
import contextlib
import re

from playwright.async_api import BrowserContext, Page, expect

#: Milliseconds a page gets for what must happen, however busy the machine is.
PATIENCE = 15_000
#: Seconds that pages get for closing.
CLOSING = 15

expect.set_options(timeout=PATIENCE)


class Visits:
    """Opens pages for one test, and at its end finds fault with what they said on the console.

    ``browsers`` holds the browser of each person who has signed in, which further visits share.
    """

    def __init__(self, browser, demo, browsers):
        self._browser = browser
        self._demo = demo
        self._browsers = browsers
        self._mine = []
        self._said = []
        # The client closes a socket that is still opening when its page is left.
        self._expected = ["WebSocket is closed before the connection is established"]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        # Chromium now and then never says that a page is closed; its browser will be closed.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await asyncio.gather(*(each.close() for each in self._mine))
        if error == (None, None, None):
            assert self.complaints == [], self.complaints

    @property
    def complaints(self):
        """Errors, warnings and breaches of the content security policy, as the console has them."""
        return [
            text for text in self._said if not re.search("|".join(self._expected) or "$^", text)
        ]

    def expect_complaint(self, pattern):
        """Let pages say on the console what ``pattern`` matches: the test is about it."""
        self._expected.append(pattern)

    async def open(self, path="/", username=None) -> Page:
        """``path`` as someone sees it who is signed in, or in a new browser as nobody."""
        if username is None:
            context = await self._new_browser()
            self._mine.append(context)
            return await self._tab(context, path)
        if username not in self._browsers:
            self._browsers[username] = await self._new_browser()
            await self._sign_in(self._browsers[username], username)
        return await self.tab(self._browsers[username], path)

    async def tab(self, context, path="/") -> Page:
        """``path`` in one more tab of someone who is signed in; it is connected."""
        page = await self._tab(context, path)
        await expect(status(page)).to_have_attribute("data-state", "connected")
        return page

    async def _new_browser(self) -> BrowserContext:
        context = await self._browser.new_context(base_url=self._demo.url)
        context.set_default_timeout(PATIENCE)
        return context

    async def _tab(self, context, path) -> Page:
        page = await context.new_page()
        self._mine.append(page)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self._said.append(str(error)))
        await page.goto(path)
        return page

    async def _sign_in(self, context, username):
        """Send the form as the page would, without the time that drawing it takes."""
        person = self._demo.people[username]
        await context.request.get("/login/")
        [token] = [each["value"] for each in await context.cookies() if each["name"] == "csrftoken"]
        answer = await context.request.post(
            "/login/",
            form={
                "username": person.username,
                "password": person.password,
                "csrfmiddlewaretoken": token,
            },
        )
        assert answer.url == f"{self._demo.url}/", await answer.text()

    def _note(self, message):
        if message.type in ("error", "warning"):
            self._said.append(f"{message.type}: {message.text}")


def status(page):
    return page.get_by_test_id("status")


def notice(page, kind):
    return page.locator(f'[data-testid="notice"][data-kind="{kind}"]')


def texts(page):
    """What was said in the chat of ``page``, oldest first."""
    return page.get_by_test_id("message-text")


async def join(page):
    """Wait until ``page`` is in the support room."""
    await expect(page.get_by_test_id("chat")).to_have_attribute("data-joined", "true")
    return page


async def say(page, text):
    """Type ``text`` into the chat and send it."""
    await page.get_by_test_id("message-input").fill(text)
    await page.get_by_test_id("message-input").press("Enter")
