"""Browsers of users at a site of several processes, and their sockets."""

import asyncio
import http.cookiejar
import json
import time
import urllib.parse
import urllib.request

from tests.integration.client import ANSWER_TIMEOUT_SECONDS, Listener

SESSION_COOKIE_NAME = "sessionid"
POLL_SECONDS = 0.002


class Browser:
    """Keeps cookies as a browser does: servers on all ports of 127.0.0.1 get them."""

    def __init__(self):
        self._jar = http.cookiejar.CookieJar()
        cookies = urllib.request.HTTPCookieProcessor(self._jar)
        self._opener = urllib.request.build_opener(cookies)

    def get_now(self, server, path, **query):
        url = f"{server.url}/accounts/{path}?{urllib.parse.urlencode(query, doseq=True)}"
        with self._opener.open(url, timeout=ANSWER_TIMEOUT_SECONDS) as response:
            return json.load(response)

    async def get(self, server, path, **query):
        """Return the answer of a view of ``tests.site.accounts``."""
        return await asyncio.to_thread(self.get_now, server, path, **query)

    @property
    def key(self):
        """The session key in the cookie, or None."""
        values = (each.value for each in self._jar if each.name == SESSION_COOKIE_NAME)
        return next(values, None)

    @property
    def cookie(self):
        """The ``Cookie`` header of a handshake, or None."""
        return self.key and f"{SESSION_COOKIE_NAME}={self.key}"


class Socket(Listener):
    """Records the times of the received envelopes and of the close."""

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

    async def ended(self, timeout=ANSWER_TIMEOUT_SECONDS):
        """Wait for the close and return its code and time."""
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._reader)
        return self.code, self.ended_at

    async def left(self, room, timeout=ANSWER_TIMEOUT_SECONDS):
        """Wait for the removal from ``room`` and return its reason and time."""
        async with asyncio.timeout(timeout):
            while True:
                for at, envelope in self.arrivals:
                    if envelope["type"] == "unsubscribed" and envelope["payload"]["room"] == room:
                        return envelope["payload"].get("reason"), at
                assert self.is_open, self.code
                await asyncio.sleep(POLL_SECONDS)

    async def is_alive(self):
        """Return whether the socket is open and answers a ping."""
        return self.is_open and (await self.ask("ping"))["type"] == "pong"

    async def join(self, room):
        answer = await self.ask("subscribe", {"room": room})
        assert answer["type"] == "subscribed", answer
