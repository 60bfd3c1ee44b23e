"""A Firefox driven over WebDriver BiDi, without a driver."""

import asyncio
import contextlib
import json
import os
import subprocess

import websockets

from tests.integration.devtools import DevTools, DevToolsError, until
from tests.integration.engines.tab import EngineTab, end, find_program

OPTIONS = ("--headless", "--no-remote", "--remote-debugging-port=0", "--remote-allow-system-access")
PREFERENCES = {
    # Each tab has a process of its own, and none is kept ready.
    "dom.ipc.processCount.webIsolated": 40,
    "dom.ipc.processPrelaunch.enabled": False,
    "browser.tabs.unloadOnLowMemory": False,
    # Offline, not even this machine is reached.
    "network.disable-localhost-when-offline": True,
    # Downloads are saved without a question.
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.download.alwaysOpenPanel": False,
    # It asks nobody on the network.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Tab(EngineTab):
    def __init__(self, bidi, context, root):
        self._bidi = bidi
        self._context = context
        self.root = root

    async def evaluate(self, expression):
        done = await self._bidi.send(
            "script.evaluate",
            expression=expression,
            target={"context": self._context},
            awaitPromise=True,
        )
        if done["type"] == "exception":
            raise DevToolsError(done["exceptionDetails"]["text"])
        return plain(done["result"])

    async def goto(self, url):
        await self._bidi.send(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def reload(self):
        await self._bidi.send("browsingContext.reload", context=self._context, wait="complete")

    async def show(self):
        await self._bidi.send("browsingContext.activate", context=self._context)

    async def close(self):
        await self._bidi.send("browsingContext.close", context=self._context)


class Profile:
    def __init__(self, bidi, user_context, root):
        self._bidi = bidi
        self._user_context = user_context
        self._root = root

    async def open(self, url):
        """Open a new, visible tab at ``url``."""
        made = await self._bidi.send(
            "browsingContext.create", type="tab", userContext=self._user_context
        )
        tab = Tab(self._bidi, made["context"], self._root)
        await tab.goto(url)
        return tab

    async def visit(self, url):
        """Return the text of the page at ``url``, from a tab that is then closed."""
        tab = await self.open(url)
        text = await tab.evaluate("document.body.innerText")
        await tab.close()
        return text

    async def close(self):
        await self._bidi.send("browser.removeUserContext", userContext=self._user_context)


class Browser:
    def __init__(self, bidi, root):
        self._bidi = bidi
        self._root = root

    async def profile(self):
        made = await self._bidi.send("browser.createUserContext")
        return Profile(self._bidi, made["userContext"], self._root)

    async def set_offline(self, offline):
        """Set the whole browser offline, as its menu does. Open sockets are closed."""
        tree = await self._bidi.send("browsingContext.getTree", **{"moz:scope": "chrome"})
        done = await self._bidi.send(
            "script.evaluate",
            expression=f"Services.io.offline = {json.dumps(offline)}",
            target={"context": tree["contexts"][0]["context"]},
            awaitPromise=False,
        )
        assert done["type"] == "success", done


@contextlib.asynccontextmanager
async def browser(folder):
    """Run a Firefox with its profile in ``folder``."""
    program = find_program("firefox-esr", "firefox-esr", "firefox")
    preferences = PREFERENCES | {"browser.download.dir": str(folder / "downloads")}
    (folder / "user.js").write_text(
        "".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in preferences.items()
        )
    )
    with (
        (folder / "firefox.log").open("wb") as log,
        subprocess.Popen(
            [program, *OPTIONS, "--profile", str(folder)],
            env={**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            address = await until(lambda: asyncio.to_thread(read_address, folder), "an address")
            async with websockets.connect(address, max_size=None) as socket:
                bidi = DevTools(socket, process)
                await bidi.send("session.new", capabilities={})
                yield Browser(bidi, process.pid)
        finally:
            await end(process)


def read_address(folder):
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads((folder / "WebDriverBiDiServer.json").read_text())
        return f"ws://{found['ws_host']}:{found['ws_port']}/session"
    return None


def plain(value):
    """Return a value in the form of WebDriver BiDi as ``JSON.parse`` would."""
    match value["type"]:
        case "undefined" | "null":
            return None
        case "array":
            return [plain(each) for each in value["value"]]
        case "object":
            return {name: plain(each) for name, each in value["value"]}
    return value.get("value")
