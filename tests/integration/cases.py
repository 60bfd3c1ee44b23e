"""A site of several processes, and the test cases of its users."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.integration.client import connect
from tests.integration.people import Browser, Socket
from tests.integration.server import Server

#: Lowest first. Each of the causes that change a group itself has a role of its own.
ROLES = ("user", "deleted", "renamed", "emptied", "vanished", "editor", "admin", "master")
SETTINGS = {
    "ROLES": ROLES,
    "ROOMS": {
        "support": {"min_role": "deleted"},
        "lobby": {},
        "listed:<int:pk>": {"authorize": "tests.site.rules.by_note"},
    },
    "RATE_LIMIT": None,
}
#: Outcomes of a cause besides close codes.
STAYS, FORBIDDEN = "stays", "forbidden"


@dataclass
class Site:
    """Four processes on one Valkey and one database.

    ``near`` and ``far`` have sockets, ``office`` answers requests only, and ``sweeping`` rechecks
    all its connections often.
    """

    engine: str
    near: Server
    far: Server
    office: Server
    sweeping: Server
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        #: Held by a cause while it measures how long its outcome takes.
        self.measuring = asyncio.Lock()
        self.stack = contextlib.AsyncExitStack()
        self.staying: list[Socket] = []
        self.anonymous = Browser()

    @property
    def servers(self) -> list[Server]:
        return [self.near, self.far, self.office, self.sweeping]


class Case:
    """A cause with a user of its own, who has the name of the cause."""

    def __init__(self, site: Site, cause: Any) -> None:
        self.site = site
        self.name = cause.__name__

    async def make(self, username: str | None = None, **query: Any) -> None:
        await self.site.anonymous.get(
            self.site.office, "make/", username=username or self.name, **query
        )

    async def log_in(self, **query: Any) -> Browser:
        """Return a browser of the user with a session of its own."""
        browser = Browser()
        await browser.get(self.site.office, "login/", username=self.name, **query)
        return browser

    async def open(self, server: Server, browser: Browser, *rooms: str) -> Socket:
        connecting = connect(server, browser.cookie, kind=Socket)
        socket = await self.site.stack.enter_async_context(connecting)
        assert socket.user_id is not None, self.name
        for room in rooms:
            await socket.join(room)
        return socket

    async def change(self, name: str, **query: Any) -> float:
        """Make the change ``name`` of ``tests.site.accounts`` and return its time."""
        query = {"user": self.name, **query}
        answer = await self.site.anonymous.get(self.site.office, f"change/{name}/", **query)
        return answer["at"]

    async def ends(self, code: int, at: float, *sockets: Socket) -> None:
        """Wait until all ``sockets`` are closed with ``code`` after a change at the time ``at``."""
        ended = await asyncio.gather(*(socket.ended() for socket in sockets))
        assert {found for found, _ in ended} == {code}, (self.name, ended)
        self.record(str(code), max(moment for _, moment in ended) - at)

    async def follow(self, browser: Browser, servers: Sequence[Server], *sockets: Socket) -> Any:
        """Return the sockets of a session that got another key: new ones if they were closed."""
        if self.site.engine == "signed_cookies":
            return sockets
        ended = await asyncio.gather(*(socket.ended() for socket in sockets))
        assert {code for code, _ in ended} == {4013}, (self.name, ended)
        return [await self.open(server, browser) for server in servers]

    async def leaves(self, room: str, at: float, *sockets: Socket) -> None:
        """Wait until all ``sockets`` are taken out of ``room``; they stay open."""
        left = await asyncio.gather(*(socket.left(room) for socket in sockets))
        assert {reason for reason, _ in left} == {FORBIDDEN}, (self.name, left)
        self.record(FORBIDDEN, max(moment for _, moment in left) - at)
        for socket in sockets:
            refused = await socket.ask("subscribe", {"room": room})
            assert refused["payload"]["code"] == "FORBIDDEN", (self.name, refused)
        await self.stay(*sockets)

    async def stay(self, *sockets: Socket) -> None:
        """Check that all ``sockets`` are open, now and at the end of the test."""
        for socket in sockets:
            assert await socket.is_alive(), (self.name, socket.code)
        self.site.staying += sockets

    def record(self, outcome: str, seconds: float) -> None:
        self.site.rows.append((self.name, outcome, seconds))
