"""The template tag in a real browser, with a strict policy and with hashed file names."""

import asyncio
import json
import re

import pytest
from playwright.async_api import expect

from tests import settings
from tests.integration.server import Server

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.timeout(120, func_only=True),
]

STRICT = "default-src 'self'"
TITLE_TIMEOUT_MS = 20_000


def site(folder, policy=STRICT, host="", storage="tests.site.storage.ModuleStorage"):
    """Return a site with collected static files, which are served from ``host`` if given."""
    server = Server("uvicorn", folder, settings={"ROOMS": {"open": {"public": True}}})
    origin = f"http://{host}:{server.port}" if host else ""
    server.environment = {
        "TEST_POLICY": policy.format(origin=origin),
        "TEST_SETTINGS": json.dumps(
            {
                "ROOT_URLCONF": "tests.site.tagged",
                "INSTALLED_APPS": [*settings.INSTALLED_APPS, "django.contrib.staticfiles"],
                "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
                "STATIC_URL": f"{origin}/static/",
                "STATIC_ROOT": str(folder / "static"),
                "STORAGES": {"staticfiles": {"BACKEND": storage}},
            }
        ),
    }
    server.manage("collectstatic", "--noinput", "--verbosity=0")
    return server


async def visit(browser, server):
    """Open the page as an editor; return it, the URLs of its modules, and its console errors."""
    cookie = (await asyncio.to_thread(server.make_sessions, "editor"))["editor"]
    name, _, value = cookie.partition("=")
    context = await browser.new_context()
    await context.add_cookies([{"name": name, "value": value, "url": server.url}])
    page = await context.new_page()
    modules, errors = [], []

    def on_request(request):
        if "/static/" in request.url:
            modules.append(request.url)

    def on_console(message):
        if message.type in ("error", "warning"):
            errors.append(message.text)

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{server.url}/page/")
    return page, modules, errors


@pytest.mark.parametrize(
    ("policy", "host"),
    [
        pytest.param(STRICT, "", id="own"),
        pytest.param(STRICT + "; script-src 'self' {origin}", "localhost", id="cdn"),
    ],
)
async def test_page_works_under_a_strict_policy(browser, tmp_path, policy, host):
    with site(tmp_path, policy, host) as server:
        page, modules, errors = await visit(browser, server)
        await expect(page).to_have_title("editor: Hello", timeout=TITLE_TIMEOUT_MS)
        assert errors == []
        origin = f"http://{host or '127.0.0.1'}:{server.port}"
        hashed = rf"{re.escape(origin)}/static/pm_realtime/(\w+)\.[0-9a-f]{{12}}\.js"
        assert [re.fullmatch(hashed, address)[1] for address in modules] == ["auto", "client"]
        await page.context.close()


async def test_violation_of_a_policy_is_reported_on_the_console(browser, tmp_path):
    """The test above would notice violations of its policy."""
    with site(tmp_path, "script-src 'none'") as server:
        page, _, errors = await visit(browser, server)
        assert errors != []
        assert "Content Security Policy" in errors[0]
        assert await page.title() == "waiting"
        await page.context.close()


async def test_page_works_without_rewritten_imports(browser, tmp_path):
    storage = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    with site(tmp_path, storage=storage) as server:
        page, modules, errors = await visit(browser, server)
        await expect(page).to_have_title("editor: Hello", timeout=TITLE_TIMEOUT_MS)
        assert errors == []
        assert any(address.endswith("/client.js") for address in modules)
        await page.context.close()
