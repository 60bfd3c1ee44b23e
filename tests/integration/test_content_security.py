"""The template tag in a real browser: strict policies, hashed names, latency, other scripts."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.integration.policy import STRICT, site
from tests.site.tagged import EXTERNAL, INLINE, NONCE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.timeout(120, func_only=True),
]

NONCE_ONLY = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{NONCE}'"
HASHED_NAME = re.compile(r"\.[0-9a-f]{12}\.(js|map)$")
TITLE_TIMEOUT_MS = 20_000
LATENCY_MS = 150
#: From the start of the navigation to `:open`: for the page, for the module and for the WebSocket.
OPEN_WITHIN_MS = 5 * LATENCY_MS


async def visit(browser, server, path="/page/", latency=0):
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
    if latency:
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        limits = {"latency": latency, "downloadThroughput": -1, "uploadThroughput": -1}
        await session.send("Network.emulateNetworkConditions", {"offline": False, **limits})
    await page.goto(server.url + path)
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
        assert names(modules, origin) == ["client"]
        await page.context.close()


async def test_violation_of_a_policy_is_reported_on_the_console(browser, tmp_path):
    """The test above would notice violations of its policy."""
    with site(tmp_path, "script-src 'none'") as server:
        page, _, errors = await visit(browser, server)
        assert errors != []
        assert "Content Security Policy" in errors[0]
        assert await page.title() == "waiting"
        await page.context.close()


@pytest.mark.parametrize("policy", [STRICT, NONCE_ONLY], ids=["self", "nonce"])
async def test_shared_page_loads_two_hashed_files_at_the_same_time(browser, tmp_path, policy):
    with site(tmp_path, policy) as server:
        for path in (tmp_path / "static" / "pm_realtime").iterdir():
            if not HASHED_NAME.search(path.name):
                path.unlink()
        page, modules, errors = await visit(browser, server, "/page/?shared=1")
        if policy is STRICT:
            await expect(page).to_have_title("editor: Hello", timeout=TITLE_TIMEOUT_MS)
        assert sorted(names(modules, server.url)) == ["client", "shared"]
        # The page's own script has no nonce.
        assert [line for line in errors if "page.js" not in line] == []
        await page.context.close()


def names(modules, origin):
    """Return the names of the files without their hashes, which they must have."""
    hashed = rf"{re.escape(origin)}/static/pm_realtime/(\w+)\.[0-9a-f]{{12}}\.js"
    return [re.fullmatch(hashed, address)[1] for address in modules]


@pytest.mark.parametrize("shared", ["", "1"], ids=["own", "shared"])
async def test_page_is_connected_soon_in_spite_of_latency(browser, tmp_path, shared):
    with site(tmp_path) as server:
        path = f"/page/?shared={shared}"
        await server.aget(path)  # The first request of a process takes longer.
        page, _, errors = await visit(browser, server, path, latency=LATENCY_MS)
        await expect(page).to_have_title("editor: Hello", timeout=TITLE_TIMEOUT_MS)
        opened = await page.evaluate("Number(document.documentElement.dataset.opened)")
        assert 2 * LATENCY_MS < opened < OPEN_WITHIN_MS
        assert errors == []
        await page.context.close()


@pytest.mark.parametrize(
    ("policy", "query", "kinds"),
    [
        pytest.param(STRICT, "", EXTERNAL, id="self"),
        pytest.param(f"{STRICT} 'nonce-{NONCE}'", "?inline=1", EXTERNAL | INLINE, id="nonce"),
    ],
)
async def test_documented_line_works_in_scripts_of_each_kind(
    browser, tmp_path, policy, query, kinds
):
    with site(tmp_path, policy) as server:
        page, _, errors = await visit(browser, server, f"/scripts-around-the-tag/{query}")
        root = page.locator("html")
        for kind in kinds:
            for position in ("above", "below"):
                name = f"data-{kind}-{position}"
                await expect(root).to_have_attribute(name, "connected", timeout=TITLE_TIMEOUT_MS)
        assert errors == []
        await page.context.close()


async def test_storage_that_rewrites_imports_works(browser, tmp_path):
    with site(tmp_path, storage="tests.site.storage.ModuleStorage") as server:
        page, modules, errors = await visit(browser, server)
        await expect(page).to_have_title("editor: Hello", timeout=TITLE_TIMEOUT_MS)
        assert errors == []
        assert names(modules, server.url) == ["client"]
        await page.context.close()
