"""The demo in real browsers."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.integration.accessibility import unreadable
from tests.integration.demo import Demo
from tests.integration.visits import (
    Visits,
    all_texts,
    cards,
    join,
    notice,
    send_message,
    status,
    texts,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]

RECONNECT_TIMEOUT_MS = 40_000
#: The limit is 60 a minute, and one more for each second of the test.
MAX_MESSAGES_UNTIL_LIMIT = 120
MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b> &amp; <script>alert(1)</script>"


async def open_support_room(visits, *usernames):
    pages = await asyncio.gather(*(visits.open("/support/", name) for name in usernames))
    return await asyncio.gather(*map(join, pages))


async def test_printed_credentials_sign_in(visits, demo):
    assert demo.url == f"http://127.0.0.1:{demo.port}"
    assert list(demo.people) == ["user", "editor", "admin", "master"]
    pages = await asyncio.gather(*(visits.open("/", username) for username in demo.people))
    for page, person in zip(pages, demo.people.values(), strict=True):
        await expect(page.get_by_test_id("who")).to_have_text(person.full_name)
        await expect(page.get_by_test_id("role")).to_have_text(person.role)


async def test_one_click_fills_in_the_login_form_and_signing_out_works(visits, demo):
    page = await visits.open("/support/")
    await page.get_by_test_id("fill-editor").click()
    await page.keyboard.press("Enter")
    await join(page)
    await page.get_by_test_id("sign-out").click()
    await expect(page.get_by_test_id("login-form")).to_be_visible()
    await page.goto("/support/")
    await expect(page).to_have_url(f"{demo.url}/login/?next=/support/")


async def test_wrong_password_shows_an_error(visits):
    page = await visits.open("/login/")
    await page.get_by_label("Username").fill("editor")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_test_id("login-button").click()
    await expect(page.get_by_role("alert")).to_contain_text("correct username and password")


async def test_chat_message_appears_in_another_browser(visits, demo):
    editor, admin = await open_support_room(visits, "editor", "admin")
    await send_message(editor, "Good morning")
    for page, name, is_own in (editor, "You", "true"), (admin, "Eli Santos", "false"):
        message = page.locator('[data-testid="message"]:not([data-earlier])')
        await expect(message).to_have_attribute("data-mine", is_own)
        await expect(message.get_by_test_id("message-from")).to_have_text(name)
        await expect(message.get_by_test_id("message-text")).to_have_text("Good morning")
    await admin.get_by_test_id("message-input").fill("And to you")
    await admin.get_by_test_id("send-button").click()
    for page, names in (
        (editor, ["You", demo.people["admin"].full_name]),
        (admin, [demo.people["editor"].full_name, "You"]),
    ):
        await expect(texts(page)).to_have_text(["Good morning", "And to you"])
        senders = page.locator("[data-testid=message]:not([data-earlier])")
        await expect(senders.get_by_test_id("message-from")).to_have_text(names)
    await expect(editor.get_by_test_id("message-input")).to_have_value("")


async def test_contact_form_of_an_anonymous_visitor_appears_in_the_support_room(visits):
    editor, admin = await open_support_room(visits, "editor", "admin")
    visitor = await visits.open("/contact/")
    await visitor.get_by_label("Name").fill("Ann Visitor")
    await visitor.get_by_label("Email").fill("ann@example.com")
    await visitor.get_by_label("Subject").fill("My order")
    await visitor.get_by_label("Message").fill("It has not arrived.")
    await visitor.get_by_test_id("contact-submit").click()
    await expect(visitor.get_by_test_id("feedback")).to_contain_text("Thank you")
    for page in editor, admin:
        card = cards(page)
        await expect(card).to_have_count(1)
        for words in "My order", "It has not arrived.", "From Ann Visitor":
            await expect(card).to_contain_text(words)


async def test_invalid_contact_form_shows_errors_and_sends_nothing(visits):
    [editor] = await open_support_room(visits, "editor")
    visits.expect_console_error("422")
    visitor = await visits.open("/contact/")
    await visitor.get_by_test_id("contact-form").evaluate("form => { form.noValidate = true }")
    await visitor.get_by_label("Email").fill("nobody")
    await visitor.get_by_test_id("contact-submit").click()
    await expect(visitor.get_by_test_id("form-error")).to_be_visible()
    await expect(visitor.get_by_label("Email")).to_have_attribute("aria-invalid", "true")
    await expect(visitor.get_by_label("Email")).to_have_accessible_description(
        "Enter a valid email address."
    )
    await send_message(editor, "After it")
    await expect(texts(editor)).to_have_text("After it")
    await expect(cards(editor)).to_have_count(0)


async def test_support_room_is_forbidden_to_a_user(visits):
    [editor] = await open_support_room(visits, "editor")
    user = await visits.open("/support/", "user")
    forbidden = notice(user, "forbidden")
    await expect(forbidden).to_contain_text("The support room is for editors and above")
    await expect(forbidden).to_contain_text("FORBIDDEN")
    await expect(user.get_by_role("textbox")).to_have_count(0)
    await expect(user.get_by_test_id("message-input")).to_be_disabled()
    await send_message(editor, "Among us")
    await expect(texts(editor)).to_have_text("Among us")
    await expect(texts(user)).to_have_count(0)
    await forbidden.get_by_role("link", name="Write to support").click()
    await expect(user.get_by_label("Name")).to_have_value("Uma Okafor")


async def notify(page, target, value, title):
    """Send a notification of a kind that stays on the screen until it is closed."""
    labels = {"user": "Person", "room": "Room", "role": "Role"}
    form = page.get_by_test_id("send-form")
    await form.get_by_role("radio", name=f"A {labels[target].lower()}").check()
    field = form.get_by_label(labels[target], exact=True)
    await (field.fill(value) if target == "room" else field.select_option(label=value))
    await form.get_by_label("Kind").select_option(label="Error")
    await form.get_by_label("Title").fill(title)
    await page.get_by_test_id("send-notification").click()


async def test_notification_reaches_its_target_and_no_other_user(visits):
    user = await visits.open("/", "user")
    editor, master = await open_support_room(visits, "editor", "master")
    admin = await visits.open("/notifications/", "admin")
    await expect(admin.get_by_test_id("rooms")).to_contain_text("admin:notifications")
    for target, value, title, answer in (
        ("user", "Eli Santos (editor)", "To Eli", "Sent to Eli Santos (editor)."),
        ("room", "support", "To the room", "Sent to the room support."),
        ("role", "Admin", "To admins", "Sent to everyone with the role admin or higher."),
        ("role", "User", "To all", "Sent to everyone with the role user or higher."),
    ):
        await notify(admin, target, value, title)
        await expect(admin.get_by_test_id("send-result")).to_have_text(answer)
    # Messages arrive in order, so the last one has no other behind it.
    for page, titles in (
        (user, ["To all"]),
        (editor, ["To Eli", "To the room", "To all"]),
        (admin, ["To admins", "To all"]),
        (master, ["To the room", "To admins", "To all"]),
    ):
        await expect(page.get_by_test_id("toast")).to_have_text(titles)
    items = admin.get_by_test_id("notification")
    await expect(items).to_contain_text(["To all", "To admins"])
    await admin.reload()
    await expect(items).to_contain_text(["To all", "To admins"])
    await user.get_by_role("button", name="Dismiss: To all").click()
    await expect(user.get_by_test_id("toast")).to_have_count(0)


async def test_invalid_notification_shows_errors_at_the_fields(visits):
    visits.expect_console_error("422")
    admin = await visits.open("/notifications/", "admin")
    await admin.get_by_test_id("send-notification").click()
    await expect(admin.get_by_label("Person", exact=True)).to_have_accessible_description(
        "Reaches every tab that person has open. Choose a person."
    )
    await expect(admin.get_by_label("Title")).to_have_attribute("aria-invalid", "true")
    await expect(admin.get_by_test_id("send-result")).to_contain_text("Not sent")


@pytest.mark.parametrize(("username", "status"), [("user", 403), ("editor", 403), ("admin", 200)])
async def test_only_admins_can_send_a_notification(visits, demo, username, status):
    if status == 403:
        visits.expect_console_error("403")
    page = await visits.open("/notifications/", username)
    cookies = {cookie["name"]: cookie["value"] for cookie in await page.context.cookies()}
    answer = await page.context.request.post(
        "/notifications/send/",
        form={"target": "role", "role": "user", "type": "info", "title": "Mine"},
        headers={"X-CSRFToken": cookies["csrftoken"]},
    )
    assert answer.status == status
    assert ("Notifications are for admins and above" in await answer.text()) == (status == 403)
    if status == 403:
        await expect(page.get_by_test_id("forbidden")).to_contain_text(f"the role {username}")
        await expect(page.get_by_role("link", name="Notifications")).to_have_count(0)
        await expect(page.get_by_test_id("toast")).to_have_count(0)
    else:
        await expect(page.get_by_test_id("toast")).to_contain_text("Mine")


async def test_markup_in_messages_stays_text(visits):
    editor, admin = await open_support_room(visits, "editor", "admin")
    await send_message(admin, MARKUP)
    visitor = await visits.open("/contact/")
    for label in "Name", "Subject", "Message":
        await visitor.get_by_label(label).fill(MARKUP)
    await visitor.get_by_label("Email").fill("ann@example.com")
    await visitor.get_by_test_id("contact-submit").click()
    await expect(visitor.get_by_test_id("feedback")).to_be_visible()
    await admin.goto("/notifications/")
    await notify(admin, "user", "Eli Santos (editor)", MARKUP)
    card = cards(editor)
    await expect(texts(editor)).to_have_text(MARKUP)
    await expect(card.locator(".contact-card-subject")).to_have_text(MARKUP)
    await expect(card.locator(".contact-card-excerpt")).to_have_text(MARKUP)
    await expect(card.locator(".contact-card-from")).to_have_text(f"From {MARKUP}")
    await expect(editor.get_by_test_id("toast")).to_have_text(MARKUP)
    await editor.reload()
    await expect(all_texts(editor).last).to_have_text(MARKUP)
    await expect(editor.locator("main :is(img, b, script)")).to_have_count(0)
    await expect(editor).to_have_title("Support chat · Helpdesk")


async def test_page_reconnects_when_the_server_is_back(browser, tmp_path):
    demo = Demo(tmp_path)
    await asyncio.to_thread(demo.start)
    try:
        async with Visits(browser, demo, {}) as visits:
            visits.expect_console_error("WebSocket connection to .* failed")
            [editor] = await open_support_room(visits, "editor")
            await send_message(editor, "Before")
            await expect(texts(editor)).to_have_text("Before")
            waiting = editor.get_by_test_id("waiting")
            await expect(waiting).to_have_count(0)  # Its answer comes after the message.

            demo.kill()
            disconnected = notice(editor, "connection")
            await expect(disconnected).to_contain_text("Disconnected, trying again")
            await expect(status(editor)).to_contain_text("Trying again in")
            visible = await editor.locator("body").inner_text()
            assert len(re.findall("disconnected", visible, re.IGNORECASE)) == 1
            await send_message(editor, "First while away")
            await send_message(editor, "Second while away")
            await expect(waiting).to_have_text(
                ["Not sent yetFirst while away", "Not sent yetSecond while away"]
            )
            await editor.get_by_test_id("message-input").fill("Half a sent")

            await asyncio.to_thread(demo.start)
            await expect(status(editor)).to_have_attribute(
                "data-state", "connected", timeout=RECONNECT_TIMEOUT_MS
            )
            await join(editor)
            await expect(disconnected).to_have_count(0)
            # The restart has emptied the memory, and nobody knows what was sent meanwhile.
            await expect(notice(editor, "gap")).to_contain_text("You may have missed something")
            await expect(editor.get_by_test_id("event-line")).to_contain_text("may be missing here")
            for width in (320, 1280):
                await editor.set_viewport_size({"width": width, "height": 800})
                assert await editor.evaluate("document.documentElement.scrollWidth") == width
                await expect(editor.get_by_test_id("message-input")).to_be_in_viewport()
            assert await unreadable(editor) == {}
            await editor.get_by_role("button", name="Close").click()
            await expect(notice(editor, "gap")).to_have_count(0)
            await expect(editor.get_by_test_id("message-input")).to_have_value("Half a sent")
            await expect(waiting).to_have_count(0)
            other = await join(await visits.tab(editor.context, "/support/"))
            await send_message(other, "After")
            sent = ["Before", "First while away", "Second while away", "After"]
            await expect(texts(editor)).to_have_text(sent)
    finally:
        demo.stop()
    assert demo.warnings == []


async def test_six_tabs_share_one_connection(visits):
    [first] = await open_support_room(visits, "editor")
    tabs = [await visits.tab(first.context, "/support/") for _ in range(5)]
    await asyncio.gather(*map(join, tabs))
    await send_message(first, "To all of you")
    for page in first, *tabs:
        await expect(texts(page)).to_have_text("To all of you")
        await expect(status(page)).to_have_attribute("data-state", "connected")


async def test_sixth_browser_replaces_the_first_one_which_can_reconnect(visits):
    first = await join(await visits.browser_of("editor", "/support/"))
    second, *_ = [await visits.browser_of("editor") for _ in range(5)]
    await expect(status(first)).to_have_attribute("data-state", "replaced")
    replaced = notice(first, "connection")
    await expect(replaced).to_contain_text("This tab was disconnected")
    await expect(first.get_by_test_id("message-input")).to_be_disabled()
    await expect(status(second)).to_have_attribute("data-state", "connected")
    await replaced.get_by_role("button", name="Use here").click()
    await join(first)
    await expect(replaced).to_have_count(0)
    await expect(first.get_by_test_id("message-input")).to_be_enabled()
    await expect(status(second)).to_have_attribute("data-state", "replaced")
    [admin] = await open_support_room(visits, "admin")
    await send_message(admin, "Welcome back")
    await expect(texts(first)).to_have_text("Welcome back")


async def test_logout_in_another_tab_takes_the_user_out_of_the_header(visits):
    page = await join(await visits.browser_of("editor", "/support/"))
    await expect(page.get_by_test_id("who")).to_have_text("Eli Santos")
    other = await visits.tab(page.context)
    await other.get_by_test_id("sign-out").click()
    await expect(status(page)).to_have_attribute("data-state", "signed-out")
    await expect(notice(page, "connection")).to_contain_text("You are signed out")
    header = page.get_by_role("banner")
    await expect(header).not_to_contain_text("Eli Santos")
    await expect(page.get_by_test_id("sign-out")).to_have_count(0)
    await expect(header.get_by_role("link", name="Sign in")).to_be_visible()


async def test_page_that_comes_back_without_its_session_says_so(visits):
    """As a page in the browser's history does after a logout."""
    page = await visits.browser_of("editor")
    await page.context.clear_cookies()
    await page.evaluate(
        """() => {
          window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
          window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
        }"""
    )
    await expect(status(page)).to_have_attribute("data-state", "signed-out")
    await expect(page.get_by_role("banner")).not_to_contain_text("Eli Santos")


