"""Clients and views that never stop, and what became of all they asked."""

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

#: Seconds after which an answer counts as none.
PATIENCE = 4
#: Seconds within which all is well again after an outage.
RECOVERY = 5
ROOMS = {"open": {"public": True}, "own:<int:number>": {"public": True}}


@dataclass(frozen=True)
class Answer:
    """``what`` was asked at ``began``, took ``seconds``, and ended in ``outcome``."""

    what: str
    began: float
    seconds: float
    outcome: str


class Traffic:
    """``async with Traffic(servers)``: all of it runs until :meth:`stop`.

    On each server two connections do nothing but listen in ``open``, one pings, three talk in
    ``open``, two come and go there, and two join one ``own:…`` after the other.
    """

    def __init__(self, servers):
        self.servers = servers
        self.answers = []
        self.listeners = []
        self.quiet = []
        self.talking = []
        #: Of each of those that come and go, whether it is in the room by the last answer.
        self.is_in_open = {}
        #: Of each of those that join rooms of their own, the numbers that it was told it is in.
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
        quiet, (pinging,), talking = members[:2], members[2:3], members[3:6]
        coming, joining = members[6:8], members[8:]
        for member in (*quiet, *talking):
            assert (await member.ask("subscribe", {"room": "open"}))["type"] == "subscribed"
        self.quiet += quiet
        self.talking += talking
        self._keep_on(self._ping, pinging)
        for member in talking:
            self._keep_on(self._talk, member)
        for member in coming:
            self._keep_on(self._come_and_go, member)
        for member in joining:
            self._keep_on(self._join_next, member)
        self._keep_on(self._arrive, server)
        self._keep_on(self._get, server, "push")
        self._keep_on(self._get, server, "saved")

    async def _open(self, server):
        self.listeners.append(await self._stack.enter_async_context(connect(server, kind=Listener)))
        return self.listeners[-1]

    def _keep_on(self, step, *arguments):
        async def keep_on():
            while not self._is_over.is_set():
                await step(*arguments)
                await asyncio.sleep(0.1)

        self._tasks.append(asyncio.create_task(keep_on()))

    async def stop(self):
        """Begin nothing more, and wait for what is under way."""
        self._is_over.set()
        await asyncio.gather(*self._tasks)

    async def _note(self, what, asking):
        began = time.monotonic()
        try:
            outcome = await asking
        except TimeoutError:
            outcome = "none"
        self.answers.append(Answer(what, began, time.monotonic() - began, outcome))
        return outcome

    async def _ask(self, listener, type, payload=None):
        async def outcome():
            answer = await listener.ask(type, payload, timeout=PATIENCE)
            return answer["payload"]["code"] if answer["type"] == "error" else answer["type"]

        return await self._note(type, outcome())

    async def _ping(self, listener):
        await self._ask(listener, "ping")

    async def _talk(self, listener):
        await self._ask(listener, "message", {"room": "open", "content": "hello"})

    async def _come_and_go(self, listener):
        for type in ("subscribe", "unsubscribe", "subscribe"):
            outcome = await self._ask(listener, type, {"room": "open"})
            if outcome in ("subscribed", "unsubscribed"):
                self.is_in_open[listener] = outcome == "subscribed"

    async def _join_next(self, listener):
        number = next(self._numbers)
        if await self._ask(listener, "subscribe", {"room": f"own:{number}"}) == "subscribed":
            self.joined[listener].add(number)

    async def _arrive(self, server):
        async def outcome():
            async with asyncio.timeout(PATIENCE), websockets.connect(server.ws_url) as socket:
                with contextlib.suppress(websockets.ConnectionClosed):
                    return json.loads(await socket.recv())["type"]
                return str(socket.close_code)

        await self._note("handshake", outcome())

    async def _get(self, server, view):
        async def outcome():
            answer = await server.aget(f"/{view}/?room=open", timeout=PATIENCE)
            return answer.body if answer.status == 200 else str(answer.status)

        await self._note(view, outcome())

    async def until_all_have_answers(self):
        """Wait until each kind of traffic has had some."""
        await eventually(
            lambda: len({each.what for each in self.answers}) == 7 and len(self.answers) > 100
        )

    async def until_pushes_flow(self, seconds):
        """Wait until what each server pushes from now on reaches all who only listen."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*map(self._until_pushes_flow, range(len(self.servers))))

    async def _until_pushes_flow(self, index):
        for number in itertools.count():
            mark = f"{time.monotonic()}-{index}-{number}"
            path = f"/push/?room=open&payload=%22{mark}%22"
            if (await self.servers[index].aget(path)).body == "sent":
                with contextlib.suppress(TimeoutError):
                    await eventually(lambda: self._all_have(mark), 0.3)  # noqa: B023
                    return
            await asyncio.sleep(0.05)

    def _all_have(self, mark):
        return all(mark in listener.of_type("pushed")[-200:] for listener in self.quiet)

    async def until_counted(self, deadline):
        """By ``deadline``, each server counts the connections that are open, and no others."""
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
                await asyncio.sleep(0.05)

    def in_open(self):
        """Those who are in ``open`` by the last answer they had."""
        coming = [listener for listener, is_in in self.is_in_open.items() if is_in]
        return [*self.quiet, *self.talking, *coming]

    async def until_all_arrives(self):
        """What is pushed now reaches all who were told that they are in a room, once, in order."""
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
        # What would come twice precedes the answer.
        await listener.ask("ping")
        assert found() == numbers


async def until_log_says_that_all_is_back(server):
    """Two lines: one when the first was lost, one when all was back."""
    pattern = r".*Lost the (channel layer|shared state): .*\n.*Back after \d+\.\d s: .*\n"
    await eventually(lambda: "Back" in server.log, RECOVERY)
    assert re.fullmatch(pattern, server.log), server.log
