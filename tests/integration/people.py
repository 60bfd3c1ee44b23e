"""People with browsers at a site of several processes, and what becomes of their sockets."""

import asyncio
import http.cookiejar
import json
import time
import urllib.parse
import urllib.request

from tests.integration.client import TIMEOUT, Listener

SESSION = "sessionid"


class Browser:
    """Keeps its cookies as a browser does: each server of 127.0.0.1 gets them, on any port."""

    def __init__(self):
        self._jar = http.cookiejar.CookieJar()
        cookies = urllib.request.HTTPCookieProcessor(self._jar)
        self._opener = urllib.request.build_opener(cookies)

    def get_now(self, server, path, **query):
        url = f"{server.url}/accounts/{path}?{urllib.parse.urlencode(query, doseq=True)}"
        with self._opener.open(url, timeout=TIMEOUT) as response:
            return json.load(response)

    async def get(self, server, path, **query):
        """The answer of a view of ``tests.site.accounts``."""
        return await asyncio.to_thread(self.get_now, server, path, **query)

    @property
    def key(self):
        """What the session cookie says; None where there is none."""
        return next((each.value for each in self._jar if each.name == SESSION), None)

    @property
    def cookie(self):
        """The ``Cookie`` header of a handshake; None where there is none."""
        return self.key and f"{SESSION}={self.key}"


class Socket(Listener):
    """Notes when what came has come, and when and how it ended."""

    def __init__(self, socket, connected):
        self.ended_at = None
        self.arrivals = []
        super().__init__(socket, connected)

    @property
    def code(self):
        return self.socket.close_code

    @property
    def user_id(self):
        return self.connected["payload"]["userId"]

    async def _read(self):
        await super()._read()
        self.ended_at = time.time()

    def _take(self, envelope):
        self.arrivals.append((time.time(), envelope))
        super()._take(envelope)

    async def ended(self, timeout=TIMEOUT):
        """The code and the moment of the close."""
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._reader)
        return self.code, self.ended_at

    async def left(self, room, timeout=TIMEOUT):
        """The reason and the moment of being taken out of ``room``."""
        async with asyncio.timeout(timeout):
            while True:
                for at, envelope in self.arrivals:
                    if envelope["type"] == "unsubscribed" and envelope["payload"]["room"] == room:
                        return envelope["payload"].get("reason"), at
                assert self.is_open, self.code
                await asyncio.sleep(0.002)

    async def is_alive(self):
        """Whether it is open, and answers."""
        return self.is_open and (await self.ask("ping"))["type"] == "pong"

    async def join(self, room):
        answer = await self.ask("subscribe", {"room": room})
        assert answer["type"] == "subscribed", answer
