"""People at the demo in a browser, each in a context of their own as in a browser of their own."""

import re

from playwright.async_api import BrowserContext, Page, expect

#: Milliseconds a page gets for what must happen, however busy the machine is.
PATIENCE = 15_000

expect.set_options(timeout=PATIENCE)


class Visits:
    """Opens pages, and at the end finds fault with what they said on the console.

    ``states`` keeps who is signed in already; visits that share it sign in once.
    """

    def __init__(self, browser, demo, states):
        self._browser = browser
        self._demo = demo
        self._states = states
        self._contexts = []
        self._complaints = []
        self._expected = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        for context in self._contexts:
            await context.close()
        if error == (None, None, None):
            assert self.complaints == []

    def expect_complaint(self, pattern):
        """Let pages say on the console what ``pattern`` matches, as it is what the test is about."""
        self._expected.append(pattern)

    @property
    def complaints(self):
        """Errors, warnings and breaches of the content security policy, as the console has them."""
        return [
            text
            for text in self._complaints
            if not any(re.search(pattern, text) for pattern in self._expected)
        ]

    async def context(self, **options) -> BrowserContext:
        context = await self._browser.new_context(base_url=self._demo.url, **options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("console", self._note)
        context.on("weberror", lambda error: self._complaints.append(str(error.error)))
        return context

    async def open(self, path="/", username=None, **options) -> Page:
        """``path`` in a browser of its own; where someone is signed in, the page is connected."""
        if username and username not in self._states:
            await self._sign_in(username)
        context = await self.context(storage_state=self._states.get(username), **options)
        return await self.tab(context, path, connected=username is not None)

    async def tab(self, context, path="/", *, connected=True) -> Page:
        """``path`` in one more tab."""
        page = await context.new_page()
        await page.goto(path)
        if connected:
            await expect(status(page)).to_have_attribute("data-state", "connected")
        return page

    async def _sign_in(self, username):
        person = self._demo.people[username]
        context = await self.context()
        page = await self.tab(context, "/login/", connected=False)
        await page.get_by_label("Username").fill(person.username)
        await page.get_by_label("Password").fill(person.password)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_test_id("role")).to_have_text(person.role)
        await expect(status(page)).to_have_attribute("data-state", "connected")
        self._states[username] = await context.storage_state()
        await context.close()

    def _note(self, message):
        if message.type in ("error", "warning"):
            self._complaints.append(f"{message.type}: {message.text}")


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
