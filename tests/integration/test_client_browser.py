"""The client in a real Chromium, when the server, the network, the page or the user goes away.

The browser's own offline mode leaves WebSockets open, so a proxy cuts the network as well.
"""

import asyncio
import contextlib
import json
import re
import time

import pytest
import pytest_asyncio

from tests.integration.devtools import frozen, halted, until
from tests.integration.proxy import Proxy

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(180, func_only=True),
]

PAGE_COUNT = 10
STATIC = "/static/pm_realtime"
MESSAGES = "window.seen.filter(([type]) => type === 'message').map(([, content]) => content)"
OWN = "window.seen.filter(([type]) => type === 'own').map(([, { n }]) => n)"
PRIVATE = "window.seen.filter(([type]) => type === 'private').map(([, payload]) => payload)"
STREAMED = "window.seen.filter(([type]) => type === 'streamed').map(([, { n }]) => n)"
#: The longest time until a page works again, if the server was up all the time.
RECOVERY_SECONDS = 2
#: The time for which a client waits for a pong after it was offline.
PONG_TIMEOUT_SECONDS = 1

#: Makes a server log the times of connections and the rooms that they join.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"timed": {"format": "%(created)f %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "timed"}},
    "loggers": {"pm_realtime": {"handlers": ["stderr"], "level": "DEBUG"}},
}
LOGGED = {"TEST_SETTINGS": json.dumps({"LOGGING": LOGGING})}
CONNECTED = re.compile(r"^(\S+) pm_realtime\.connection \S+ connected\.$", re.MULTILINE)
JOINED = re.compile(r"^\S+ pm_realtime\.room \S+ joined '(.+)'\.$", re.MULTILINE)
ENDED = re.compile(r"^\S+ pm_realtime\.connection \S+ ended with (\d+)", re.MULTILINE)


@pytest_asyncio.fixture(loop_scope="module")
async def profiles(chromium):
    """Open a new browser profile: ``await profiles()``."""
    async with contextlib.AsyncExitStack() as stack:

        async def make():
            profile = await chromium.profile()
            stack.push_async_callback(profile.close)
            return profile

        yield make


async def open_page(profile, url, rooms="open", attempts="Infinity"):
    page = await profile.open(f"{url}/page/client/?rooms={rooms}&attempts={attempts}")
    await page.wait("window.realtime?.connected")
    await page.evaluate("window.joined.then(() => true)")
    return page


async def each(pages, expression):
    return await asyncio.gather(*(page.evaluate(expression) for page in pages))


async def all_have(pages, expression, timeout=30):
    await asyncio.gather(*(page.wait(expression, timeout) for page in pages))


async def send(page, *contents):
    await page.evaluate(f"{json.dumps(contents)}.forEach(window.sendMessage)")


def most_within(seconds, times):
    """Return the largest number of ``times`` within that many seconds."""
    return max(sum(start <= at < start + seconds for at in times) for start in times)


async def test_only_pages_with_shared_sockets_load_their_code(serve, profiles):
    server = serve("uvicorn")
    profile = await profiles()
    loaded = (
        "performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)"
        ".filter((path) => path.startsWith('/static/'))"
    )
    page = await open_page(profile, server.url)
    assert await page.evaluate(loaded) == [f"{STATIC}/client.js"]
    tab = await profile.open(f"{server.url}/page/tabs/")
    await tab.wait("window.realtime?.connected")
    assert await tab.evaluate(loaded) == [f"{STATIC}/client.js", f"{STATIC}/shared.js"]


