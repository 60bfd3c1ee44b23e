"""Pages of the demo in any engine, as a person sees and uses them."""

import json

#: Restarts and backoff on a busy machine.
RECONNECT_TIMEOUT_SECONDS = 40


class DemoPage:
    """A page of the demo in a tab of a profile."""

    def __init__(self, demo, tab):
        self.demo = demo
        self.tab = tab

    async def sign_in(self, username, path="/"):
        await self.tab.goto(f"{self.demo.url}/login/?next={path}")
        await self.click(f"fill-{username}")
        await self.click("login-button")
        await self.tab.wait(f"location.pathname === {json.dumps(path)}")
        await self.has_state("connected")

    async def goto(self, path):
        await self.tab.goto(self.demo.url + path)

    async def click(self, name):
        await self.tab.evaluate(f"{element(name)}.click()")

    async def fill(self, name, text):
        """Type ``text`` into the field with the test id or name ``name``."""
        await self.tab.evaluate(
            f"((field) => {{ field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event('input', { bubbles: true })); })"
            f"({element(name)} ?? document.querySelector('[name={name}]'))"
        )

    async def send(self, text):
        """Write ``text`` into the chat."""
        await self.fill("message-input", text)
        await self.click("send-button")

    async def has_state(self, state, timeout=RECONNECT_TIMEOUT_SECONDS):
        """Wait until the page shows that its connection is in ``state``."""
        await self.tab.wait(f"{element('status')}?.dataset.state === '{state}'", timeout)

    async def joins(self, timeout=RECONNECT_TIMEOUT_SECONDS):
        """Wait until the page is in the support room."""
        await self.tab.wait(f"{element('chat')}?.dataset.joined === 'true'", timeout)

    async def shows(self, name, *texts):
        """Wait until the elements with the test id ``name`` have ``texts``."""
        found = f"[...document.querySelectorAll('[data-testid={name}]')].map((e) => e.textContent)"
        await self.tab.wait(f"JSON.stringify({found}) === JSON.stringify({json.dumps(texts)})")


def element(name):
    return f"document.querySelector('[data-testid={name}]')"
