"""A plain client on the ``websockets`` library."""

import asyncio
import contextlib
import itertools
import json
import time

import websockets

ANSWER_TIMEOUT_SECONDS = 20


class Client:
    """An open connection: ``async with connect(server, cookie=…) as client``."""

    def __init__(self, socket, connected):
        self.socket = socket
        self.connected = connected

    async def send(self, type, payload=None, **fields):
        envelope = {"type": type, "timestamp": int(time.time() * 1000), **fields}
        if payload is not None:
            envelope["payload"] = payload
        await self.socket.send(json.dumps(envelope))

    async def receive(self):
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            return json.loads(await self.socket.recv())

    async def ask(self, type, payload=None, **fields):
        await self.send(type, payload, **fields)
        return await self.receive()

    async def subscribe(self, room):
        return await self.ask("subscribe", {"room": room})

    async def closed(self):
        """Wait for the close and return its code; frames before it are ignored."""
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code


class Listener(Client):
    """A client that reads in the background: ``connect(server, kind=Listener)``."""

    def __init__(self, socket, connected):
        super().__init__(socket, connected)
        #: Envelopes that were no replies, in the order of their arrival.
        self.received = []
        self._ids = map(str, itertools.count())
        self._waiting = {}
        self._reader = asyncio.create_task(self._read())

    async def ask(self, type, payload=None, timeout=ANSWER_TIMEOUT_SECONDS, **fields):
        """Return the reply to a command; raise ``TimeoutError`` after ``timeout`` seconds."""
        id = f"{self.connected['payload']['connectionId']}-{next(self._ids)}"
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        await self.send(type, payload, id=id, **fields)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            del self._waiting[id]

    def of_type(self, type):
        """Return the payloads of the received envelopes of ``type``."""
        return [each.get("payload") for each in self.received if each["type"] == type]

    async def closed(self):
        """Wait until the reader has met the close, and return its code."""
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            await asyncio.shield(self._reader)
        return self.socket.close_code

    @property
    def is_open(self):
        return not self._reader.done()

    async def _read(self):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                self._take(json.loads(text))

    def _take(self, envelope):
        answer = self._waiting.get(envelope.get("id"))
        if answer is None or answer.done():
            self.received.append(envelope)
        else:
            answer.set_result(envelope)


@contextlib.asynccontextmanager
async def connect(server, cookie=None, *, kind=Client, query="", **options):
    headers, url = {"Cookie": cookie} if cookie else {}, f"{server.ws_url}?{query}"
    async with websockets.connect(url, additional_headers=headers, **options) as socket:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            connected = json.loads(await socket.recv())
        yield kind(socket, connected)
