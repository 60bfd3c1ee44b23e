"""The Vue page of the demo in a real browser, where components share one connection."""

import asyncio

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.integration.accessibility import unreadable
from tests.integration.demo import Demo
from tests.integration.devtools import until
from tests.integration.visits import Visits, join, send_message

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, node_modules):
    environment = {"PM_REALTIME_DEMO_VUE": str(node_modules / "vue" / "dist")}
    with Demo(tmp_path_factory.mktemp("demo"), environment=environment) as demo:
        yield demo
        assert demo.warnings == []


@pytest_asyncio.fixture(loop_scope="module")
async def visits(browser, demo):
    async with Visits(browser, demo, {}) as visits:
        yield visits


class Frames:
    """Records the frames that a tab sends, from its next page on."""

    def __init__(self, page):
        self.sockets = []
        self.sent = []
        page.on("websocket", self._add_socket)

    def _add_socket(self, socket):
        self.sockets.append(socket)
        socket.on("framesent", self._add_frame)

    def _add_frame(self, frame):
        self.sent.append(frame)

    def count(self, type_):
        return sum(f'"type":"{type_}"' in frame for frame in self.sent)


async def open_vue(visits, username="editor"):
    page = await visits.open("/", username)
    frames = Frames(page)
    await page.goto("/vue/")
    return page, frames


def panels(page):
    return page.get_by_test_id("panel")


def texts(panel):
    return panel.get_by_test_id("panel-texts").locator("li")


async def test_components_and_the_page_share_one_socket_and_one_subscription(visits):
    page, frames = await open_vue(visits)
    await expect(page.get_by_test_id("panel-state")).to_have_text(["In the room"] * 2)
    await panels(page).first.get_by_role("button", name="Say hello").click()
    for panel in await panels(page).all():
        await expect(texts(panel)).to_have_text(["Eli Santos: Hello from panel 1"])
        await expect(panel.get_by_test_id("panel-people")).to_have_text("1 here: Eli Santos")
    assert len(frames.sockets) == 1
    assert frames.count("support.send") == 1


async def test_components_show_the_state_of_the_connection(visits, demo):
    page, _ = await open_vue(visits, "admin")
    identity = page.get_by_test_id("identity")
    await expect(identity).to_have_text("User 3, as admin")
    before = await identity.get_attribute("data-connection")
    await page.get_by_role("button", name="Ping").click()
    await expect(page.get_by_test_id("ping")).to_contain_text("ms to the server and back")
    await page.evaluate("window.realtime.disconnect()")
    await expect(page.get_by_test_id("connection")).to_contain_text("Not connected")
    await expect(identity).to_have_text("Nobody")
    await page.evaluate("window.realtime.connect()")
    await expect(identity).to_have_text("User 3, as admin")
    assert await identity.get_attribute("data-connection") not in (before, None)


@pytest.mark.slow
async def test_unmounting_the_last_panel_leaves_the_room(visits):
    page, frames = await open_vue(visits)
    await expect(page.get_by_test_id("panel-state")).to_have_text(["In the room"] * 2)
    close = page.get_by_role("button", name="Close a panel")
    await close.click()
    await expect(panels(page)).to_have_count(1)
    chat = await join(await visits.open("/support/", "admin"))
    await send_message(chat, "One is left")
    await expect(texts(panels(page))).to_have_text(["Ada Lindqvist: One is left"])
    assert frames.count("unsubscribe") == 0
    await close.click()
    await expect(panels(page)).to_have_count(0)
    assert await page.evaluate("window.realtime.rooms") == []
    # The server answers in order, so it has handled all commands before the ping.
    await page.evaluate("window.realtime.ping()")
    assert frames.count("unsubscribe") == 1
    await page.get_by_role("button", name="Open a panel").click()
    await expect(page.get_by_test_id("panel-state")).to_have_text(["In the room"])
    await send_message(chat, "Back again")
    await expect(texts(panels(page))).to_have_text(["Ada Lindqvist: Back again"])
    assert len(frames.sockets) == 1