async def test_person_has_one_color_everywhere(visits, demo):
    editor, admin = await open_support_room(visits, "editor", "admin")
    login = await visits.open("/login/")
    for page, other in (editor, "admin"), (admin, "editor"):
        await send_message(page, f"From {other}'s colleague")
    for page, name in (editor, "admin"), (admin, "editor"):
        seen = page.locator(".message .avatar").first
        known = login.get_by_test_id(f"fill-{name}").locator(".avatar")
        for read in "element => element.className", "element => element.textContent":
            assert await seen.evaluate(read) == await known.evaluate(read)


@pytest.mark.parametrize("width", [1280, 390, 320])
async def test_nothing_covers_or_leaves_its_place(visits, width):
    master = await visits.open("/notifications/", "master")
    size = {"width": width, "height": 800}
    await master.set_viewport_size(size)
    await notify(master, "role", "User", "A title that is long enough for two lines on a phone")
    await master.evaluate("scrollTo(0, 0)")
    toast = await box(master.get_by_test_id("toast"))
    for covered in status(master), master.get_by_role("heading", level=1):
        assert not overlap(toast, await box(covered))
    header = await box(master.locator(".site-header-row"))
    for inside in master.locator("[aria-current]"), master.get_by_test_id("who"):
        found = await box(inside)
        assert found["width"] > 0
        assert header["x"] <= found["x"]
        assert found["x"] + found["width"] <= header["x"] + header["width"]
    assert await master.evaluate("document.documentElement.scrollWidth") == width
    user = await visits.open("/support/", "user")
    await user.set_viewport_size(size)
    await user.goto("/contact/")
    for label in "Subject", "Message":
        await user.get_by_label(label).fill("Text")
    await user.get_by_test_id("contact-submit").click()
    feedback = user.get_by_test_id("feedback")
    icon, text = await box(feedback.locator(".icon")), await box(feedback.locator(".notice-text"))
    assert text["y"] <= icon["y"] + icon["height"] / 2 <= text["y"] + text["height"]
    assert text["x"] >= icon["x"] + icon["width"]


