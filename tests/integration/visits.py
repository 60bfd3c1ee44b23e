"""Visits of users to the demo. Each user has a browser context, as a browser of their own."""

import asyncio
import contextlib
import re

from playwright.async_api import BrowserContext, Page, expect

#: Long enough for a busy machine.
PAGE_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_SECONDS = 15

expect.set_options(timeout=PAGE_TIMEOUT_MS)


class Visits:
    """Opens pages for one test and at its end fails if they logged an error or a warning.

    ``browsers`` holds the browser of each user who has signed in, for later visits.
    """

    def __init__(self, browser, demo, browsers):
        self._browser = browser
        self._demo = demo
        self._browsers = browsers
        self._opened = []
        self._stranger = None
        self._logged = []
        # The client closes a socket that is still opening when its page is left.
        self._expected = ["WebSocket is closed before the connection is established"]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        # Chromium sometimes does not report that a page is closed. Its browser will be closed.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await asyncio.gather(*(each.close() for each in self._opened))
        if error == (None, None, None):
            assert self.console_errors == [], self.console_errors

    @property
    def console_errors(self):
        """Unexpected errors, warnings and violations of the policy on the console."""
        return [text for text in self._logged if not re.search("|".join(self._expected), text)]

    def expect_console_error(self, pattern):
        """Allow messages on the console that ``pattern`` matches."""
        self._expected.append(pattern)

    async def open(self, path="/", username=None) -> Page:
        """Open ``path`` as a user who is signed in, or as an anonymous visitor in a new browser."""
        if username is None:
            context = await self._new_browser()
            self._opened.append(context)
            return await self._tab(context, path)
        if username not in self._browsers:
            self._browsers[username] = await self._new_browser()
            await self._sign_in(self._browsers[username], username)
        return await self.tab(self._browsers[username], path)

    async def anonymous(self) -> BrowserContext:
        """A browser in which nobody is signed in, for requests of this test."""
        if self._stranger is None:
            self._stranger = await self._new_browser()
            self._opened.append(self._stranger)
        return self._stranger

    async def browser_of(self, username, path="/") -> Page:
        """Open ``path`` in one more browser of a user, which nothing else uses."""
        context = await self._new_browser()
        self._opened.append(context)
        await self._sign_in(context, username)
        return await self.tab(context, path)

    async def tab(self, context, path="/") -> Page:
        """Open ``path`` in one more tab of a user who is signed in; wait until it is connected."""
        page = await self._tab(context, path)
        await expect(status(page)).to_have_attribute("data-state", "connected")
        return page

    async def _new_browser(self) -> BrowserContext:
        context = await self._browser.new_context(base_url=self._demo.url)
        context.set_default_timeout(PAGE_TIMEOUT_MS)
        return context

    async def _tab(self, context, path) -> Page:
        page = await context.new_page()
        self._opened.append(page)
        page.on("console", self._log)
        page.on("pageerror", lambda error: self._logged.append(str(error)))
        await page.goto(path)
        return page

    async def _sign_in(self, context, username):
        """Post the login form without opening its page, which takes less time."""
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

    def _log(self, message):
        if message.type in ("error", "warning"):
            self._logged.append(f"{message.type}: {message.text}")


def status(page):
    return page.get_by_test_id("status")


def notice(page, kind):
    return page.locator(f'[data-testid="notice"][data-kind="{kind}"]')


def texts(page):
    """Locate the texts in the chat that came since ``page`` was opened, oldest first."""
    return page.locator('[data-testid="message"]:not([data-earlier])').get_by_test_id(
        "message-text"
    )


def all_texts(page):
    """Locate the texts in the chat of ``page`` with those from before it, oldest first."""
    return page.get_by_test_id("message-text")


def cards(page):
    """Locate the contact requests in the chat that came since ``page`` was opened."""
    return page.locator('[data-testid="contact-card"]:not([data-earlier])')


async def join(page):
    """Wait until ``page`` is in the support room."""
    await expect(page.get_by_test_id("chat")).to_have_attribute("data-joined", "true")
    return page


async def send_message(page, text):
    """Type ``text`` into the chat and send it."""
    await page.get_by_test_id("message-input").fill(text)
    await page.get_by_test_id("message-input").press("Enter")
