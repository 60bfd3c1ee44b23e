"""Windows of the demo that show each other who is in the room and who is typing."""

import re

import pytest
from playwright.async_api import expect

from tests.integration.accessibility import unreadable
from tests.integration.visits import join, notice, send_message

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 760}
TYPING_TTL_MS = 6_000


async def open_window(visits, username, size=DESKTOP):
    page = await visits.open("/support/", username)
    await page.set_viewport_size(size)
    return await join(page)


def count(page):
    return page.get_by_test_id("present-count")


def faces(page):
    return page.get_by_test_id("present-faces").locator(".avatar")


def typing(page):
    return page.get_by_test_id("typing")


async def leave(page):
    """Leave the room, as opposed to a closed tab, whose user stays for the grace."""
    await page.evaluate("realtime.unsubscribe('support')")


async def test_desktop_and_phone_show_each_other_and_who_is_typing(visits):
    editor = await open_window(visits, "editor", DESKTOP)
    await expect(count(editor)).to_have_text("Only you are here")
    admin = await open_window(visits, "admin", PHONE)
    for page, size in (editor, DESKTOP), (admin, PHONE):
        await expect(count(page)).to_have_text("2 people here")
        await expect(faces(page)).to_have_text(["ES", "AL"])
        for part in count(page), faces(page).last:
            await expect(part).to_be_in_viewport()
        assert await page.evaluate("document.documentElement.scrollWidth") == size["width"]
    await expect(editor.get_by_test_id("came-and-went")).to_have_text("Ada Lindqvist is here")

    for writer, name, reader in (admin, "Ada Lindqvist", editor), (editor, "Eli Santos", admin):
        await writer.get_by_test_id("message-input").press_sequentially("On it")
        await expect(typing(reader)).to_have_text(f"{name} is typing")
        await expect(typing(reader)).to_be_in_viewport()
        await expect(typing(writer)).to_have_text("")
        await writer.get_by_test_id("message-input").press("Enter")
        await expect(typing(reader)).to_have_text("")

    await leave(admin)
    await expect(count(editor)).to_have_text("Only you are here")
    await expect(editor.get_by_test_id("came-and-went")).to_have_text("Ada Lindqvist has left")
    await expect(admin.get_by_test_id("present")).to_be_hidden()
    await leave(editor)


async def test_list_has_names_and_roles_and_closes_with_the_keyboard(visits):
    editor = await open_window(visits, "editor")
    admin = await open_window(visits, "admin")
    await expect(count(editor)).to_have_text("2 people here")
    summary = editor.locator("summary")
    await expect(summary).to_have_accessible_name("2 people here")
    await summary.focus()
    await editor.keyboard.press("Enter")
    people = editor.get_by_test_id("present-person")
    await expect(people).to_contain_text(["Eli Santos (you)editor", "Ada Lindqvistadmin"])
    await admin.get_by_test_id("message-input").fill("Half a")
    await expect(people.last).to_contain_text("typing")
    await expect(typing(editor)).to_have_text("Ada Lindqvist is typing")
    assert await unreadable(editor) == {}
    await editor.keyboard.press("Escape")
    await expect(people.last).to_be_hidden()
    await expect(summary).to_be_focused()
    await summary.click()
    await editor.get_by_role("log").click()
    await expect(people.last).to_be_hidden()
    for page in editor, admin:
        await leave(page)


@pytest.mark.slow
async def test_second_tab_and_a_reload_change_nothing_for_the_others(visits):
    admin = await open_window(visits, "admin")
    editor = await open_window(visits, "editor")
    await expect(count(admin)).to_have_text("2 people here")
    said = admin.get_by_test_id("came-and-went")
    await said.evaluate("element => { element.textContent = 'nothing' }")
    second = await join(await visits.tab(editor.context, "/support/"))
    await expect(count(second)).to_have_text("2 people here")
    await editor.reload()
    await join(editor)
    await second.close()
    await send_message(editor, "Still here")
    await expect(admin.get_by_test_id("message-text").last).to_have_text("Still here")
    await expect(count(admin)).to_have_text("2 people here")
    await expect(said).to_have_text("nothing")
    for page in editor, admin:
        await leave(page)


@pytest.mark.slow
async def test_people_whose_info_could_not_be_read_are_shown(visits):
    page = await visits.open("/support/", "editor")
    await page.route_web_socket(re.compile("/api/ws"), without_info)
    await page.reload()
    await join(page)
    admin = await open_window(visits, "admin")
    await expect(faces(page)).to_have_text(["S", "S"])
    await expect(page.get_by_test_id("came-and-went")).to_have_text("Somebody is here")
    await admin.get_by_test_id("message-input").press_sequentially("Hm")
    await expect(typing(page)).to_have_text("Somebody is typing")
    for each in page, admin:
        await leave(each)


def without_info(socket):
    """Pass all on, but nothing that is said of the members."""
    server = socket.connect_to_server()
    server.on_message(lambda text: socket.send(re.sub(r'"info":{[^}]*}', '"info":{}', text)))


@pytest.mark.slow
async def test_nobody_is_typing_for_those_who_have_lost_the_connection(visits):
    sockets, is_down = [], False

    async def connect(socket):
        if is_down:
            await socket.close(code=1012)
        else:
            sockets.append((socket, socket.connect_to_server()))

    editor = await visits.open("/support/", "editor")
    await editor.route_web_socket(re.compile("/api/ws"), connect)
    await editor.reload()
    await join(editor)
    admin = await open_window(visits, "admin")
    await admin.get_by_test_id("message-input").press_sequentially("Hm")
    await expect(typing(editor)).to_have_text("Ada Lindqvist is typing")
    is_down = True
    for end in sockets[-1]:
        await end.close(code=1012)
    await expect(typing(editor)).to_have_text("", timeout=TYPING_TTL_MS / 2)
    await expect(count(editor)).to_have_text("2 people here")
    is_down = False
    await editor.evaluate("realtime.connect()")
    await expect(editor.get_by_test_id("message-input")).to_be_enabled()
    for page in editor, admin:
        await leave(page)


@pytest.mark.slow
async def test_refused_user_sees_nobody_and_is_not_seen(visits):
    editor = await open_window(visits, "editor")
    user = await visits.open("/support/", "user")
    await expect(notice(user, "forbidden")).to_be_visible()
    await expect(user.get_by_test_id("present")).to_be_hidden()
    await expect(count(editor)).to_have_text("Only you are here")
    await leave(editor)
