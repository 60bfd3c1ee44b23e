"""``python -m tests.integration.chaos.publisher sync|async``: pushes numbered messages.

A push that fails is repeated under its idempotency key. Commands are methods of :class:`Publisher`.
"""

import asyncio
import itertools
import json
import sys
import time

import django
from django.contrib.auth import get_user_model

from pm_realtime import (
    abroadcast,
    asend_to_role,
    asend_to_room,
    asend_to_user,
    broadcast,
    send_to_role,
    send_to_room,
    send_to_user,
)
from pm_realtime.exceptions import BackendError

RETRY_SECONDS = 0.05
#: A publisher that is late sends so much of it at once.
MAX_LATE_SECONDS = 0.2


async def _in_thread(push, *arguments, **options):
    await asyncio.to_thread(push, *arguments, **options)


async def _now(push, *arguments, **options):
    await push(*arguments, **options)


WAYS = {
    "sync": (_in_thread, send_to_user, send_to_role, send_to_room, broadcast),
    "async": (_now, asend_to_user, asend_to_role, asend_to_room, abroadcast),
}


class Publisher:
    """Pushes to its streams in turn. A stream is named as by a client: ``user <name>`` is that of a
    user, ``role:<name>``, ``all``, and any other name is a room's."""

    def __init__(self, way, users):
        self.name, self.users = f"publisher-{way}", users
        self._call, self._to_user, self._to_role, self._to_room, self._to_all = WAYS[way]
        self.counts = {}
        self.failures = 0
        self._is_on = asyncio.Event()
        self._pushing = asyncio.Lock()
        self._due = 0
        self._seconds = 0
        self._padding = ""

    async def run(self):
        while True:
            await self._is_on.wait()
            for stream in list(self.counts):
                await self._is_on.wait()
                async with self._pushing:
                    await self._push(stream)
                now = time.monotonic()
                self._due = max(self._due, now - MAX_LATE_SECONDS) + self._seconds
                await asyncio.sleep(self._due - now)

    async def _push(self, stream):
        number = self.counts[stream]
        arguments = ("numbered", {"from": self.name, "n": number, "padding": self._padding})
        kind, _, name = stream.partition(":")
        if stream == "all":
            push = self._to_all, *arguments
        elif kind == "role":
            push = self._to_role, name, *arguments
        elif kind == "user":
            push = self._to_user, self.users[name], *arguments
        else:
            push = self._to_room, stream, *arguments
        for _ in itertools.count():
            try:
                await self._call(*push, idempotency_key=f"{self.name} {number}")
                break
            except BackendError:
                self.failures += 1
                await asyncio.sleep(RETRY_SECONDS)
        self.counts[stream] += 1

    async def start(self, streams, per_second, padding=0):
        """Push to ``streams`` in turn, with ``padding`` more characters in each message."""
        self.counts = {**dict.fromkeys(streams, 0), **self.counts}
        self._padding = "x" * padding
        self._seconds = 1 / per_second
        self._due = time.monotonic()
        self._is_on.set()

    async def pause(self):
        """Wait until the push that is under way has succeeded."""
        self._is_on.clear()
        async with self._pushing:
            return await self.report()

    async def burst(self, stream, count, padding):
        """Push ``count`` messages to one stream at once."""
        self._padding = "x" * padding
        self.counts.setdefault(stream, 0)
        for _ in range(count):
            async with self._pushing:
                await self._push(stream)
        self._padding = ""
        return await self.report()

    async def report(self):
        return {"name": self.name, "counts": self.counts, "failures": self.failures}


async def main(way):
    users = {user.username: user.pk async for user in get_user_model().objects.all()}
    publisher = Publisher(way, users)
    running = asyncio.create_task(publisher.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        answer = await getattr(publisher, command.pop("do"))(**command)
        if running.done():
            running.result()
        print(json.dumps(answer), flush=True)
    running.cancel()


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(*sys.argv[1:]))
