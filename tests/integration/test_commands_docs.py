"""A new Django project with the code of docs/commands.md does what the page says."""

import re
import shlex

import pytest
from playwright.async_api import expect

from tests.integration.docs_project import make_project
from tests.support.node import ROOT, add_packed_client, node, run

PAGE = (ROOT / "docs" / "commands.md").read_text()
BLOCKS = re.findall(r"<!-- ([\w ]+): (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)

URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("auction/", lambda request: HttpResponse({page!r}))]
"""

#: The other examples of the page, and their promises.
MORE_TESTS = """
import asyncio
from django.contrib.auth.models import User
from django.test import TestCase, override_settings

from pm_realtime import CommandError, send_to_room
from pm_realtime.exceptions import PayloadError
from pm_realtime.testing import (
    CommandFailed, RealtimeCommunicator, acall_command_handler, call_command_handler
)

from . import realtime
from .models import Order
from .tests import BidTests


@override_settings(CHANNEL_LAYERS={})
class MoreTests(BidTests):
    def refusal(self, function, payload, **more):
        with self.assertRaises(CommandError) as refused:
            call_command_handler(function, user=self.user, payload=payload, **more)
        return refused.exception.code, refused.exception.details

    def test_errors_have_the_code_and_the_data_of_the_page(self):
        self.auction.price = 10
        self.auction.save()
        code, details = self.refusal(realtime.bid, {"amount": "9"}, pk=self.auction.pk)
        self.assertEqual(code, "TOO_LOW")
        self.auction.ends_at = self.auction.ends_at.replace(year=2020)
        self.auction.save()
        code, details = self.refusal(realtime.bid, {"amount": "11"}, pk=self.auction.pk)
        self.assertEqual(code, "AUCTION_OVER")
        self.assertEqual(details, {"data": {"endedAt": self.auction.ends_at}})

    def test_user_is_renamed(self):
        call_command_handler(realtime.rename, user=self.user, payload="Ada")
        self.assertEqual(User.objects.get().first_name, "Ada")
        self.assertEqual(self.refusal(realtime.rename, "")[1], {"path": ""})

    def test_order_is_made_once(self):
        def order(id):
            return call_command_handler(realtime.order, user=self.user, payload="Tea", id=id)

        self.assertEqual(order("c1"), order("c1"))
        self.assertNotEqual(order("c1"), order("c2"))
        self.assertEqual(Order.objects.count(), 2)

    def test_feedback_has_the_errors_of_pydantic(self):
        self.assertEqual(call_command_handler(realtime.feedback, payload={"stars": 5}), 5)
        self.assertEqual(self.refusal(realtime.feedback, {"stars": 6})[1]["path"], "stars")
        wrong = {"stars": 1, "text": "http://x"}
        self.assertEqual(self.refusal(realtime.feedback, wrong)[1]["path"], "text")

    def test_untyped_push_is_refused_with_its_path(self):
        with self.assertRaisesRegex(PayloadError, "declares: bidder: Expected a value, got none"):
            send_to_room("auction:7", "auction.price", {"price": "12.50"})

    async def test_watchers_are_counted(self):
        pk = self.auction.pk
        count = await acall_command_handler(realtime.watchers, user=self.user, pk=pk)
        self.assertEqual(count, 0)

    async def test_chat_checks_its_messages(self):
        async with RealtimeCommunicator(user=self.user) as ada:
            await ada.subscribe("chat:tea")

            async def say(content):
                return await ada.command("message", {"room": "chat:tea", "content": content})

            await say({"text": " Hello "})
            message = await ada.assert_push("message")
            self.assertEqual(message["payload"]["content"], {"text": "Hello"})
            error = await ada.assert_error(await say({"text": ""}), "INVALID_PAYLOAD")
            self.assertEqual(error["payload"]["path"], "content.text")
            await ada.assert_error(await say({"text": "http://"}), "NO_LINKS")

    async def test_answer_of_a_failed_command_is_in_the_failure(self):
        async with RealtimeCommunicator(user=self.user) as ada:
            with self.assertRaises(CommandFailed) as failed:
                await ada.call("profile.rename", 7)
            error = failed.exception
            self.assertEqual((error.code, error.path), ("INVALID_PAYLOAD", ""))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    urls = URLS.format(page=block("page", "auction"))
    folder = tmp_path_factory.mktemp("project")
    return make_project(folder, "shop", BLOCKS, urls=urls, tests=MORE_TESTS)


def block(action, name):
    (text,) = [text for found, each, text in BLOCKS if (found, each) == (action, name)]
    return text


@pytest.mark.slow
def test_examples_pass_the_checks_and_their_tests(project):
    assert "no issues" in project.manage("check")
    assert "OK" in project.run("test").stderr


@pytest.mark.slow
def test_commands_of_the_schema_run_and_ci_finds_a_change(project):
    for name in "schema", "types", "check":
        for line in block("command", name).splitlines():
            python, manage, *arguments = shlex.split(line)
            assert (python, manage) == ("python", "manage.py")
            project.manage(*arguments)
    module = project.folder / "shop" / "realtime.py"
    before = module.read_text()
    try:
        # Of another length: Python tells a stale .pyc by seconds and size.
        module.write_text(before.replace("bidder: str", "best_bidder: str"))
        with pytest.raises(AssertionError):
            project.manage(*shlex.split(block("command", "check").splitlines()[1])[2:])
    finally:
        module.write_text(before)


@pytest.mark.slow
def test_typescript_of_the_page_compiles_with_the_types_of_the_site(
    project, node_modules, tmp_path
):
    project.manage("realtime_types", "--output", str(tmp_path / "realtime.d.ts"))
    add_packed_client(tmp_path)
    (tmp_path / "node_modules" / "typescript").symlink_to(node_modules / "typescript")
    (tmp_path / "auction.ts").write_text(block("typescript", "auction.ts"))
    options = ["--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler"]
    compiler = tmp_path / "node_modules" / "typescript" / "bin" / "tsc"
    files = ["auction.ts", "realtime.d.ts"]
    done = run(node(), compiler, *options, "--target", "es2022", *files, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_bid_of_the_page_is_answered_and_shown_in_another_tab(project, browser):
    with project as server:
        server.manage("shell", "--no-imports", "-c", MAKE_AUCTION)
        pages = [await open_page(browser, server, username) for username in ("ada", "bob")]
        ada, bob = pages
        answer = ada.locator("output")
        for amount, said in (
            ("12.50", "Bid 1: 12.50"),
            ("12.50", "Bid more than 12.50"),
            ("much", "Write an amount, such as 12.50"),
        ):
            await ada.get_by_label("Your bid").fill(amount)
            await ada.get_by_role("button").click()
            await expect(answer).to_have_text(said)
        await expect(bob.locator("#price")).to_have_text("ada bids 12.50")


MAKE_AUCTION = """
from datetime import timedelta
from django.utils import timezone
from shop.models import Auction
ends_at = timezone.now() + timedelta(hours=1)
Auction.objects.create(pk=1, title="A chair", ends_at=ends_at)
"""

LOG_IN = """
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pm_realtime.testing import session_cookie
print(async_to_sync(session_cookie)(User.objects.create_user({username!r})).decode())
"""


async def open_page(browser, server, username):
    code = LOG_IN.format(username=username)
    name, _, value = server.manage("shell", "--no-imports", "-c", code).strip().partition("=")
    context = await browser.new_context()
    await context.add_cookies([{"name": name, "value": value, "url": server.url}])
    page = await context.new_page()
    joined = page.wait_for_event("websocket")
    await page.goto(f"{server.url}/auction/")
    await joined
    return page