async def box(locator):
    found = await locator.bounding_box()
    assert found is not None
    return found


def overlap(one, other):
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


async def test_vue_card_promises_a_user_no_room(visits):
    user = await visits.open("/", "user")
    card = user.locator(".tile", has=user.get_by_role("link", name="Vue"))
    await expect(card).to_contain_text("The room is not for your role")
    await expect(card).not_to_contain_text("Open to")


async def test_page_that_is_being_left_does_not_say_disconnected(visits):
    """Firefox closes the socket when a navigation begins, also where the page lives on."""
    [editor] = await open_support_room(visits, "editor")
    await editor.evaluate(
        """() => {
          window.dispatchEvent(new Event("beforeunload"));
          window.dispatchEvent(new Event("pagehide"));
        }"""
    )
    await expect(editor.get_by_test_id("chat")).to_have_attribute("data-joined", "false")
    await editor.wait_for_timeout(1500)
    await expect(status(editor)).to_have_attribute("data-state", "connected")
    await expect(notice(editor, "connection")).to_have_count(0)


async def test_page_shows_the_last_messages_of_the_room(visits):
    editor, admin = await open_support_room(visits, "editor", "admin")
    await send_message(editor, "One")
    await expect(texts(admin)).to_have_text("One")
    await write_to_support(visits, "Where is my parcel?")
    await expect(cards(admin)).to_have_count(1)
    await send_message(admin, "Two")
    await expect(texts(editor)).to_have_text(["One", "Two"])
    await editor.reload()
    other = await visits.browser_of("master", "/support/")
    for page, names in (
        (editor, ["You", "Ada Lindqvist"]),
        (other, ["Eli Santos", "Ada Lindqvist"]),
    ):
        await join(page)
        await expect(all_texts(page).last).to_have_text("Two")
        assert (await all_texts(page).all_text_contents())[-2:] == ["One", "Two"]
        assert (await page.get_by_test_id("message-from").all_text_contents())[-2:] == names
        await expect(page.get_by_test_id("contact-card").last).to_contain_text("parcel")
        await expect(page.get_by_test_id("message-list").locator("li").last).to_be_in_viewport()
        await expect(page.get_by_role("log")).not_to_have_attribute("aria-busy", "true")
    await send_message(admin, "Three")
    for page in editor, other:
        await expect(texts(page)).to_have_text("Three")
        assert (await all_texts(page).all_text_contents())[-3:] == ["One", "Two", "Three"]