@pytest.mark.slow
async def test_ten_pages_reconnect_at_different_times_after_the_server_was_killed(serve, profiles):
    server = serve("uvicorn", environment=LOGGED)
    pages = []
    for number in range(PAGE_COUNT):
        profile = await profiles()
        await profile.visit(f"{server.url}/sign-in/user{number}/")
        pages.append(await open_page(profile, server.url, f"open,own:{number}"))
    users = await each(pages, "window.realtime.userId")
    assert len(set(users)) == PAGE_COUNT

    server.kill()
    # Two attempts of each page failed.
    await all_have(pages, "window.closes.length >= 3")
    for number, page in enumerate(pages):
        await send(page, *([number, count] for count in range(5)))
    written = len(server.log)
    await asyncio.to_thread(server.start)
    started = time.time()
    # If the server is slow to start, the last wait may be one of 30 s.
    await all_have(pages, "window.realtime.connected", 60)

    rooms = sorted([f"own:{number}" for number in range(PAGE_COUNT)] + ["open"] * PAGE_COUNT)

    async def joined():
        return sorted(JOINED.findall(server.log[written:])) == rooms

    await until(joined, "all rooms joined again, once each")
    await server.aget(f"/each/?count={PAGE_COUNT}")
    await all_have(pages, f"{OWN}.length")
    assert await each(pages, OWN) == [[number] for number in range(PAGE_COUNT)]
    for number, page in enumerate(pages):
        await send(page, [number, "end"])
    ends = f"{MESSAGES}.filter(([, content]) => content === 'end').length"
    await all_have(pages, f"{ends} === {PAGE_COUNT}")
    for number, messages in enumerate(await each(pages, MESSAGES)):
        for sender in range(PAGE_COUNT):
            received = [content for page, content in messages if page == sender]
            # A page that came back later missed the beginning and nothing else.
            assert received == [0, 1, 2, 3, 4, "end"][-len(received) :]
            assert sender != number or len(received) == 6
    assert await each(pages, "window.refused") == [[]] * PAGE_COUNT
    assert await each(pages, "window.realtime.userId") == users

    times = sorted(map(float, CONNECTED.findall(server.log[written:])))
    assert len(times) == PAGE_COUNT
    after = [round(at - started, 2) for at in times]
    print(f"connected {after} s after the server was there")
    assert times[-1] - times[0] > 1
    assert most_within(0.5, times) <= 8


@pytest.mark.parametrize(
    ("seconds", "bound"),
    # After 3 s the socket may still work, so the client first waits for a pong.
    [
        (3, RECOVERY_SECONDS + PONG_TIMEOUT_SECONDS),
        pytest.param(30, RECOVERY_SECONDS, marks=pytest.mark.slow),
    ],
)
async def test_pages_that_were_offline_are_back_within_two_seconds(serve, profiles, seconds, bound):
    server = serve("uvicorn")
    async with Proxy(server.port) as proxy:
        profile = await profiles()
        # The first page has no attempts left before the end.
        pages = [await open_page(profile, proxy.url, attempts=most) for most in (1, 5, 99, 99)]
        proxy.cut()
        for page in pages:
            await page.set_offline(True)
        await all_have(pages, "!navigator.onLine")
        for number, page in enumerate(pages):
            await send(page, *([number, count] for count in range(3)))
        await asyncio.sleep(seconds)
        assert await each(pages, MESSAGES) == [[]] * 4
        state = await each(pages, "[window.realtime.status, window.sockets]")
        proxy.restore()
        began = time.monotonic()
        await asyncio.gather(*(page.set_offline(False) for page in pages))
        of_page = f"{MESSAGES}.filter(([page]) => page === {{}}).map(([, count]) => count)"
        own = [(page, of_page.format(number)) for number, page in enumerate(pages)]
        await asyncio.gather(*(page.wait(f"{messages}.length === 3") for page, messages in own))
        took = time.monotonic() - began
        print(f"offline for {seconds} s: {state}, back after {took:.2f} s")
        assert took < bound
        assert [await page.evaluate(messages) for page, messages in own] == [[0, 1, 2]] * 4
        assert await each(pages, "window.refused") == [[]] * 4
        assert await each(pages, "window.opens.length") == [2] * 4


@pytest.mark.slow
async def test_no_message_is_lost_during_short_breaks(serve, profiles):
    # The last break may be of some seconds, with 200 messages in each.
    server = serve("uvicorn", RECOVERY_SIZE=5000)
    async with Proxy(server.port) as proxy:
        profile = await profiles()
        await profile.visit(f"{server.url}/sign-in/anna/")
        page = await open_page(profile, proxy.url)
        await server.aget("/stream/start/open/?interval=0.005")
        for breaks in range(1, 4):
            await page.wait(f"{STREAMED}.length > {100 * breaks}")
            if breaks < 3:
                proxy.abort_connections()
            else:
                # The sockets stay open, so only the page's events show the break.
                proxy.cut()
                await page.set_offline(True)
                await page.wait("!navigator.onLine")
                proxy.restore()
                await page.set_offline(False)
            await page.wait(f"window.opens.length === {breaks + 1}")
        await page.wait(f"{STREAMED}.length > 400")
        await server.aget("/stream/stop/")
        await page.wait(f"{STREAMED}.at(-1) === null")
        streamed = await page.evaluate(STREAMED)
        assert streamed == [*range(len(streamed) - 1), None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sleep", "network"), [(frozen, "stays"), (halted, "stays"), (halted, "goes")]
)
async def test_a_page_that_slept_over_a_heartbeat_is_back_within_two_seconds(
    serve, chromium, profiles, sleep, network
):
    server = serve("uvicorn", environment=LOGGED, HEARTBEAT_INTERVAL=4, HEARTBEAT_TIMEOUT=3)
    async with Proxy(server.port) as proxy:
        profile = await profiles()
        page = await open_page(profile, proxy.url)
        # The server closes silent connections only if they have pinged.
        await page.evaluate("window.realtime.ping()")
        if network == "goes":
            proxy.cut()
        async with sleep(chromium, profile, page):

            async def closes_logged():
                return ENDED.findall(server.log)

            assert await until(closes_logged, "the server closes it") == ["4001"]
            proxy.restore()
            began = time.monotonic()
        await page.wait("window.closes.length && window.realtime.connected")
        await send(page, "awake")
        await page.wait(f"{MESSAGES}.length")
        took = time.monotonic() - began
        closes = await page.evaluate("window.closes")
        print(f"back after {took:.2f} s, {closes}")
        assert took < RECOVERY_SECONDS
        assert await page.evaluate(MESSAGES) == ["awake"]
        assert len(closes) == 1


