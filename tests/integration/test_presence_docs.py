"""A new Django project with the code of docs/presence.md does what the page says."""

import re

import pytest
from playwright.async_api import expect

from tests.integration.docs_project import make_project
from tests.support.node import ROOT

PAGE = (ROOT / "docs" / "presence.md").read_text()
BLOCKS = re.findall(r"<!-- (\w+): (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)

URLS = """
from django.shortcuts import render
from django.urls import path

def page(request, name, pk):
    return render(request, f"{name}.html", {"pk": pk})


urlpatterns = [path("<str:name>/<int:pk>/", page)]
"""

#: The room with the other options, whose members have info of the site.
MORE_SETTINGS = """
PM_REALTIME["ROOMS"] |= {{{options}}}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
"""

#: The other examples of the page, and their promises.
MORE_TESTS = """
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.core import mail
from django.test import TransactionTestCase, override_settings

from pm_realtime import aget_presence
from pm_realtime.testing import RealtimeCommunicator

from .comments import begin_review, tell
from .models import Visit
from .realtime import save_visit


@override_settings(CHANNEL_LAYERS={})
class MoreTests(TransactionTestCase):
    def setUp(self):
        self.ada = User.objects.create_user("ada", "ada@example.com", first_name="Ada")
        self.ada.groups.add(Group.objects.create(name="editor"))
        self.bob = User.objects.create_user("bob", "bob@example.com")

    async def test_visit_is_saved_and_no_mail_goes_to_those_who_are_there(self):
        async with RealtimeCommunicator(user=self.ada) as ada:
            await ada.subscribe("page:7")
            for user in self.ada, self.bob:
                await sync_to_async(tell)(user, 7, "Hello")
            self.assertEqual([mail.to for mail in mail.outbox], [["bob@example.com"]])
            await sync_to_async(begin_review)(self.ada, 7)
            await ada.assert_presence("page:7", members=[{"state": {"reviewing": True}}])
            await ada.command("unsubscribe", {"room": "page:7"})
            while not await Visit.objects.aexists():
                await ada.receive_nothing(timeout=0.01)
        visit = await Visit.objects.aget()
        self.assertEqual((visit.user_id, visit.room), (self.ada.pk, "page:7"))
        self.assertEqual((await aget_presence("page:7")).total, 0)

    def test_deleted_user_leaves_no_visit(self):
        save_visit(room="page:7", key="9", user=None, seconds=1.5)
        self.assertFalse(Visit.objects.exists())

    async def test_info_is_that_of_the_site_for_those_who_may_see(self):
        async with RealtimeCommunicator(user=self.ada) as ada:
            await ada.subscribe("support:books")
            async with RealtimeCommunicator(user=self.bob) as bob:
                await bob.subscribe("support:books")
                infos = [{"info": {"name": name, "visits": 0}} for name in ("Ada", "bob")]
                await ada.assert_presence("support:books", members=infos)
                seen = await bob.assert_presence("support:books", total=2)
                self.assertFalse(seen.members)
"""

LOG_IN = """
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pm_realtime.testing import session_cookie
for name in ("ada", "bob"):
    print(async_to_sync(session_cookie)(User.objects.create_user(name)).decode())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    settings = MORE_SETTINGS.format(options=block("desk"))
    made = make_project(folder, "wiki", BLOCKS, urls=URLS, tests=MORE_TESTS, settings=settings)
    (folder / "wiki" / "templates").mkdir()
    for name in "viewers", "typing":
        page = f"<!doctype html><title>Page</title>\n{block(name)}"
        (folder / "wiki" / "templates" / f"{name}.html").write_text(page)
    return made


def block(name):
    (text,) = [text for _, each, text in BLOCKS if each == name]
    return text


@pytest.mark.slow
def test_examples_pass_the_checks_and_their_tests(project):
    assert "no issues" in project.manage("check")
    assert "Ran 4 tests" in project.run("test").stderr


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_two_windows_see_each_other_view_and_type(project, browser):
    with project as server:
        cookies = server.manage("shell", "--no-imports", "-c", LOG_IN).split()
        ada, bob = [await open_window(browser, server, cookie) for cookie in cookies]
        for page in ada, bob:
            await page.goto("/viewers/7/")
        for page in ada, bob:
            await expect(page.locator("#viewers")).to_have_text("ada, bob")
        for page in ada, bob:
            await page.goto("/typing/7/")
        await bob.get_by_label("Comment").press_sequentially("Hm")
        await expect(ada.locator("#typing")).to_have_text("bob is typing")
        await expect(bob.locator("#typing")).to_have_text("")
        await bob.get_by_label("Comment").fill("")
        await expect(ada.locator("#typing")).to_have_text("")
        await bob.evaluate("realtime.unsubscribe('page:7')")
        await ada.goto("/viewers/7/")
        await expect(ada.locator("#viewers")).to_have_text("ada")


async def open_window(browser, server, cookie):
    name, _, value = cookie.partition("=")
    context = await browser.new_context(base_url=server.url)
    await context.add_cookies([{"name": name, "value": value, "url": server.url}])
    return await context.new_page()