async def test_solved_messages_are_shown_in_every_tab_and_after_a_reload(visits):
    editor, admin = await open_support_room(visits, "editor", "admin")
    await send_message(editor, "The printer has no toner")
    await expect(texts(admin)).to_have_text("The printer has no toner")
    await write_to_support(visits, "My invoice")
    await expect(cards(admin)).to_have_count(1)
    message = '[data-testid="message"]:not([data-earlier])'
    await admin.locator(message).hover()
    await admin.locator(message).get_by_role("button", name="Mark as solved").click()
    await cards(admin).get_by_role("button", name="Mark as solved").click()
    other = await visits.browser_of("editor", "/support/")
    await editor.reload()
    for page in admin, editor, other:
        await join(page)
        for item in page.get_by_test_id("message"), page.get_by_test_id("contact-card"):
            solved = item.last.get_by_test_id("solved-by")
            await expect(solved).to_have_text("Solved by Ada Lindqvist")
    assert await unreadable(other) == {}
    await other.get_by_test_id("contact-card").last.get_by_role("button").click()
    for page in editor, other:
        last = page.get_by_test_id("contact-card").last
        await expect(last.get_by_test_id("solved-by")).to_be_hidden()
        await expect(last.get_by_role("button")).to_have_text("Mark as solved")


