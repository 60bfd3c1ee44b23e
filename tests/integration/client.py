"""A raw client on the ``websockets`` library, speaking the protocol by hand."""

import asyncio
import contextlib
import json
import time

import websockets

TIMEOUT = 20


class Client:
    """An open connection; ``async with connect(server, cookie=…) as client``."""

    def __init__(self, socket, connected):
        self.socket = socket
        self.connected = connected

    async def send(self, type, payload=None, **fields):
        envelope = {"type": type, "timestamp": int(time.time() * 1000), **fields}
        if payload is not None:
            envelope["payload"] = payload
        await self.socket.send(json.dumps(envelope))

    async def receive(self):
        async with asyncio.timeout(TIMEOUT):
            return json.loads(await self.socket.recv())

    async def ask(self, type, payload=None, **fields):
        await self.send(type, payload, **fields)
        return await self.receive()

    async def subscribe(self, room):
        return await self.ask("subscribe", {"room": room})

    async def closed(self):
        """The code with which the server closed; frames before it are passed over."""
        async with asyncio.timeout(TIMEOUT):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code


@contextlib.asynccontextmanager
async def connect(server, cookie=None, **options):
    headers = {"Cookie": cookie} if cookie else {}
    async with websockets.connect(server.ws_url, additional_headers=headers, **options) as socket:
        async with asyncio.timeout(TIMEOUT):
            connected = json.loads(await socket.recv())
        yield Client(socket, connected)