@pytest.mark.slow
async def test_refused_room_is_reported(visits):
    page, _ = await open_vue(visits, "user")
    refusal = "You may not join this room."
    await expect(page.get_by_test_id("panel-state")).to_have_text([refusal] * 2)
    assert await page.evaluate("window.realtime.rooms") == []


@pytest.mark.slow
async def test_page_is_accessible_on_every_screen(visits):
    page, _ = await open_vue(visits)
    await expect(page.get_by_test_id("panel-state")).to_have_text(["In the room"] * 2)
    assert await unreadable(page) == {}


async def test_every_component_shows_a_logout(visits):
    page, _ = await open_vue(visits, "master")
    await expect(page.get_by_test_id("identity")).to_have_text("User 4, as master")
    other = await visits.tab(page.context, "/")
    await asyncio.gather(
        other.get_by_test_id("sign-out").click(),
        expect(page.get_by_test_id("identity")).to_have_text("Nobody"),
    )


async def is_one_socket(page):
    stats = await (await page.request.get("/stats/")).json()
    return stats["totalConnections"] == 1


async def in_the_room(page, count=2):
    await expect(page.get_by_test_id("panel-state")).to_have_text(["In the room"] * count)
    return await page.get_by_test_id("identity").get_attribute("data-connection")


@pytest.mark.slow
async def test_tag_components_and_two_tabs_share_one_socket_that_is_handed_over(
    browser, tmp_path, node_modules
):
    environment = {
        "PM_REALTIME_DEMO_VUE": str(node_modules / "vue" / "dist"),
        "DJANGO_SETTINGS_MODULE": "tests.site.demo_settings",
    }
    with Demo(tmp_path, environment=environment) as demo:
        async with Visits(browser, demo, {}) as visits:
            first = await visits.open("/vue/", "editor")
            connection = await in_the_room(first)
            other = await visits.tab(first.context, "/vue/")
            assert await in_the_room(other) == connection
            # The connection with which the second tab asked for its user is closing.
            await until(lambda: is_one_socket(other), "one socket")

            hello = "Eli Santos: Hello from panel 2"
            await panels(first).last.get_by_role("button", name="Say hello").click()
            for panel in [*await panels(first).all(), *await panels(other).all()]:
                await expect(texts(panel)).to_have_text([hello])

            close = other.get_by_role("button", name="Close a panel")
            await close.click()
            await close.click()
            await expect(panels(other)).to_have_count(0)
            assert await other.evaluate("window.realtime.rooms") == []
            await panels(first).last.get_by_role("button", name="Say hello").click()
            await expect(texts(panels(first).first)).to_have_text([hello] * 2)
            await other.get_by_role("button", name="Open a panel").click()
            await in_the_room(other, 1)
            await expect(texts(panels(other))).to_have_count(0)

            await first.close()
            identity = other.get_by_test_id("identity")
            await expect(identity).not_to_have_attribute("data-connection", connection)
            await expect(identity).to_have_text("User 2, as editor")
            await in_the_room(other, 1)
            await panels(other).get_by_role("button", name="Say hello").click()
            await expect(texts(panels(other))).to_have_text(["Eli Santos: Hello from panel 3"])
            await until(lambda: is_one_socket(other), "one socket")
        assert demo.warnings == []


async def test_page_without_vue_explains_how_to_install_it(browser, tmp_path):
    environment = {"PM_REALTIME_DEMO_VUE": str(tmp_path / "nowhere")}
    with Demo(tmp_path, environment=environment) as demo:
        async with Visits(browser, demo, {}) as visits:
            page = await visits.open("/vue/", "editor")
            await expect(page.get_by_test_id("no-vue")).to_contain_text("npm install")
            await expect(panels(page)).to_have_count(0)
        assert demo.warnings == []