async def test_page_shows_fifty_messages_at_most(visits):
    [admin] = await open_support_room(visits, "admin")
    for number in range(52):
        await write_to_support(visits, f"Request {number}")
    await expect(cards(admin)).to_have_count(52)
    await admin.reload()
    cards_before = admin.get_by_test_id("contact-card")
    await expect(cards_before.last).to_contain_text("Request 51")
    await expect(cards_before).to_have_count(50)
    await expect(cards_before.first).to_contain_text("Request 2")


async def test_break_leaves_no_gap_and_doubles_nothing(browser, demo):
    async with Visits(browser, demo, {}) as visits:
        visits.expect_console_error("ERR_INTERNET_DISCONNECTED|WebSocket connection to .* failed")
        editor, admin = await open_support_room(visits, "editor", "admin")
        await send_message(admin, "Before")
        await expect(texts(editor)).to_have_text("Before")
        await editor.evaluate("realtime.disconnect()")
        await expect(editor.get_by_test_id("chat")).to_have_attribute("data-joined", "false")
        await send_message(admin, "While away")
        await write_to_support(visits, "Hello?")
        await expect(cards(admin)).to_have_count(1)
        await editor.evaluate("realtime.connect()")
        await join(editor)
        await send_message(admin, "After")
        await expect(texts(editor)).to_have_text(["Before", "While away", "After"])
        await expect(cards(editor)).to_have_count(1)
        await expect(notice(editor, "gap")).to_have_count(0)
        await expect(editor.get_by_test_id("event-line")).to_have_count(0)


