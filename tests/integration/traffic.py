"""Clients and views that send all the time, and the outcomes of their requests."""

import asyncio
import collections
import contextlib
import itertools
import json
import re
import time
from dataclasses import dataclass

import websockets

from tests.integration.client import Listener, connect
from tests.support.helpers import eventually

#: A later answer counts as none.
ANSWER_TIMEOUT_SECONDS = 4
#: The longest time from the end of an outage to normal operation, on a busy machine.
RECOVERY_SECONDS = 10
STEP_INTERVAL_SECONDS = 0.1
POLL_SECONDS = 0.05
PUSH_TIMEOUT_SECONDS = 1
ROOMS = {
    "open": {"public": True, "publish_role": "anonymous"},
    "own:<int:number>": {"public": True},
}


@dataclass(frozen=True)
class Answer:
    """The outcome of a request of ``kind`` that began at ``began`` and took ``seconds``."""

    kind: str
    began: float
    seconds: float
    outcome: str


class Traffic:
    """``async with Traffic(servers)``: it runs until :meth:`stop`.

    On each server two connections only listen in ``open``, one pings, three send to ``open``, two
    join and leave it, and two join one room ``own:…`` after another.
    """

    def __init__(self, servers):
        self.servers = servers
        self.answers = []
        self.listeners = []
        self.listening = []
        self.sending = []
        #: For each connection that joins and leaves ``open``, whether it is in by its last reply.
        self.is_in_open = {}
        #: For each connection that joins rooms ``own:…``, the numbers of those by its replies.
        self.joined = collections.defaultdict(set)
        self._numbers = itertools.count()
        self._is_over = asyncio.Event()
        self._tasks = []

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        for server in self.servers:
            await self._populate(server)
        return self

    async def __aexit__(self, *error):
        self._is_over.set()
        for task in self._tasks:
            task.cancel()
        await self._stack.aclose()

    async def _populate(self, server):
        members = [await self._open(server) for _ in range(10)]
        listening, (pinging,), sending = members[:2], members[2:3], members[3:6]
        changing, joining = members[6:8], members[8:]
        for member in (*listening, *sending):
            assert (await member.ask("subscribe", {"room": "open"}))["type"] == "subscribed"
        self.listening += listening
        self.sending += sending
        self._repeat(self._ping, pinging)
        for member in sending:
            self._repeat(self._send, member)
        for member in changing:
            self._repeat(self._join_and_leave, member)
        for member in joining:
            self._repeat(self._join_next, member)
        self._repeat(self._connect, server)
        self._repeat(self._get, server, "push")
        self._repeat(self._get, server, "saved")

    async def _open(self, server):
        self.listeners.append(await self._stack.enter_async_context(connect(server, kind=Listener)))
        return self.listeners[-1]

    def _repeat(self, step, *arguments):
        async def repeat():
            while not self._is_over.is_set():
                await step(*arguments)
                await asyncio.sleep(STEP_INTERVAL_SECONDS)

        self._tasks.append(asyncio.create_task(repeat()))

    async def stop(self):
        """Send nothing more, and wait for the outstanding answers."""
        self._is_over.set()
        await asyncio.gather(*self._tasks)

    async def _record(self, kind, asking):
        began = time.monotonic()
        try:
            outcome = await asking
        except TimeoutError:
            outcome = "none"
        self.answers.append(Answer(kind, began, time.monotonic() - began, outcome))
        return outcome

    async def _ask(self, listener, type, payload=None):
        async def outcome():
            answer = await listener.ask(type, payload, timeout=ANSWER_TIMEOUT_SECONDS)
            return answer["payload"]["code"] if answer["type"] == "error" else answer["type"]

        return await self._record(type, outcome())

    async def _ping(self, listener):
        await self._ask(listener, "ping")

    async def _send(self, listener):
        await self._ask(listener, "message", {"room": "open", "content": "hello"})

    async def _join_and_leave(self, listener):
        for type in ("subscribe", "unsubscribe", "subscribe"):
            outcome = await self._ask(listener, type, {"room": "open"})
            if outcome in ("subscribed", "unsubscribed"):
                self.is_in_open[listener] = outcome == "subscribed"

    async def _join_next(self, listener):
        number = next(self._numbers)
        if await self._ask(listener, "subscribe", {"room": f"own:{number}"}) == "subscribed":
            self.joined[listener].add(number)

    async def _connect(self, server):
        async def outcome():
            async with (
                asyncio.timeout(ANSWER_TIMEOUT_SECONDS),
                websockets.connect(server.ws_url) as socket,
            ):
                with contextlib.suppress(websockets.ConnectionClosed):
                    return json.loads(await socket.recv())["type"]
                return str(socket.close_code)

        await self._record("handshake", outcome())

    async def _get(self, server, view):
        async def outcome():
            answer = await server.aget(f"/{view}/?room=open", timeout=ANSWER_TIMEOUT_SECONDS)
            return answer.body if answer.status == 200 else str(answer.status)

        await self._record(view, outcome())

    async def until_all_have_answers(self):
        """Wait until each kind of request has had answers."""
        await eventually(
            lambda: len({each.kind for each in self.answers}) == 7 and len(self.answers) > 100
        )

    async def until_pushes_arrive(self, seconds):
        """Wait until a push from each server reaches all connections that only listen."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*map(self._until_pushes_arrive, range(len(self.servers))))

    async def _until_pushes_arrive(self, index):
        marks = []
        for number in itertools.count():
            mark = f"{time.monotonic()}-{index}-{number}"
            path = f"/push/?room=open&payload=%22{mark}%22"
            if (await self.servers[index].aget(path)).body == "sent":
                marks.append(mark)
                with contextlib.suppress(TimeoutError):
                    # On a busy machine, an earlier one may arrive late.
                    await eventually(lambda: any(map(self._all_have, marks)), PUSH_TIMEOUT_SECONDS)
                    return
            await asyncio.sleep(POLL_SECONDS)

    def _all_have(self, mark):
        return all(mark in listener.of_type("pushed")[-1000:] for listener in self.listening)

    async def until_counted(self, deadline):
        """Wait until each server counts exactly the open connections; fail at ``deadline``."""
        rooms = {f"own:{number}": 1 for numbers in self.joined.values() for number in numbers}
        rooms["open"] = len(self.in_open())
        expected = {
            "totalConnections": len(self.listeners),
            "authenticatedConnections": 0,
            "totalRooms": len(rooms),
            "roomStats": rooms,
        }
        for server in self.servers:
            while (found := (await server.aget("/stats/")).json()) != expected:
                assert time.monotonic() < deadline, (found, expected)
                await asyncio.sleep(POLL_SECONDS)

    def in_open(self):
        """Return the connections that are in ``open`` by their last reply."""
        changing = [listener for listener, is_in in self.is_in_open.items() if is_in]
        return [*self.listening, *self.sending, *changing]

    async def assert_pushes_reach_all_members(self):
        """Push from each server: all members of a room get each push once and in order."""
        for listener in self.listeners:
            listener.received.clear()
        for start, server in enumerate(self.servers):
            assert (
                await server.aget(f"/burst/?room=open&count=50&start={50 * start}")
            ).status == 200
        count = next(self._numbers)
        assert (await self.servers[0].aget(f"/each/?count={count}")).status == 200
        numbers = list(range(50 * len(self.servers)))
        expected = {
            **{listener: [] for listener in self.listeners},
            **dict.fromkeys(self.in_open(), numbers),
        }
        for listener, numbers in expected.items():
            await self._until_received(listener, "burst", numbers)
        for listener, numbers in self.joined.items():
            await self._until_received(listener, "own", sorted(numbers))

    async def _until_received(self, listener, type, numbers):
        def found():
            return [payload["n"] for payload in listener.of_type(type)]

        with contextlib.suppress(TimeoutError):
            await eventually(lambda: len(found()) >= len(numbers))
        # A duplicate would arrive before the answer.
        await listener.ask("ping")
        assert found() == numbers


async def until_end_of_outage_is_logged(server):
    """Wait until the log has two lines: one at the first failure, one after the last."""
    pattern = r".*Lost the (channel layer|shared state): .*\n.*Back after \d+\.\d s: .*\n"
    await eventually(lambda: "Back" in server.log, RECOVERY_SECONDS)
    assert re.fullmatch(pattern, server.log), server.log
