"""The browser client in a process of Node."""

import asyncio
import contextlib
import json
from pathlib import Path

from tests.support.node import node

SCRIPT = Path(__file__).with_name("page.mjs")
#: The first one with a WebSocket class.
NODE_VERSION = 22
ANSWER_TIMEOUT_SECONDS = 20


class Page:
    """A page in a process of Node."""

    def __init__(self, process):
        self._process = process

    async def run(self, code):
        """Return the result of ``code``, which has ``page`` and may await."""
        self._process.stdin.write(json.dumps(code).encode() + b"\n")
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            line = await self._process.stdout.readline()
        found = json.loads(line)
        assert not (isinstance(found, dict) and "error" in found), found
        return found


@contextlib.asynccontextmanager
async def opened(url, cookie=None):
    argument = json.dumps({"url": url, "cookie": cookie})
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        node(NODE_VERSION), SCRIPT, argument, stdin=pipe, stdout=pipe
    )
    try:
        yield Page(process)
    finally:
        process.kill()
        await process.wait()
