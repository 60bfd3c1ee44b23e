"""A site of several processes with rooms that have presence, its pages, and what they saw."""

import asyncio
import contextlib
import json
import time
from collections import Counter, defaultdict
from pathlib import Path

from tests.integration.chaos.network import Network
from tests.integration.chaos.processes import NODE_VERSION, Process
from tests.integration.presence.page import Page
from tests.integration.presence.picture import Event
from tests.integration.presence.truth import UNKNOWN, Truth, most_within
from tests.integration.server import Server, layer_environment
from tests.support.node import node

CLIENTS = Path(__file__).with_name("clients.mjs")
APPLICATION = "tests.site.presence_asgi:application"
SETTINGS = {
    "RATE_LIMIT": None,
    "CONNECT_RATE_PER_ADDRESS": None,
    "CONNECT_RATE_PER_USER": None,
    "MAX_CONNECTIONS_PER_USER": 1000,
    "HEARTBEAT_INTERVAL": 2,
    "HEARTBEAT_TIMEOUT": 4,
    "SHUTDOWN_PERIOD": 1,
}
#: All pictures are compared with the store within 5 seconds, and read anew.
SETTLE_SECONDS = 7
#: Messages of a room in a second to one client.
MAX_PER_SECOND = 4
POLL_SECONDS = 0.05
MAX_SHOWN = 20