async def write_to_support(visits, subject):
    """Send the contact form without opening its page, which takes less time."""
    request = (await visits.anonymous()).request
    await request.get("/contact/")
    [token] = [
        each["value"]
        for each in (await request.storage_state())["cookies"]
        if each["name"] == "csrftoken"
    ]
    answer = await request.post(
        "/contact/",
        form={
            "name": "Ann Visitor",
            "email": "ann@example.com",
            "subject": subject,
            "body": "Please answer.",
            "csrfmiddlewaretoken": token,
        },
    )
    assert answer.ok


async def test_rate_limit_shows_an_error_and_keeps_the_text(visits):
    """The last test, as the rate of its user is used up."""
    master, admin = await open_support_room(visits, "master", "admin")
    slow = notice(master, "slow-down")
    for number in range(MAX_MESSAGES_UNTIL_LIMIT):
        await send_message(master, f"Message {number}")
        await expect(texts(master).nth(number).or_(slow)).to_be_visible()
        if await slow.is_visible():
            break
    await expect(slow).to_contain_text("Slow down: you can send again in")
    await expect(slow).to_contain_text("Your text is kept")
    await expect(master.get_by_test_id("message-input")).to_have_value(f"Message {number}")
    await expect(master.get_by_test_id("send-button")).to_be_disabled()
    await send_message(admin, "Take your time")
    sent = [f"Message {each}" for each in range(number)]
    for page in master, admin:
        await expect(texts(page)).to_have_text([*sent, "Take your time"])
