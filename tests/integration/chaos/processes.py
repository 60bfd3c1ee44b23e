"""Processes of a chaos run that take commands: lines of JSON, each answered with one line."""

import asyncio
import json
import sys
from pathlib import Path

from tests.support.node import node

HERE = Path(__file__).parent
ANSWER_TIMEOUT_SECONDS = 60
#: The first Node that has ``WebSocket``.
NODE_VERSION = 22


class Process:
    """``async with Process(command) as process``: ``await process.do("send", perSecond=5)``."""

    def __init__(self, *command, env=None):
        self._command, self._env = [str(part) for part in command], env
        self._is_answering = asyncio.Lock()

    async def __aenter__(self):
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**26,
        )
        return self

    async def __aexit__(self, *error):
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def do(self, command, **arguments):
        async with self._is_answering, asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            line = json.dumps({"do": command, **arguments})
            self._process.stdin.write(line.encode() + b"\n")
            answer = await self._process.stdout.readline()
        assert answer, f"{self._command[:3]} ended"
        return json.loads(answer)


def clients(url, members):
    """The clients ``members`` of ``url``, in Node."""
    options = json.dumps({"url": url, "clients": members})
    return Process(node(NODE_VERSION), HERE / "clients.mjs", options)


def publisher(server, way):
    """Pushes numbered messages to all streams. ``way`` is ``"sync"`` or ``"async"``."""
    module = "tests.integration.chaos.publisher"
    return Process(sys.executable, "-m", module, way, env=server.env)