async def test_a_logout_closes_all_tabs_and_the_next_user_can_connect_them(serve, profiles):
    server = serve("uvicorn")
    profile = await profiles()
    anna = await profile.visit(f"{server.url}/sign-in/anna/")
    pages = [await open_page(profile, server.url, "open,own:1") for _ in range(3)]
    await server.aget(f"/push-to/{anna}/?payload=secret")
    await all_have(pages, f"{PRIVATE}.length")

    await profile.visit(f"{server.url}/sign-out/")
    await all_have(pages, "window.closes.length")
    close = {"code": 4501, "name": "SESSION_ENDED", "willReconnect": False}
    # Events upon which a waiting client reconnects do not make these reconnect.
    await each(pages, "window.dispatchEvent(new Event('online'))")
    for page in pages:
        await page.show()
        await page.wait("document.visibilityState === 'visible'")
        await send(page, "without a session")
    await all_have(pages, "window.refused.length")

    bert = await profile.visit(f"{server.url}/sign-in/bert/")
    assert await each(pages, "window.closes") == [[close]] * 3
    assert await each(pages, "window.sockets") == [1] * 3
    assert (
        await each(pages, "[window.realtime.status, window.realtime.userId]")
        == [["stopped", None]] * 3
    )
    assert (await server.aget("/stats/")).json()["totalConnections"] == 0

    await pages[0].send("Page.reload")
    await pages[0].wait("window.opens?.length === 1")
    for page in pages[1:]:
        await page.evaluate("document.body.replaceChildren(), window.realtime.connect()")
    await all_have(pages, "window.realtime.connected")
    assert await each(pages, "String(window.realtime.userId)") == [bert] * 3
    await each(pages, "window.realtime.subscribe('open').then(() => true)")
    await server.aget(f"/push-to/{anna}/?payload=secret")
    await server.aget(f"/push-to/{bert}/?payload=hello")
    await server.aget("/push/?room=open&payload=1")
    shown = 'private "hello"pushed 1'
    await all_have(pages, f"document.body.innerText.includes('{shown}')")
    assert await each(pages, "document.body.innerText") == [shown] * 3
    assert (await server.aget("/stats/")).json()["totalConnections"] == 3


@pytest.mark.parametrize("seconds", [0, 3])
async def test_tabs_reconnect_as_the_same_user_after_a_change_of_password(serve, profiles, seconds):
    server = serve("uvicorn")
    profile = await profiles()
    user = await profile.visit(f"{server.url}/sign-in/anna/")
    pages = [await open_page(profile, server.url) for _ in range(3)]
    await profile.visit(f"{server.url}/change-password/{seconds}/")
    await all_have(pages, "window.opens.length === 2 && window.realtime.connected")
    # One close each: the sockets were open until the response was ready.
    assert await each(pages, "window.closes.map(({ code }) => code)") == [[4013]] * 3
    assert await each(pages, "window.opens.map(({ userId }) => String(userId))") == [[user] * 2] * 3
    await send(pages[0], "after")
    await all_have(pages, f"{MESSAGES}.includes('after')")


