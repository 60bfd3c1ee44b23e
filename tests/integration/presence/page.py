"""A page of a user: it is in rooms with presence, and comes back after a break by itself."""

import asyncio
import contextlib
import itertools
import json
import random
import time

import websockets

from pm_realtime.protocol import CloseCode
from tests.integration.client import Listener
from tests.integration.presence.picture import Picture
from tests.integration.presence.truth import NOTICE_SECONDS

OPEN_TIMEOUT_SECONDS = 3
ASK_TIMEOUT_SECONDS = 6
PING_SECONDS, PONG_TIMEOUT_SECONDS = 2, 3
RETURN_SECONDS = (0.05, 0.4)
#: Former connections that a client names at most.
MAX_FORMER = 8
_names = map("page-{}".format, itertools.count())


class Socket(Listener):
    """Hands what it was told of members to its page."""

    def __init__(self, socket, connected, page):
        self._page = page
        self.ended_at = None
        #: The time of the last answer to a ping.
        self.heard_at = time.time()
        super().__init__(socket, connected)

    @property
    def reading(self):
        """The task that reads until the wire is closed."""
        return self._reader

    async def _read(self):
        await super()._read()
        self.ended_at = time.time()

    def _take(self, envelope):
        if envelope["type"] == "presence" and "id" not in envelope:
            self._page.told(envelope)
            return
        if envelope["type"] == "subscribed":
            # At once, as a message may follow in the same read.
            self._page.subscribed(envelope["payload"])
        super()._take(envelope)


