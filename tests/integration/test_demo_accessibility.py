"""The demo with the keyboard, for screen readers, and in both colour schemes."""

import pytest
from playwright.async_api import expect

from tests.integration.accessibility import (
    ROLES_THAT_NEED_A_NAME,
    first_in_tab_order,
    nodes,
    tab_to,
    unreadable,
)
from tests.integration.visits import join, notice, send_message, status, texts

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]


async def test_demo_works_with_the_keyboard(visits, demo):
    page = await visits.open("/login/")
    person = demo.people["editor"]
    await tab_to(page, page.get_by_label("Username"))
    await page.keyboard.type(person.username)
    await page.keyboard.press("Tab")
    await page.keyboard.type(person.password)
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", level=1)).to_have_text("Hello, Eli")
    await expect(status(page)).to_have_attribute("data-state", "connected")
    # While a page loads, the browser sets the focus to the target of the skip link.
    await page.wait_for_load_state("load")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Support chat")).to_be_focused()
    await page.keyboard.press("Enter")

    await join(page)
    await tab_to(page, page.get_by_role("textbox", name="Message to the support room"))
    await page.keyboard.type("Line one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("line two")
    await page.keyboard.press("Enter")
    await expect(texts(page)).to_have_text("Line one\nline two", use_inner_text=True)
    await expect(page.get_by_role("textbox")).to_be_focused()


PAGES = [
    (None, "/login/"),
    (None, "/contact/"),
    ("editor", "/"),
    ("editor", "/support/"),
    ("editor", "/vue/"),
    ("user", "/support/"),
    ("user", "/notifications/"),
    ("master", "/"),
    ("master", "/notifications/"),
]


@pytest.mark.parametrize(("username", "path"), PAGES)
async def test_every_page_is_accessible(visits, username, path):
    if (username, path) == ("user", "/notifications/"):
        visits.expect_console_error("403")
    page = await visits.open(path, username)
    if path == "/support/":
        if username == "editor":
            await join(page)
            await send_message(page, "https://example.com/" + "a" * 200)
            await expect(texts(page)).to_have_count(1)
        else:
            await expect(notice(page, "forbidden")).to_be_visible()
    for role in "banner", "main", "contentinfo":
        await expect(page.get_by_role(role)).to_have_count(
            0 if role == "contentinfo" and path == "/support/" else 1
        )
    await expect(page.get_by_role("navigation", name="Main")).to_have_count(1)
    await expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert await first_in_tab_order(page) == "Skip to content"
    tree = await nodes(page)
    assert {role for role, name, _ in tree if not name} & ROLES_THAT_NEED_A_NAME == set()
    live = {name: properties.get("live") for role, name, properties in tree if role == "log"}
    logs = {"/support/": {"Messages"}, "/notifications/": {"Arriving here"}}
    expected = set() if username == "user" else logs.get(path, set())
    assert live == dict.fromkeys(expected, "polite")
    assert await unreadable(page) == {}


async def test_colors_follow_the_color_scheme(visits):
    page = await visits.open("/login/")
    await page.emulate_media(color_scheme="dark")
    brightness = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(await page.evaluate(brightness)) < 64
    await page.emulate_media(color_scheme="light")
    assert min(await page.evaluate(brightness)) > 192
