"""Messages between two pages, and between a page's query and its connection, in a Chromium."""

import asyncio
import contextlib

import pytest

from tests.integration.devtools import DevToolsError, until
from tests.support.helpers import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(180, func_only=True),
]

MISSED, CLICKS, PUSHES_PER_SECOND = 20, 30, 20
SEEN = "window.seen?.map(([, payload]) => payload)"


@contextlib.asynccontextmanager
async def opened(chromium, url):
    profile = await chromium.profile()
    try:
        yield await profile.open(url)
    finally:
        await profile.close()


async def arrival(tab, condition):
    """Wait until ``condition`` is true in a tab that is on its way to another page."""

    async def is_there():
        with contextlib.suppress(DevToolsError):
            return await tab.evaluate(condition)

    await until(is_there, condition)


async def push(server, numbers):
    for number in numbers:
        assert (await server.aget(f"/push/?room=open&payload={number}")).body == "sent"


async def test_cached_page_gets_the_messages_since_its_query(serve, chromium):
    server = serve("uvicorn")
    await push(server, range(3))
    page = "/cached/client/?rooms=open"
    rendered = (await server.aget(page)).body
    await push(server, range(3, 3 + MISSED))
    assert (await server.aget(page)).body == rendered
    async with opened(chromium, server.url + page) as tab:
        await tab.wait(f"{SEEN}.length >= {MISSED}")
        await push(server, [3 + MISSED])
        await tab.wait(f"{SEEN}.includes({3 + MISSED})")
        assert await tab.evaluate(SEEN) == list(range(3, 4 + MISSED))


@pytest.mark.slow
@pytest.mark.parametrize(
    "wait", ["document.readyState !== 'loading'", "window.realtime?.connected"]
)
async def test_pages_together_show_each_message_once(serve, chromium, wait):
    """A click leads to the next page while messages come in, before or after it is connected."""
    server = serve("uvicorn")
    async with opened(chromium, f"{server.url}/sign-in/ann/") as tab:
        user = await tab.wait("document.body?.innerText")
        await tab.evaluate("location.href = '/leaf/0/', null")
        await tab.wait("window.realtime?.connected")
        is_over = asyncio.Event()

        count = 0

        async def push_on():
            nonlocal count
            while not is_over.is_set():
                await server.aget(f"/push-to/{user}/?payload={count}")
                count += 1
                await asyncio.sleep(1 / PUSHES_PER_SECOND)

        pushing = asyncio.create_task(push_on())
        for number in range(1, CLICKS + 1):
            await tab.evaluate("setTimeout(() => document.querySelector('a').click()), null")
            # Not all clicks come faster than the messages.
            await eventually(lambda number=number: count >= number)
            await arrival(tab, f"location.pathname === '/leaf/{number}/' && {wait}")
        is_over.set()
        await pushing
        await tab.wait(f"localStorage.seen.includes(' {count - 1} ')")
        found = (await tab.evaluate("localStorage.seen")).split()
    assert found == [str(number) for number in range(count)]
    assert count >= CLICKS