class Page:
    """``cookie`` is that of its ``user``, None for a visitor.

    It reaches a server through ``network``. ``truth`` is told of all that it does.
    """

    def __init__(self, network, user, cookie, rooms, truth):
        self.name = next(_names)
        self.user, self._cookie = user, cookie
        self._network, self._truth = network, truth
        #: The rooms in which it is after a break.
        self.rooms = set(rooms)
        self.pictures = {room: Picture(room) for room in rooms}
        self.joined = set()
        #: The rooms in which it counts, with its key there.
        self.keys = {}
        #: Its key in each room, also after it has left.
        self.known_keys = {}
        #: The port of its server.
        self.port = None
        #: The longest time in which others find out that this page has lost its wire.
        self.notice_seconds = NOTICE_SECONDS
        self.socket = None
        #: Whether it comes back after a break.
        self.returns = True
        self._former = []
        self._keeper = None
        self._opened = asyncio.Event()
        #: Closes that nobody asked for, by code.
        self.closes = []
        self.lost_at = 0
        #: The time at which it has ended its connection itself.
        self._ended_at = None

    async def open(self):
        """Open, and return once it is in all its rooms."""
        self.returns, self._opened = True, asyncio.Event()
        self._keeper = asyncio.create_task(self._keep())
        opened = asyncio.create_task(self._opened.wait())
        await asyncio.wait([self._keeper, opened], return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        if self._keeper.done():
            await self._keeper

    async def close(self, code=1000):
        """As a tab that is closed, or loaded anew."""
        self.returns = False
        if self.socket is not None:
            self._ended_at = time.time()
            await self.socket.socket.close(code)
        await self._end()

    async def crash(self):
        self.returns = False
        self.drop()
        await self._end()

    def drop(self):
        """The wire breaks. The page comes back."""
        if self.socket is not None:
            self._ended_at = time.time()
            self.socket.socket.transport.abort()

    async def _end(self):
        if self._keeper is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OPEN_TIMEOUT_SECONDS * 2):
                    await asyncio.shield(self._keeper)
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    @property
    def is_settled(self):
        """Whether it is in all its rooms."""
        return self.socket is not None and self.joined == self.rooms

    async def leave(self, room):
        """Unsubscribe. The page is not in ``room`` until :meth:`join`."""
        asked_at = time.time()
        key, socket = self.keys.pop(room, None), self.socket
        self.joined.discard(room)
        self.rooms.discard(room)
        try:
            answer = await socket.ask("unsubscribe", {"room": room}, timeout=ASK_TIMEOUT_SECONDS)
            assert answer["type"] == "unsubscribed", answer
        except (TimeoutError, websockets.ConnectionClosed):
            if key is not None:
                self._truth.lose((room, key), self, asked_at, time.time() + self.notice_seconds)
            return
        if key is not None:
            self._truth.leave((room, key), self, asked_at, time.time())
        self.pictures[room].leave()

    async def join(self, room):
        self.rooms.add(room)
        asked_at, socket = time.time(), self.socket
        try:
            answer = await socket.ask("subscribe", {"room": room}, timeout=ASK_TIMEOUT_SECONDS)
        except BaseException:
            # It may be in the room nevertheless.
            key = self.known_keys.get(room, socket.connected["payload"]["userId"])
            self._truth.attempt((room, key), self, asked_at, time.time(), self.notice_seconds)
            raise
        if answer["type"] == "error" and answer["payload"]["code"] == "INTERNAL_ERROR":
            self.drop()  # Redis is away.
            return
        assert answer["type"] == "subscribed", answer
        key = answer["payload"]["presence"].get("me")
        assert key is not None or self.user is None, answer
        self.joined.add(room)
        if key is not None:
            self.keys[room] = self.known_keys[room] = key
            self._truth.enter((room, key), self, asked_at, time.time())

    async def set_state(self, room, state, **options):
        """Whether it was set."""
        payload = {"room": room, "state": state, **options}
        answer = await self.socket.ask("presence", payload, timeout=ASK_TIMEOUT_SECONDS)
        return answer["type"] == "ack"

    def subscribed(self, payload):
        self.pictures[payload["room"]].begin(payload["presence"])

    def told(self, envelope):
        payload = envelope["payload"]
        picture = self.pictures[payload["room"]]
        if picture.take(payload, envelope["timestamp"]):
            self._ask_for(picture)

    def _ask_for(self, picture):
        if picture.room not in self._asking:
            self._asking[picture.room] = asyncio.create_task(self._ask(picture, self.socket))

    async def _ask(self, picture, socket):
        with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
            answer = await socket.ask("presence", {"room": picture.room})
            if socket is self.socket and answer["type"] == "presence":
                picture.answer(answer["payload"])
        del self._asking[picture.room]

    async def _keep(self):
        self._asking = {}
        while True:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                await self._live()
            if not self.returns:
                return
            await asyncio.sleep(random.uniform(*RETURN_SECONDS))

    async def _live(self):
        query = f"client={self.name}"
        if self._former:
            shown = self._former[: MAX_FORMER - 1] + self._former[MAX_FORMER - 1 :][-1:]
            query += f"&resume={','.join(shown)}"
        headers = {"Cookie": self._cookie} if self._cookie else {}
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            raw = await websockets.connect(
                f"{self._network.ws_url}?{query}",
                additional_headers=headers,
                ping_interval=None,
                close_timeout=1,
                max_queue=None,
                compression=None,
            )
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                connected = json.loads(await raw.recv())
            self._former.insert(0, connected["payload"]["connectionId"])
            self.socket = Socket(raw, connected, self)
            self.port = self._network.port_of(self.name)
            async with asyncio.timeout(ASK_TIMEOUT_SECONDS):
                await asyncio.gather(*(self.join(room) for room in self.rooms))
            if self.is_settled:
                self._opened.set()
            self.notice_seconds = NOTICE_SECONDS
            await self._ping_until_lost()
        finally:
            raw.transport.abort()
            self._lost()

    async def _ping_until_lost(self):
        """Return once the wire is closed, or carries nothing."""
        socket = self.socket
        pinging = asyncio.create_task(self._ping(socket))
        try:
            await asyncio.wait([pinging, socket.reading], return_when=asyncio.FIRST_COMPLETED)
        finally:
            pinging.cancel()
        self.closes.append(socket.socket.close_code if socket.reading.done() else None)

    async def _ping(self, socket):
        with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await socket.ask("ping", timeout=PONG_TIMEOUT_SECONDS)
                socket.heard_at = time.time()

    def _lost(self):
        socket, self.socket = self.socket, None
        ended_at, self._ended_at = self._ended_at, None
        if ended_at is None and socket is not None:
            is_late = socket.socket.close_code == CloseCode.HEARTBEAT_LOST
            ended_at = socket.heard_at if is_late else socket.ended_at
        now = time.time()
        self.lost_at = ended_at or now
        until = (now if socket is None else socket.ended_at or now) + self.notice_seconds
        for room, key in self.keys.items():
            self._truth.lose((room, key), self, self.lost_at, until)
        self.keys, self.joined = {}, set()
        for picture in self.pictures.values():
            picture.end(self.lost_at)
