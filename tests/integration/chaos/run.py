"""A chaos run: a site of several processes, its clients, and what pushes to them."""

import asyncio
import contextlib
import itertools
import time

from tests.integration.chaos import processes
from tests.integration.chaos.comparison import Comparison
from tests.integration.chaos.network import Network
from tests.integration.server import Server, layer_environment

#: Lowest first, a user for each.
ROLES = ("user", "editor", "admin", "master")
ROOMS = ("red", "green", "blue", "gray")
SETTINGS = {
    "RATE_LIMIT": None,
    "CONNECT_RATE_PER_ADDRESS": None,
    "CONNECT_RATE_PER_USER": None,
    "MAX_CONNECTIONS_PER_USER": 1000,
    "MAX_QUEUE_BYTES": 262_144,
    "RECOVERY_SIZE": 20_000,
    "RECOVERY_PERIOD": 120,
    # Soon after a wire carries nothing, its client knows.
    "HEARTBEAT_INTERVAL": 2,
    "HEARTBEAT_TIMEOUT": 2,
    "SHUTDOWN_PERIOD": 1,
}
#: Messages that the core layer keeps for a process; it drops more.
CAPACITY = 10_000
#: A process finds the last message before a silence within this time.
SETTLE_SECONDS = 40
#: A message that is delivered twice arrives again within this time.
ECHO_SECONDS = 2
POLL_SECONDS = 0.2


class Run:
    """``async with Run(folder, url) as run``.

    ``kinds`` are the servers, and ``members`` clients of each role are in all rooms and send to
    one of these.
    """

    def __init__(
        self,
        folder,
        url,
        *,
        kinds=("uvicorn", "uvicorn", "daphne"),
        members=3,
        layer="pubsub",
        **settings,
    ):
        config = {"capacity": CAPACITY} if layer == "core" else {}
        environment = layer_environment(layer, url, **config)
        settings = {**SETTINGS, **settings}
        self.servers = [Server(kind, folder, settings, environment=environment) for kind in kinds]
        self.members = members
        #: Names of the clients, with the role of each.
        self.roles = {f"{role}-{n}": role for role in ROLES for n in range(members)}
        #: The room to which each client sends.
        self.sends_to = dict(zip(self.roles, itertools.cycle(ROOMS), strict=False))

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error):
        await self._stack.aclose()

    async def _start(self):
        first = self.servers[0]
        await asyncio.to_thread(first.migrate)
        cookies, *_ = await asyncio.gather(
            asyncio.to_thread(first.make_sessions, *ROLES),
            *(asyncio.to_thread(server.start) for server in self.servers),
        )
        for server in self.servers:
            self._stack.callback(server.kill)
        self.network = await self._stack.enter_async_context(
            Network(server.port for server in self.servers)
        )
        members = [
            {"name": name, "cookie": cookies[role], "rooms": ROOMS, "sendsTo": self.sends_to[name]}
            for name, role in self.roles.items()
        ]
        self.clients = await self._stack.enter_async_context(
            processes.clients(self.network.ws_url, members)
        )
        self.publishers = [
            await self._stack.enter_async_context(processes.publisher(self.servers[0], way))
            for way in ("sync", "async")
        ]
        await self.clients.do("join")

    @property
    def streams(self):
        """All streams, as publishers name them."""
        users = [f"user:{role}" for role in ROLES]
        return [*users, *(f"role:{role}" for role in ROLES), "all", *ROOMS]

    def streams_of(self, client):
        """Those of a client, by the names that it sees."""
        role = self.roles[client]
        lower = ROLES[: ROLES.index(role) + 1]
        roles = {f"role:{each}": f"role:{each}" for each in lower}
        return {
            "user": f"user:{role}",
            **roles,
            "all": "all",
            **dict(zip(ROOMS, ROOMS, strict=True)),
        }

    async def start_traffic(self, per_second, sends_per_second):
        """Each publisher pushes ``per_second``, and each client sends ``sends_per_second``."""
        for publisher in self.publishers:
            await publisher.do("start", streams=self.streams, per_second=per_second)
        await self.clients.do("send", perSecond=sends_per_second)

    async def gaps(self):
        """The number of gaps so far of all clients and streams."""
        reports = await self.clients.do("report")
        return sum(each["gaps"] for report in reports for each in report["streams"].values())

    async def until_open(self, count):
        """Wait until each client has connected ``count`` times."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while min(each["opens"] for each in await self.clients.do("report")) < count:
                await asyncio.sleep(POLL_SECONDS)

    async def until_answered(self):
        """Have the clients send nothing more, and wait until all that they sent is answered."""
        await self.clients.do("send", perSecond=0)
        async with asyncio.timeout(SETTLE_SECONDS):
            while (await self.clients.do("progress"))["unanswered"]:
                await asyncio.sleep(POLL_SECONDS)

    async def delivered(self):
        """The number of deliveries so far."""
        return (await self.clients.do("progress"))["count"]

    async def stop_traffic(self):
        """Return the number of messages by stream and publisher once all pushes have succeeded and
        all promises have settled."""
        counts = {}
        for publisher in self.publishers:
            found = await publisher.do("pause")
            for stream, count in found["counts"].items():
                counts.setdefault(stream, {})[found["name"]] = count
        await self.until_answered()
        return counts

    async def finish(self, settle_seconds=SETTLE_SECONDS):
        """Stop the traffic and return the :class:`Comparison` once all has arrived, or after
        ``settle_seconds``."""
        pushed = await self.stop_traffic()
        reports = await self.clients.do("report")
        least = Comparison(self, pushed, reports).least_deliveries
        deadline = time.monotonic() + settle_seconds
        while await self.delivered() < least and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(ECHO_SECONDS)
        self.reports = await self.clients.do("report")
        return Comparison(self, pushed, self.reports)
