"""A page that sleeps, as on a laptop whose lid was closed, departs from its rooms."""

import asyncio
import time

import pytest

from tests.integration.client import Listener, connect
from tests.integration.devtools import frozen, halted, until

INTERVAL_SECONDS = 1
TIMEOUT_SECONDS = 1
GRACE_SECONDS = 1
#: For a busy machine.
SLACK_SECONDS = 4


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("sleep", [frozen, halted])
async def test_sleeping_page_departs_after_heartbeat_and_grace_and_arrives_again(
    serve, chromium, sleep
):
    server = serve(
        "uvicorn",
        ROOMS={"open": {"public": True, "presence": {"grace": GRACE_SECONDS}}},
        HEARTBEAT_INTERVAL=INTERVAL_SECONDS,
        HEARTBEAT_TIMEOUT=TIMEOUT_SECONDS,
    )
    profile = await chromium.profile()
    await profile.visit(f"{server.url}/sign-in/anna/")
    cookie = (await asyncio.to_thread(server.make_sessions, "user"))["user"]
    async with connect(server, cookie, kind=Listener) as watcher:
        await watcher.ask("subscribe", {"room": "open"})

        async def told(field):
            changes = watcher.of_type("presence")
            return [each for change in changes for each in change.get(field, ())]

        async def is_back():
            return len(await told("joined")) == 2

        page = await profile.open(f"{server.url}/page/client/?rooms=open")
        (anna,) = await until(lambda: told("joined"), "she has joined")
        async with sleep(chromium, profile, page):
            began = time.monotonic()
            assert await until(lambda: told("left"), "she has left") == [anna["key"]]
            took = time.monotonic() - began
            assert took > TIMEOUT_SECONDS + GRACE_SECONDS
            assert took < INTERVAL_SECONDS + TIMEOUT_SECONDS + GRACE_SECONDS + SLACK_SECONDS
        await until(is_back, "she is back")
    await profile.close()
