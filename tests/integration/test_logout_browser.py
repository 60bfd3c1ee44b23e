"""A logout in one tab closes the sockets of the session's other tabs in all processes."""

import pytest
from playwright.async_api import expect

from tests.integration.demo import Demo
from tests.integration.visits import Visits, join, send_message, texts

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.timeout(120, func_only=True),
]

#: Milliseconds from the answer to the logout to the close, on a busy machine.
MAX_DELAY_MS = 1000
#: Makes a page record code and time (milliseconds since the epoch) of the closes of its sockets.
RECORD_CLOSES = """
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
    """Two processes of one site on ports of their own; cookies are for all ports."""
    one = Demo(tmp_path, environment={"REDIS_URL": valkey.url})
    (tmp_path / "other").mkdir()
    other = Demo(
        tmp_path / "other",
        environment={"REDIS_URL": valkey.url, "PM_REALTIME_DEMO_DB": str(one.database)},
    )
    with one, other:
        yield one, other
    assert one.warnings == other.warnings == []


async def closes(page):
    return await page.evaluate("window.closes")


async def test_logout_in_one_tab_closes_the_sockets_of_others(browser, demos, record_property):
    one, other = demos
    async with Visits(browser, one, {}) as here, Visits(browser, other, {}) as there:
        tab = await join(await here.open("/support/", "editor"))
        context = tab.context
        await context.add_init_script(RECORD_CLOSES)
        second = await join(await there.tab(context, f"{other.url}/support/"))
        third = await there.open("/support/", "editor")
        await third.context.add_init_script(RECORD_CLOSES)
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
        after_request = close["at"] - timing["startTime"]
        after_answer = after_request - timing["responseStart"]
        record_property("milliseconds from the request to the close", after_request)
        print(f"closed {after_request:.0f} ms after the request, {after_answer:.0f} of its answer")
        # From the answer on, as a busy machine may take long to answer.
        assert after_answer < MAX_DELAY_MS

        await send_message(admin, "Still here?")
        await expect(texts(third)).to_have_text("Still here?")
        assert await closes(third) == []
        assert [each["code"] for each in await closes(second)] == [4501]