#: A page that says its name to the page that made it when its client is connected.
EMBEDDED = """
  import {{ createRealtime }} from "{url}/static/pm_realtime/client.js";
  const realtime = createRealtime({{ autoConnect: true }});
  realtime.on(":open", () => (window.opener ?? parent).postMessage("{name}", "*"));
"""
#: The code that makes such a page, by its name.
EMBEDS = {
    "srcdoc": "frame.srcdoc = html",
    "blank": "append(frame.contentDocument)",
    "blob": "frame.src = URL.createObjectURL(new Blob([html], { type: 'text/html' }))",
    "popup": "append(open('about:blank').document)",
    "popup of a blob": "open(URL.createObjectURL(new Blob([html], { type: 'text/html' })))",
}


@pytest.mark.parametrize("base", ["", "<base href='https://cdn.invalid/static/'>"])
async def test_frames_and_popups_connect_to_the_host_of_their_page(serve, profiles, base):
    server = serve("uvicorn")
    # A page without a policy, which would forbid inline scripts.
    page = await (await profiles()).open(f"{server.url}/sign-out/")
    await page.wait("document.readyState === 'complete' && location.pathname === '/sign-out/'")
    await page.evaluate("addEventListener('message', ({ data }) => connected.push(data)), null")
    await page.evaluate("window.connected = []")
    await page.evaluate(f"document.head.insertAdjacentHTML('beforeend', {json.dumps(base)})")
    for name, embed in EMBEDS.items():
        code = json.dumps(EMBEDDED.format(url=server.url, name=name))
        script = f"""{{
            const code = {code};
            const html = `<!doctype html><script type="module">${{code}}<${{"/"}}script>`;
            const append = (document) => {{
                const script = document.createElement("script");
                Object.assign(script, {{ type: "module", textContent: code }});
                document.body.append(script);
            }};
            const frame = document.createElement("iframe");
            document.body.append(frame);
            {embed};
        }}"""
        await page.send("Runtime.evaluate", expression=script, userGesture=True)
    await page.wait(f"window.connected.length === {len(EMBEDS)}")
    assert sorted(await page.evaluate("window.connected")) == sorted(EMBEDS)
    script = f"""
        import("{server.url}/static/pm_realtime/client.js").then(({{ createRealtime }}) => {{
            window.realtime = createRealtime({{ autoConnect: true }});
        }})
    """
    await page.evaluate(script)
    await page.wait("window.realtime.connected")


async def test_the_tabs_that_were_used_last_are_connected(serve, profiles):
    server = serve("uvicorn", MAX_CONNECTIONS_PER_USER=2)
    profile = await profiles()
    await profile.visit(f"{server.url}/sign-in/anna/")
    first, second, third = [await open_page(profile, server.url) for _ in range(3)]
    await first.wait("window.closes.length")
    assert await first.evaluate("window.closes") == [
        {"code": 4502, "name": "REPLACED", "willReconnect": False}
    ]
    await first.show()
    await first.wait("window.realtime.connected && window.opens.length === 2")
    await second.wait("window.closes.length")
    # The second one is hidden, and the others do not push each other out.
    await each([first, third], "window.realtime.ping().then(() => true)")
    counts = await each([first, second, third], "[window.sockets, window.realtime.connected]")
    assert counts == [[2, True], [1, False], [1, True]]
    await second.show()
    await second.wait("window.realtime.connected")
    await third.wait("window.closes.length")
    await third.show()
    await third.wait("window.realtime.connected")
    await first.wait("window.closes.length === 2")
    assert await first.evaluate("window.realtime.rooms") == ["open"]


async def test_browsers_that_push_each_other_out_connect_when_they_are_shown(serve, profiles):
    """Each with tabs that share a socket. A browser's visible tab stays closed until then."""
    server = serve("uvicorn", MAX_CONNECTIONS_PER_USER=1)
    one, two = await profiles(), await profiles()
    for profile in one, two:
        await profile.visit(f"{server.url}/sign-in/anna/")
    tabs = [await one.open(f"{server.url}/page/tabs/?rooms=open") for _ in range(2)]
    await all_have(tabs, "window.realtime?.connected")
    other = await two.open(f"{server.url}/page/tabs/?rooms=open")
    await other.wait("window.realtime?.connected")
    await all_have(tabs, "window.closes.length")
    assert await each(tabs, "window.realtime.closeCode") == [4502] * 2
    await tabs[0].show()
    await all_have(tabs, "window.realtime.connected")
    await other.wait("window.closes.length")
    await each(tabs, "window.realtime.ping().then(() => true)")
    assert await other.evaluate("window.realtime.status") == "stopped"
    assert (await server.aget("/stats/")).json()["totalConnections"] == 1