class Run:
    """``async with Run(folder, url, rooms={"lobby": {"grace": 2}}, users=5) as run``.

    ``url`` is that of a Redis; a site of one process needs none.

    ``rooms`` are the options of presence by room, and ``kinds`` the servers. There are ``users``
    with a session each, which is in ``cookies`` by name.
    """

    def __init__(
        self,
        folder,
        url,
        *,
        rooms,
        users,
        kinds=("uvicorn", "uvicorn"),
        layer="pubsub",
        **settings,
    ):
        self.rooms = rooms
        self.log_path = folder / "presence.log"
        self.log_path.touch()
        environment = {"TEST_PRESENCE_LOG": str(self.log_path)}
        if url is not None:
            environment |= layer_environment(layer, url)
        options = {room: {"public": True, "presence": presence} for room, presence in rooms.items()}
        settings = {**SETTINGS, "ROOMS": options, **settings}
        self.servers = [Server(kind, folder, settings, APPLICATION, environment) for kind in kinds]
        self.users = [f"person{number}" for number in range(users)]
        self.truth = Truth({room: presence.get("grace", 10) for room, presence in rooms.items()})
        #: All pages that there ever were.
        self.pages = []
        self._clients = None
        self._members = {}

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error):
        for page in self.pages:
            page.returns = False
        await asyncio.gather(*(page.crash() for page in self.pages))
        await self._stack.aclose()

    async def _start(self):
        first = self.servers[0]
        await asyncio.to_thread(first.migrate)
        self.cookies, *_ = await asyncio.gather(
            asyncio.to_thread(first.make_sessions, *self.users),
            *(asyncio.to_thread(server.start) for server in self.servers),
        )
        for server in self.servers:
            self._stack.callback(server.kill)
        self.network = await self._stack.enter_async_context(
            Network(server.port for server in self.servers)
        )

    async def open(self, user, rooms=None):
        """A new page of ``user``; of a visitor if that is None."""
        cookie = None if user is None else self.cookies[user]
        page = Page(self.network, user, cookie, rooms or self.rooms, self.truth)
        self.pages.append(page)
        await page.open()
        return page

    async def start_clients(self, users):
        """A page of each of ``users`` with the client of browsers, which is there to the end."""
        clients = [
            {"name": user, "cookie": self.cookies[user], "rooms": [*self.rooms]} for user in users
        ]
        options = json.dumps({"url": self.network.ws_url, "clients": clients})
        asked_at = time.time()
        self._clients = await self._stack.enter_async_context(
            Process(node(NODE_VERSION), CLIENTS, options)
        )
        await self._clients.do("join")
        for report in await self._clients.do("report"):
            for room, seen in report["rooms"].items():
                member = room, seen["me"]["key"]
                self.truth.enter(member, report["name"], asked_at, time.time())

    def pages_of(self, server):
        return [page for page in self.settled if page.port == server.port]

    @property
    def settled(self):
        return [page for page in self.pages if page.is_settled]

    def signals(self, kind=None):
        """The calls of receivers, in the order of their times."""
        lines = map(json.loads, self.log_path.read_text().splitlines())
        return sorted(
            (each for each in lines if kind in (None, each["kind"])), key=lambda each: each["at"]
        )

    async def until_quiet(self):
        """Wait until it is known who is there, and return the seconds that all pictures took then
        until they were right. Fails if that are too many."""
        while (left := self.truth.quiet_at() - time.time()) > 0:
            await asyncio.sleep(min(left, 1))
        began = time.monotonic()
        while differences := await self.differences():
            shown = "\n".join(differences[:MAX_SHOWN])
            assert time.monotonic() - began < SETTLE_SECONDS, f"{len(differences)}:\n{shown}"
            await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - began

    async def differences(self):
        """The mistakes in the pictures of the pages that are in all their rooms."""
        pictures = [
            (page.name, picture.room, picture.total, picture.members)
            for page in self.settled
            for picture in page.pictures.values()
            if picture.room in page.joined
        ]
        for report in await self._reports():
            for room, seen in report["rooms"].items():
                members = {member["key"]: member for member in seen["members"]}
                pictures.append((report["name"], room, seen["total"], members))
        expected = {room: self.truth.expected(room) for room in self.rooms}
        states = {
            (room, key): self.truth.state_of((room, key))
            for room in expected
            for key in expected[room]
        }
        return [
            f"{name} in {room}: {difference}"
            for name, room, total, members in pictures
            for difference in self._compare(room, total, members, expected[room], states)
        ]

    async def _reports(self):
        return [] if self._clients is None else await self._clients.do("report")

    def _compare(self, room, total, members, expected, states):
        if total != len(expected):
            yield f"total {total}, expected {len(expected)}"
        if members is None:
            return
        for key in members.keys() | expected.keys():
            seen = members[key]["connections"] if key in members else None
            if seen != expected.get(key):
                yield f"{key} has {seen} connections, expected {expected.get(key)}"
        for key, member in members.items():
            first = self._members.setdefault((room, key, member["since"]), member)
            if member["info"] != first["info"] or member["userId"] != first["userId"]:
                yield f"{member}, others saw {first}"
            state = states.get((room, key), UNKNOWN)
            if state is not UNKNOWN and member.get("state") != state:
                yield f"{key} has the state {member.get('state')}"

    async def faults(self, may_lack=frozenset()):
        """All that was told wrong so far. Of ``may_lack``, some may not have been told."""
        found = list(self._signal_faults(may_lack))
        events = defaultdict(list)
        for page in self.pages:
            for room, picture in page.pictures.items():
                found += picture.faults
                events[room] += picture.events
                for told_at in picture.told_at:
                    most = most_within(told_at, 999)
                    if most > MAX_PER_SECOND:
                        found.append(f"{page.name}: {most} messages in a second")
        for report in await self._reports():
            for each in report["events"]:
                event = Event(each["at"], each["at"], each["kind"], each["key"])
                events[each["room"]].append(event)
        for room, seen in events.items():
            for event in self.truth.flickers(room, seen):
                found.append(f"{room}: {event}; {self.truth.describe((room, event.key))}")
        return found

    def _signal_faults(self, may_lack):
        arrived, departed = (
            Counter((each["room"], each["key"]) for each in self.signals(kind))
            for kind in ("arrived", "departed")
        )
        for member in list(self.truth.stays):
            least, most = self.truth.arrivals(member)
            is_there = bool(self.truth.open_stays(member))
            lack = member in may_lack
            if not least - lack <= arrived[member] <= most:
                yield f"{member}: arrived {arrived[member]} times, expected {least} to {most}"
            gone = arrived[member] - departed[member] - is_there
            if not -lack <= gone <= lack:
                yield (
                    f"{member}: departed {departed[member]} of {arrived[member]} times, "
                    f"{'there' if is_there else 'not there'}; "
                    f"{self.truth.describe(member)}"
                )
        if unknown := arrived.keys() - self.truth.stays.keys():
            yield f"unknown members have arrived: {unknown}"

    def summary(self):
        pictures = [picture for page in self.pages for picture in page.pictures.values()]
        arrivals = [self.truth.arrivals(member) for member in list(self.truth.stays)]
        return {
            "pages": len(self.settled),
            "signals": len(self.signals()),
            "members": len(arrivals),
            "of which may have come once more": sum(least != most for least, most in arrivals),
            "messages": sum(len(told) for p in pictures for told in p.told_at),
            "events": sum(len(p.events) for p in pictures),
            "holes": sum(p.holes for p in pictures),
        }

    async def check(self, may_lack=frozenset()):
        faults = await self.faults(may_lack)
        shown = "\n".join(faults[:MAX_SHOWN])
        assert not faults, f"{len(faults)} faults:\n{shown}"
