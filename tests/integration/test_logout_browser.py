"""A logout in one tab ends the sockets of the session's other tabs, whatever process has them."""

import pytest
from playwright.async_api import expect

from tests.integration.demo import Demo
from tests.integration.visits import Visits, join, say, texts

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.timeout(120, func_only=True),
]

#: Has a page note with which code its sockets closed, and when (milliseconds since the epoch).
NOTE_CLOSES = """
window.closes = [];
window.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("close", ({ code }) => window.closes.push({ code, at: Date.now() }));
  }
};
"""


@pytest.fixture
def demos(tmp_path, valkey):
    """Two processes of one site, each on a port of its own: cookies do not know ports."""
    one = Demo(tmp_path, environment={"REDIS_URL": valkey.url})
    (tmp_path / "other").mkdir()
    other = Demo(
        tmp_path / "other",
        environment={"REDIS_URL": valkey.url, "PM_REALTIME_DEMO_DB": str(one.database)},
    )
    with one, other:
        yield one, other
    assert one.complaints == other.complaints == []


async def closes(page):
    return await page.evaluate("window.closes")


async def test_a_logout_in_one_tab_ends_the_others(browser, demos, record_property):
    one, other = demos
    async with Visits(browser, one, {}) as here, Visits(browser, other, {}) as there:
        tab = await join(await here.open("/support/", "editor"))
        context = tab.context
        await context.add_init_script(NOTE_CLOSES)
        second = await join(await there.tab(context, f"{other.url}/support/"))
        third = await there.open("/support/", "editor")
        await third.context.add_init_script(NOTE_CLOSES)
        await third.reload()
        await join(third)
        admin = await join(await there.open("/support/", "admin"))
        assert await closes(second) == await closes(third) == []

        async with tab.expect_response(lambda answer: answer.request.method == "POST") as logout:
            await tab.get_by_test_id("sign-out").click()
        await second.wait_for_function("window.closes.length")
        [close] = await closes(second)
        assert close["code"] == 4501
        timing = (await logout.value).request.timing
        since_asked = close["at"] - timing["startTime"]
        since_answered = since_asked - timing["responseStart"]
        record_property("milliseconds from the request to the close", since_asked)
        print(
            f"closed {since_asked:.0f} ms after the request, {since_answered:.0f} ms after its end"
        )
        # The page of a busy machine takes its time to ask, and the server to answer.
        assert since_answered < 1000

        await say(admin, "Still here?")
        await expect(texts(third)).to_have_text("Still here?")
        assert await closes(third) == []
        assert [each["code"] for each in await closes(second)] == [4501]
