"""The template tag in a real browser: strict policies, hashed names, latency, other scripts."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.integration.devtools import until
from tests.integration.policy import MANIFEST, STRICT, site
from tests.site.tagged import EXTERNAL, INLINE, NONCE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.timeout(120, func_only=True),
]

NONCE_ONLY = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{NONCE}'"
REWRITTEN = "tests.site.storage.ModuleStorage"
HASHED_NAME = re.compile(r"\.[0-9a-f]{12}\.(js|map)$")
TITLE_TIMEOUT_MS = 20_000
LATENCY_MS = 150
#: From the start of the navigation to `:open`: for the page, for the module and for the WebSocket.
OPEN_WITHIN_MS = 5 * LATENCY_MS
#: A busy machine, and the first visit of a process, take longer.
MOST_VISITS = 3


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
    ("policy", "host", "storage"),
    [
        pytest.param(STRICT, "", MANIFEST, id="own"),
        pytest.param(f"{STRICT}; script-src 'self' {{origin}}", "localhost", REWRITTEN, id="cdn"),
    ],
)
async def test_page_works_under_a_strict_policy(browser, tmp_path, policy, host, storage):
    with site(tmp_path, policy, host, storage) as server:
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


async def test_shared_page_with_a_nonce_needs_two_hashed_files_alone(browser, tmp_path):
    with site(tmp_path, NONCE_ONLY) as server:
        for path in (tmp_path / "static" / "pm_realtime").iterdir():
            if not HASHED_NAME.search(path.name):
                path.unlink()
        page, modules, errors = await visit(browser, server, "/page/?shared=1")
        # Not `wait_for_function`, which the policy forbids.
        await until(lambda: page.evaluate("window.realtime?.connected"), "a connection")
        assert sorted(names(modules, server.url)) == ["client", "shared"]
        # The page's own script has no nonce.
        assert [line for line in errors if "page.js" not in line] == []
        await page.context.close()


def names(modules, origin):
    """Return the names of the files without their hashes, which they must have."""
    hashed = rf"{re.escape(origin)}/static/pm_realtime/(\w+)\.[0-9a-f]{{12}}\.js"
    return [re.fullmatch(hashed, address)[1] for address in modules]


async def test_page_is_connected_soon_in_spite_of_latency(browser, tmp_path):
    with site(tmp_path) as server:
        for path in "/page/", "/page/?shared=1":
            times = []
            while not times or (min(times) >= OPEN_WITHIN_MS and len(times) < MOST_VISITS):
                page, _, errors = await visit(browser, server, path, latency=LATENCY_MS)
                await expect(page).to_have_title("editor: Hello", timeout=TITLE_TIMEOUT_MS)
                opened = "Number(document.documentElement.dataset.opened)"
                times.append(await page.evaluate(opened))
                assert errors == []
                await page.context.close()
            assert 2 * LATENCY_MS < min(times) < OPEN_WITHIN_MS, times


async def test_documented_line_works_in_scripts_of_each_kind(browser, tmp_path):
    with site(tmp_path, f"{STRICT} 'nonce-{NONCE}'") as server:
        page, _, errors = await visit(browser, server, "/scripts-around-the-tag/?inline=1")
        for kind in EXTERNAL | INLINE:
            for position in ("above", "below"):
                name = f"data-{kind}-{position}"
                root = page.locator("html")
                await expect(root).to_have_attribute(name, "connected", timeout=TITLE_TIMEOUT_MS)
        assert errors == []
        await page.context.close()
